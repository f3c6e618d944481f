"""``agentgauge anomalies``: what was not as it always is."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import counted, duration
from agentgauge.analytics.analysis.findings import LEAST_KNOWN
from agentgauge.analytics.anomalies import survey
from agentgauge.analytics.bounds import bounds_of
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.lasting import changed_for_good, lasting_finding, pointer
from agentgauge.analytics.commands.shared import MEASURE, add_measure, chart_of, chosen_measures, spaced, unit_of, whom
from agentgauge.analytics.explain.wording import level
from agentgauge.analytics.observations import LEAST_OBSERVATIONS
from agentgauge.analytics.report.document import Column, Finding, Mark, Section, Severity, Table, Unit
from agentgauge.analytics.report.numbers import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentgauge.analytics.anomalies import Anomaly, Survey
    from agentgauge.analytics.commands.question import Question

__all__ = ["COMMAND"]

_MOST_CHARTS = 6
_COLUMNS = (
    Column("start", "from", Unit.TIME),
    Column("end", "until", Unit.TIME),
    MEASURE,
    Column("of", "of"),
    Column("shape", "shape", words=spaced),
    Column("score", "score", Unit.NUMBER),
    Column("unit", "unit"),
    Column("expected", "expected", Unit.NUMBER, "unit"),
    Column("observed", "observed", Unit.NUMBER, "unit"),
)
_UNJUDGED_COLUMNS = (
    MEASURE,
    Column("of", "of"),
    Column("values", "values", Unit.COUNT),
    Column("calls", "calls", Unit.COUNT),
    Column("enough_seconds", "a window that would do", Unit.SECONDS),
)


def _sections(question: Question) -> tuple[Section, ...]:
    question.step("looking for anomalies")
    looked = survey(question.source, question.grid, measures=chosen_measures(question))
    lines, tables = _extent_of(question, looked), _tables(looked)
    lasting, found = changed_for_good(question.source, question.grid, chosen_measures(question), looked.anomalies)
    if lasting:
        lines = (*lines, pointer(len(lasting)))
    if not found:
        told = (f"Nothing was out of the ordinary{' for a while' if lasting else ''}.",) if looked.judged else ()
        return (
            Section(
                "anomalies",
                "Anomalies",
                told + lines,
                tuple(map(lasting_finding, lasting)),
                tables,
                is_answer=bool(told or lasting),
                is_whole=not looked.unjudged,
            ),
        )
    if any(one.shape == "variance" for one in found):
        lines = ("Of a variance the standard deviation is told, the expected and the observed one.", *lines)
    rows = tuple(
        (
            one.start,
            one.end,
            one.signal.measure.name,
            whom(one.signal.labels),
            str(one.shape),
            one.score,
            one.signal.measure.unit,
            one.expected,
            one.observed,
        )
        for one in found
    )
    return (
        Section(
            "anomalies",
            "Anomalies",
            (
                f"{counted(len(found), 'stretch of time was', 'stretches of time were')} out of the ordinary.",
                *lines,
            ),
            (*_findings(question, found), *map(lasting_finding, lasting)),
            (Table("anomalies", "", _COLUMNS, rows), *tables),
            tuple(
                chart_of(f"anomaly_{number}", one.signal.title, [one.signal], [Mark(one.start, one.end, spaced(str(one.shape)))])
                for number, one in enumerate(found[:_MOST_CHARTS], 1)
            ),
            is_whole=not looked.unjudged,
        ),
    )


def _findings(question: Question, found: Sequence[Anomaly]) -> Iterator[Finding]:
    """Tell anomalies; of a percentile with the bounds of its bucket, between which its value is a guess."""
    measures = {one.signal.measure.name: one.signal.measure for one in found}
    bounds = {name: bounds_of(measure, question.source, question.grid) for name, measure in measures.items()}
    for one in found:
        key = tuple(one.signal.labels.get(name, "") for name in one.signal.measure.by)
        yield _finding(one, bounds[one.signal.measure.name].get(key, ()))


def _finding(found: Anomaly, bounds: Sequence[float]) -> Finding:
    unit = unit_of(found.signal.measure)
    silent = [one for one in (found, *found.others) if one.shape == found.shape == "missing"]
    what = f"nothing came of {len(silent)} signals" if len(silent) > 1 else f"{spaced(str(found.shape))} in {found.signal.title}"
    title = f"{what} from {shown(found.start, Unit.TIME)}"
    was, expected, until = shown(found.observed, unit), shown(found.expected, unit), shown(found.end, Unit.TIME)
    if found.shape == "variance":
        usual = shown(median(value for value in found.signal.values if math.isfinite(value)), unit)
        evidence = f"a standard deviation of {was} about a usual {usual}, where {expected} was expected, until {until}"
    else:
        if bounds:
            was, expected = (level(value, str(unit), bounds) for value in (found.observed, found.expected))
        of = f"{found.signal.title}: " if len(silent) > 1 else ""
        evidence = f"{of}{was} where {expected} was expected, until {until}"
    if not found.size:
        evidence += "; too little to be felt"
    if found.others:
        evidence += f"; with it {'; '.join(dict.fromkeys(one.signal.title for one in found.others))}"
    severity = Severity.WARNING if found.is_worse and found.size else Severity.INFO
    return Finding(severity, title, evidence, query=found.signal.measure.query)


def _extent_of(question: Question, looked: Survey) -> tuple[str, ...]:
    """Say how much was judged, of how much else not and why, and what would change that."""
    missing = looked.unjudged
    if not missing:
        return (f"{counted(looked.judged, 'signal')} judged.",) if looked.judged else ("There is nothing to judge.",)
    advice = "give a longer window (--since), or let the program run on"
    if question.options.step is not None and question.grid.count < LEAST_KNOWN:
        advice = "give a shorter --step"
    times = dict.fromkeys(duration(one.enough_seconds) for one in (missing[0], missing[-1]))
    told = (
        f"{counted(looked.judged, 'signal')} judged; of {len(missing)} there is too little to judge by: each needs {LEAST_KNOWN} "
        f"values, and ratios and durations {LEAST_OBSERVATIONS} calls or more for each of them. As things go, a window of "
        f"{' to '.join(times)} will do: {advice}."
    )
    return (told,)


def _tables(looked: Survey) -> tuple[Table, ...]:
    rows = tuple(
        (one.signal.measure.name, whom(one.signal.labels), one.known, one.calls, one.enough_seconds) for one in looked.unjudged
    )
    return (Table("unjudged", "Too little to judge by", _UNJUDGED_COLUMNS, rows),) if rows else ()


COMMAND = Command(
    "Anomalies",
    ("--source history.db --since 24h", "--source history.db --measure task_error_ratio --strict"),
    _sections,
    add_measure,
)
