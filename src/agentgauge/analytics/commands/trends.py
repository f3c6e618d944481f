"""``agentgauge trends``: what rises, falls or stepped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import counted
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.shared import MEASURE, add_measure, announced, chart_of, chosen_measures, whom
from agentgauge.analytics.compare.means import MEANS
from agentgauge.analytics.report.document import Column, Finding, Mark, Section, Severity, Table, Unit
from agentgauge.analytics.trends import survey_trends

if TYPE_CHECKING:
    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Cell
    from agentgauge.analytics.trends import FoundTrend, TrendSurvey

__all__ = ["COMMAND"]

_MOST_CHARTS = 6
_MOST_NAMES = 5
_COLUMNS = (
    MEASURE,
    Column("of", "of"),
    Column("direction", "direction"),
    Column("effect_ratio", "change", Unit.RATIO),
    Column("size", "size (0 to 1)", Unit.NUMBER),
    Column("p_value", "p", Unit.PROBABILITY),
    Column("stepped_at", "stepped most at", Unit.TIME),
    Column("is_worse", "worse"),
)


def _sections(question: Question) -> tuple[Section, ...]:
    measures = announced(question, "looking for trends", chosen_measures(question, MEANS))
    looked = survey_trends(question.source, question.grid, measures=measures)
    found = looked.trends
    if not looked.judged:
        return (Section("trends", "Trends", _nothing(looked, question), is_answer=False),)
    if not found:
        sentence = f"Of {counted(looked.judged, 'signal')} none rose, fell or stepped by more than chance would have it."
        return (Section("trends", "Trends", (sentence, *_unjudged(looked)), is_whole=not looked.too_short),)
    worse = [one for one in found if one.is_worse]
    sentence = f"{counted(len(found), 'signal')} of {looked.judged} rose, fell or stepped, {len(worse)} for the worse."
    return (
        Section(
            "trends",
            "Trends",
            (sentence, *_unjudged(looked)),
            tuple(Finding(_severity(one), one.sentence, query=one.signal.measure.query) for one in found),
            (Table("trends", "", _COLUMNS, tuple(map(_row, found))),),
            tuple(
                chart_of(f"trend_{number}", one.signal.title, [one.signal], [Mark(step.at, step.at, "") for step in one.steps])
                for number, one in enumerate(found[:_MOST_CHARTS], 1)
            ),
            is_whole=not looked.too_short,
        ),
    )


def _nothing(looked: TrendSurvey, question: Question) -> tuple[str, ...]:
    if looked.too_short:
        return (*_unjudged(looked), "Give an earlier --since or a shorter --step, or let the program run longer.")
    asked = f"of {', '.join(question.options.measure)} " if getattr(question.options, "measure", None) else ""
    return (f"There is nothing {asked}to judge: {question.source.name} has no such value in this window.",)


def _unjudged(looked: TrendSurvey) -> tuple[str, ...]:
    if not looked.too_short:
        return ()
    names = list(dict.fromkeys(signal.title for signal in looked.too_short))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (f"Too short to judge, with fewer than 10 values: {'; '.join(names[:_MOST_NAMES])}{more}.",)


def _severity(found: FoundTrend) -> Severity:
    return Severity.WARNING if found.is_worse else Severity.INFO


def _row(found: FoundTrend) -> tuple[Cell, ...]:
    step = found.greatest_step
    return (
        found.signal.measure.name,
        whom(found.signal.labels),
        "stepped" if step else found.trend.direction.value,
        found.effect,
        found.size,
        found.p_value,
        step.at if step else None,
        found.is_worse,
    )


COMMAND = Command(
    "Trends",
    ("--source history.db --since 7d", "--source http://127.0.0.1:9090 --measure task_duration_p95 --json"),
    _sections,
    add_measure,
)
