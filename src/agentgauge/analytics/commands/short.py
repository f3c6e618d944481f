"""What a report comes to, before all else: the worst that its sections found, each with the command that says more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted
from agentgauge.analytics.commands.shared import again
from agentgauge.analytics.report.document import Section, Severity, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Finding

__all__ = ["in_short"]

_COMMANDS = {"slo": "slo", "anomalies": "anomalies", "trends": "trends", "recommendations": "recommend"}
_MONEY = "recommendations"
_SAID = {
    "slo": ("Objectives", "every objective was kept"),
    "anomalies": ("Anomalies", "nothing was out of the ordinary"),
    "trends": ("Trends", "nothing got worse"),
}
"""What the sections say that can find something bad, where they find nothing."""
_MOST_OF_A_SECTION = 3
_DAY = 86_400.0
_BAD = (Severity.CRITICAL, Severity.WARNING)


def in_short(question: Question, sections: Sequence[Section]) -> Section:
    """Sum sections up: their worst findings, by how bad they are, and the advice that would save most.

    Args:
        question: What was asked.
        sections: The answers to it.

    Returns:
        A section that says that all is well only where everything was looked at and could be judged, and nothing bad was found.
    """
    worst: list[Finding] = []
    bad = 0
    titles = {one.title for section in sections for one in section.findings}
    for section in sections:
        # what only says again what another section found is told once
        new = (one for one in section.findings if one.severity in _BAD and one.evidence not in titles)
        found = sorted(new, key=lambda one: _BAD.index(one.severity))
        bad += len(found)
        worst += [_with_command(question, section, one) for one in found[:_MOST_OF_A_SECTION]]
    worst.sort(key=lambda one: _BAD.index(one.severity))
    advice = [
        _with_command(question, section, one) for section in sections if section.name == _MONEY for one in section.findings[:1]
    ]
    return Section(
        "short",
        "In short",
        tuple(filter(None, (_verdict(sections, bad, len(worst)), _cost(question, sections)))),
        (*worst, *advice),
        is_answer=False,
    )


def _verdict(sections: Sequence[Section], bad: int, shown: int) -> str:
    looked_at = {section.name for section in sections}
    unasked = "; ".join(title for name, (title, _) in _SAID.items() if name not in looked_at)
    unjudged = "; ".join(section.title for section in sections if not (section.is_answer and section.is_whole))
    partly = f" What could not be judged, or only in part: {unjudged}." if unjudged else ""
    partly += f" Not looked at: {unasked}." if unasked else ""
    if bad:
        more = f", the worst {shown} of them first" if bad > shown else ""
        return f"{counted(bad, 'thing needs', 'things need')} a look{more}.{partly}"
    if not looked_at & _SAID.keys():
        return f"Whether all is well is not known.{partly}"
    if unjudged:
        return f"Nothing bad was found in what could be judged.{partly}"
    said = [words for name, (_, words) in _SAID.items() if name in looked_at]
    if unasked:
        return f"Nothing bad was found in what was looked at: {' and '.join(said)}.{partly}"
    return f"All is well: {', '.join(said[:-1])} and {said[-1]}."


def _cost(question: Question, sections: Sequence[Section]) -> str:
    rows = [row for section in sections for table in section.tables if table.name == "spending" for row in table.rows]
    cost = sum(float(row[-1] or 0) for row in rows)
    seconds = question.grid.count * question.grid.step_seconds
    return f"Models cost {amount(cost, Unit.USD)}, {amount(cost * _DAY / seconds, Unit.USD)} a day as things go." if cost else ""


def _with_command(question: Question, section: Section, found: Finding) -> Finding:
    """Leave the line that says it, of an objective what its bad calls had in common, too, and how to hear more."""
    command = _COMMANDS.get(section.name)
    more = again(question, command) if command else again(question, "report", "--section", section.name)
    evidence = found.evidence if found.severity is Severity.CRITICAL else ""
    return replace(found, evidence=evidence, fix="", query="", command=found.command or more)
