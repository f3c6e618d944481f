"""``agentgauge explain``: what moved in a window or with an alert, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.anomalies import find_anomalies
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.ending import why
from agentgauge.analytics.commands.lasting import changed_for_good
from agentgauge.analytics.commands.shared import MEASURE, chart_of, unit_of, whom
from agentgauge.analytics.explain import explain, read_spans, window_of_alert
from agentgauge.analytics.explain.alert import first_alert
from agentgauge.analytics.explain.wording import level
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.report.document import Column, Finding, Mark, Section, Severity, Table, Unit
from agentgauge.analytics.report.numbers import shown
from agentgauge.analytics.signals import Subject
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.explain import AlertWindow, Cause, CriticalPath, Explanation
    from agentgauge.analytics.report.document import Cell
    from agentgauge.analytics.signals import Signal

__all__ = ["COMMAND", "sections_about"]

_MOST_CHARTS = 4
_LEAST_SECONDS, _LEAST_STEPS = 600.0, 8
_LEAD_SECONDS = 1800.0  # before an alert: rules look back, and wait before they fire
_DID_NOT_MOVE = (
    " Over the whole window below it did not move by more than chance, the trend and the noise before allow: a shorter --window "
    "about it may tell more."
)
_COLUMNS = (
    Column("role", "role"),
    MEASURE,
    Column("of", "of"),
    Column("onset", "since", Unit.TIME),
    Column("lag_seconds", "lag", Unit.SECONDS),
    Column("unit", "unit"),
    Column("before", "before", Unit.NUMBER, "unit"),
    Column("after", "after", Unit.NUMBER, "unit"),
    Column("effect", "effect", Unit.NUMBER),
    Column("p_value", "p", Unit.PROBABILITY),
    Column("caused_by", "caused by"),
)
_PATH_COLUMNS = (
    Column("operation", "operation"),
    Column("agent", "agent"),
    Column("model", "model"),
    Column("tool", "tool"),
    Column("seconds", "own time", Unit.SECONDS),
    Column("share", "share", Unit.RATIO),
    Column("spans", "spans", Unit.COUNT),
)


def _sections(question: Question) -> tuple[Section, ...]:
    options = question.options
    if options.window and options.alert:
        raise ConfigurationError("--window and --alert both name a window: give one of them")
    spans = read_spans(Path(options.traces)) if options.traces else None
    alert, before, about = None, None, None
    if options.alert:
        alert = _about(question, _alert(options.alert))
        window, why = alert.window, f"This is about the alert {alert.name}." if alert.name else ""
    elif options.window:
        window, why = question.window("--window", options.window), ""
    else:
        window, why, about = _of_note(question)
    if options.before:
        before = question.window("--before", options.before)
    question.step("comparing what moved")
    found = explain(question.source, window, before=before, alert=alert, spans=spans)
    if about is not None and not any(_is_same(one.signal, about) for one in found.moved):
        why += _DID_NOT_MOVE
    return sections_about(found, why)


def _is_same(one: Signal, other: Signal) -> bool:
    return one.measure.name == other.measure.name and one.labels == other.labels


def _about(question: Question, alert: Mapping[str, Any]) -> AlertWindow:
    """Return the window of an alert; of a source that goes back too little, half of what came before the alert is left."""
    now = min(question.now, question.extent[1])
    try:
        found = window_of_alert(alert, now=now, lead_seconds=_LEAD_SECONDS)
    except ConfigurationError:
        window_of_alert(alert, now=question.now)  # which says what is wrong with the alert itself
        raise ConfigurationError(
            f"the alert began after {question.source.name} ends, at {shown(question.extent[1], Unit.TIME)}: nothing of it is "
            "there to explain; ask about what was before it with --window 30m"
        ) from None
    earlier = found.window.start - found.window.step_seconds + _LEAD_SECONDS - question.extent[0]
    step = min(found.window.step_seconds, question.grid.step_seconds)
    if earlier <= -found.window.step_seconds and not question.options.before:  # it is up to a step more
        raise ConfigurationError(
            f"the alert began before {question.source.name} does, at {shown(question.extent[0], Unit.TIME)}: there is nothing "
            "before it to compare with; name a window later than that with --window"
        )
    if earlier >= 2 * _LEAD_SECONDS or earlier < 2 * step:
        return found
    return window_of_alert(alert, now=now, lead_seconds=earlier / 2, step_seconds=step)


def _of_note(question: Question) -> tuple[Grid, str, Signal | None]:
    """Return what is most out of the ordinary of what agents do, or changed for good, or else the last quarter of the window.

    With it come what says so and the signal, if it is about one.
    """
    question.step("looking for what is out of the ordinary")
    grid, step = question.grid, question.grid.step_seconds
    span = grid.count * step
    least = max(step, min(max(_LEAST_SECONDS, (_LEAST_STEPS + 1) * step), span / 3))
    # what begins with the window has nothing before it to be compared with
    first = max(question.extent[0], grid.start - step) + (_LEAST_STEPS + 1) * step
    found = find_anomalies(question.source, grid)
    felt = [
        one
        for head in found
        for one in (head, *head.others)
        if one.signal.measure.subject is Subject.AGENT and one.is_worse and one.size and one.start >= first
    ]
    if felt:
        worst = max(felt, key=lambda one: abs(one.score))
        until = min(max(worst.end, worst.start + least), grid.end)
        since = min(worst.start - step, until - least)
        return Grid.over(since, until, step), f"This is about the worst anomaly: {worst.signal.title}.", worst.signal
    agents = [measure for measure in MEASURES if measure.subject is Subject.AGENT]
    changed, _ = changed_for_good(question.source, grid, agents, found)
    lasting = [one for one in changed if one.is_worse and one.steps[-1].at >= first]
    if lasting:
        greatest = max(lasting, key=lambda one: one.size)
        since = greatest.steps[-1].at - step
        return Grid.over(since, grid.end, step), f"This is about what changed for good: {greatest.signal.title}.", greatest.signal
    last = max(span / 4, min(_LEAST_SECONDS, span / 2), step)
    part = "quarter" if last * 4 <= span + step else "part"
    said = f"No window was named, and agents were not seen to get worse: this is about the last {part} of what was asked for."
    return Grid.over(grid.end - last, grid.end, step), f"{said} Name another with --window.", None


def _alert(name: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        alert = json.loads(text)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--alert {name!r} cannot be read: {why(error)}") from None
    except ValueError as error:
        raise ConfigurationError(f"--alert {name!r} is no JSON ({error}): save what Alertmanager sends or shows") from None
    one = first_alert(alert)
    if "labels" not in one and "startsAt" not in one:
        raise ConfigurationError(
            f"--alert {name!r} holds no alert: save what Alertmanager sends or shows, with labels and startsAt, "
            "or what Prometheus shows at /api/v1/alerts"
        )
    return one


def sections_about(explanation: Explanation, why: str) -> tuple[Section, ...]:
    """Tell an explanation."""
    window, before = explanation.window, explanation.before
    facts = (
        f"What moved from {shown(window.start - window.step_seconds, Unit.TIME)} to {shown(window.end, Unit.TIME)}, compared "
        f"with the time from {shown(before.start - before.step_seconds, Unit.TIME)} to {shown(before.end, Unit.TIME)}; "
        f"{explanation.looked_at} signals were looked at."
    )
    moved = explanation.moved
    sections = [
        Section(
            "explanation",
            "Explanation",
            tuple(filter(None, (explanation.conclusion, why, facts))),
            tuple(map(_finding, explanation.causes)),
            (Table("moved", "What moved", _COLUMNS, tuple(map(_row, moved))),) if moved else (),
            tuple(
                chart_of(f"moved_{number}", one.signal.title, [one.signal], [Mark(one.onset, one.onset, one.role.value)])
                for number, one in enumerate(moved[:_MOST_CHARTS], 1)
            ),
            is_answer=explanation.looked_at > 0,
        )
    ]
    if explanation.critical_path is not None:
        sections.append(_path(explanation.critical_path))
    return tuple(sections)


def _finding(cause: Cause) -> Finding:
    unit = unit_of(cause.signal.measure)
    before, after = (level(value, str(unit), cause.bounds) for value in (cause.before, cause.after))
    evidence = f"{before} before, {after} since {shown(cause.onset, Unit.TIME)}."
    if cause.explains:
        evidence += f" It can explain: {'; '.join(cause.explains[:5])}."
    return Finding(Severity.WARNING, cause.sentence, evidence, cause.advice, cause.query)


def _row(cause: Cause) -> tuple[Cell, ...]:
    return (
        cause.role.value,
        cause.signal.measure.name,
        whom(cause.labels),
        cause.onset,
        cause.lag_seconds,
        cause.signal.measure.unit,
        cause.before,
        cause.after,
        cause.effect,
        cause.p_value,
        cause.caused_by,
    )


def _path(path: CriticalPath) -> Section:
    rows = tuple((one.operation, one.agent, one.model, one.tool, one.seconds, one.share, one.spans) for one in path.shares)
    return Section("critical_path", "Critical path", (path.sentence,), tables=(Table("critical_path", "", _PATH_COLUMNS, rows),))


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--window", metavar="FROM/TO", help="what to explain, or its last so long (what got worse)")
    parser.add_argument("--before", metavar="FROM/TO", help="what to compare it with (the time before it)")
    parser.add_argument("--alert", metavar="FILE", help="an alert as Alertmanager sends or shows it; - for standard input")
    parser.add_argument("--traces", metavar="FILE", help="spans as OTLP or Jaeger's JSON: adds their critical path")


COMMAND = Command(
    "Explanation",
    (
        "--source history.db",
        "--source history.db --window 30m",
        "--source history.db --alert alert.json --traces spans.jsonl",
    ),
    _sections,
    _add_options,
)
