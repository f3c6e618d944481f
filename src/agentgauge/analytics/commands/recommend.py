"""``agentgauge recommend``: what could be done better, with what shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.shared import spaced, whom
from agentgauge.analytics.recommend import recommend
from agentgauge.analytics.report.document import Column, Finding, Section, Severity, Table, Unit
from agentgauge.analytics.totals import totals, whole_grid

if TYPE_CHECKING:
    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.recommend import Advice, Gain
    from agentgauge.analytics.recommend.advice import Evidence

__all__ = ["COMMAND", "told"]

_COLUMNS = (
    Column("rule", "rule", words=spaced),
    Column("of", "of"),
    Column("gain", "expected gain", Unit.NUMBER, "gain_unit"),
    Column("gain_low", "at least", Unit.NUMBER, "gain_unit"),
    Column("gain_high", "at most", Unit.NUMBER, "gain_unit"),
    Column("gain_unit", "unit"),
    Column("confidence", "confidence"),
)
_EVIDENCE_COLUMNS = (
    Column("rule", "rule", words=spaced),
    Column("of", "of"),
    Column("name", "figure"),
    Column("value", "value", Unit.NUMBER, "unit"),
    Column("unit", "unit"),
    Column("low", "low", Unit.NUMBER, "unit"),
    Column("high", "high", Unit.NUMBER, "unit"),
    Column("count", "calls or samples", Unit.COUNT),
)
_CALLS = (
    "agent_task_duration_seconds_count",
    "gen_ai_client_operation_duration_seconds_count",
    "gen_ai_execute_tool_duration_seconds_count",
)


def _sections(question: Question) -> tuple[Section, ...]:
    question.step("looking for what could be done better")
    found = recommend(question.source, whole_grid(question.source, question.grid, since=question.since, until=question.until))
    if not found:
        has_run = any(one > 0 for metric in _CALLS for one in totals(question.source, question.grid, metric, ()).values())
        sentence = (
            "No advice: nothing in this window is evidence for any."
            if has_run
            else "There is nothing to advise on: no task, tool or LM call ended in this window."
        )
        return (Section("recommendations", "Recommendations", (sentence,), is_answer=has_run),)
    gains = tuple(
        (
            one.rule,
            whom(one.labels),
            one.gain.value,
            one.gain.interval.low if one.gain.interval else None,
            one.gain.interval.high if one.gain.interval else None,
            one.gain.unit,
            one.confidence.value,
        )
        for one in found
    )
    evidence = tuple(
        (
            one.rule,
            whom(one.labels),
            figure.name,
            figure.value,
            figure.unit,
            figure.interval.low if figure.interval else None,
            figure.interval.high if figure.interval else None,
            figure.count,
        )
        for one in found
        for figure in one.evidence
    )
    return (
        Section(
            "recommendations",
            "Recommendations",
            (_count(len(found)),),
            tuple(map(told, found)),
            (
                Table("recommendations", "Expected gains", _COLUMNS, gains),
                Table("evidence", "Evidence", _EVIDENCE_COLUMNS, evidence),
            ),
        ),
    )


def _count(pieces: int) -> str:
    first = ", that with the greatest expected gain first" if pieces > 1 else ""
    return f"{counted(pieces, 'piece of advice', 'pieces of advice')}{first}."


def told(advice: Advice) -> Finding:
    """Tell a piece of advice, its evidence and what it would bring."""
    evidence = "; ".join(map(_figure, advice.evidence))
    gain = _gain(advice.gain)
    words = [evidence and f"{evidence}.", gain and f"Expected gain: {gain}.", f"Confidence: {advice.confidence.value}."]
    words.append(advice.limits)
    return Finding(Severity.INFO, advice.sentence, " ".join(filter(None, words)), query=advice.query)


def _figure(evidence: Evidence) -> str:
    return f"{evidence.name}: {amount(evidence.value, evidence.unit)}"


def _gain(gain: Gain) -> str:
    return "" if gain.value is None else amount(gain.value, gain.unit)


COMMAND = Command("Recommendations", ("--source history.db --since 7d",), _sections)
