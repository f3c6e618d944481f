"""``agentgauge report``: all the answers in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.commands import anomalies, forecast, recommend, slo, trends
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.overview import overview
from agentgauge.analytics.commands.recorded import recorded
from agentgauge.analytics.commands.short import in_short
from agentgauge.analytics.data_quality import check_quality
from agentgauge.analytics.report.document import Column, Section, Table, Unit
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

    from agentgauge.analytics.commands.question import Question

__all__ = ["COMMAND"]

_QUALITY_COLUMNS = (
    Column("metric", "metric"),
    Column("score", "score", Unit.RATIO),
    Column("completeness", "complete", Unit.RATIO),
    Column("gaps", "gaps", Unit.COUNT),
    Column("age_seconds", "age", Unit.SECONDS),
    Column("what", "what"),
)
_GOOD_SCORE = 0.9


def _quality(question: Question) -> tuple[Section, ...]:
    question.step("judging the data")
    found = check_quality(question.source, question.grid)
    bad = [one for one in found if one.quality.score < _GOOD_SCORE]
    rows = tuple(
        (one.metric, one.quality.score, one.quality.completeness, len(one.quality.gaps), one.quality.age_seconds, one.sentence)
        for one in bad
    )
    sentence = f"{len(found) - len(bad)} of {len(found)} series that were looked at are whole and fresh."
    return (
        Section(
            "quality",
            "Data quality",
            (sentence,),
            tables=(Table("quality", "", _QUALITY_COLUMNS, rows),) if rows else (),
            is_answer=bool(found),
            is_whole=not bad,
        ),
    )


_PARTS: dict[str, tuple[str, Callable[[Question], tuple[Section, ...]]]] = {
    "overview": ("Overview", lambda question: (overview(question),)),
    "recorded": ("What agents recorded", recorded),
    "slo": ("Objectives", slo.COMMAND.sections),
    "anomalies": ("Anomalies", anomalies.COMMAND.sections),
    "trends": ("Trends", trends.COMMAND.sections),
    "forecast": ("Forecast", forecast.COMMAND.sections),
    "recommendations": ("Recommendations", recommend.COMMAND.sections),
    "quality": ("Data quality", _quality),
}


def _sections(question: Question) -> tuple[Section, ...]:
    wanted = question.options.section or list(_PARTS)
    found = tuple(section for name in _PARTS if name in wanted for section in _part(name, question))
    if not found:  # as where only what was recorded is wanted, and nothing was
        titles = ", ".join(_PARTS[name][0] for name in dict.fromkeys(wanted))
        return (Section("nothing", titles, ("There is nothing of it in this window.",), is_answer=False),)
    return (in_short(question, found), *found) if len(found) > 1 else found


def _part(name: str, question: Question) -> tuple[Section, ...]:
    """Answer one part; what is missing for it is said in its place, and the others are told."""
    title, sections = _PARTS[name]
    try:
        return sections(question)
    except ConfigurationError as error:  # a library that is not installed, a window too short
        return (Section(name, title, (f"There is no answer: {error}.",), is_answer=False),)


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--section", action="append", choices=tuple(_PARTS), help="only this one; may be given again (all)")
    slo.COMMAND.add_options(parser)
    forecast.COMMAND.add_options(parser)


COMMAND = Command(
    "Report",
    ("--source history.db --since 24h", "--source history.db --since 7d --output report.html", "--section overview --json"),
    _sections,
    _add_options,
)
