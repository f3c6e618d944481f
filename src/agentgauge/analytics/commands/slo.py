"""``agentgauge slo``: which objectives were kept, what is left of the error budgets, and the incidents."""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import as_iso, counted
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.shared import again, whom
from agentgauge.analytics.commands.times import as_duration
from agentgauge.analytics.report.document import Column, Finding, Section, Severity, Table, Unit
from agentgauge.analytics.report.numbers import shown
from agentgauge.analytics.slo import Kept, Promise, slo_report
from agentgauge.analytics.slo.counts import BY
from agentgauge.analytics.totals import whole_grid
from agentgauge.errors import ConfigurationError
from agentgauge.targets import Objective

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable, Mapping

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Cell
    from agentgauge.analytics.slo import Incident, SloReport, SloResult

__all__ = ["COMMAND", "as_objectives"]

_COLUMNS = (
    Column("of", "of"),
    Column("promise", "promise"),
    Column("objective", "objective", Unit.RATIO),
    Column("latency_seconds", "within", Unit.SECONDS),
    Column("kept", "kept"),
    Column("ratio", "attained", Unit.RATIO),
    Column("calls", "calls", Unit.COUNT),
    Column("bad", "bad", Unit.COUNT),
    Column("budget_spent_ratio", "budget spent", Unit.RATIO),
    Column("burn_rate", "burn rate", Unit.NUMBER),
    Column("incidents", "incidents", Unit.COUNT),
    Column("mttr_seconds", "MTTR", Unit.SECONDS),
)
_PERIOD_COLUMNS = (
    Column("of", "of"),
    Column("promise", "promise"),
    Column("start", "from", Unit.TIME),
    Column("end", "until", Unit.TIME),
    Column("is_whole", "whole"),
    Column("kept", "kept"),
    Column("ratio", "attained", Unit.RATIO),
    Column("calls", "calls", Unit.COUNT),
    Column("bad", "bad", Unit.COUNT),
)
_INCIDENT_COLUMNS = (
    Column("of", "of"),
    Column("promise", "promise"),
    Column("start", "from", Unit.TIME),
    Column("duration_seconds", "duration", Unit.SECONDS),
    Column("is_open", "open"),
    Column("calls", "calls", Unit.COUNT),
    Column("bad", "bad", Unit.COUNT),
    Column("burn_rate", "burn rate", Unit.NUMBER),
    Column("budget_ratio", "of the budget", Unit.RATIO),
    Column("cause", "cause"),
)
_WORDS = {Kept.KEPT: "yes", Kept.MISSED: "no", Kept.NO_DATA: "no data"}


def as_objectives(texts: Iterable[str]) -> dict[tuple[str, str], Objective]:
    """Read objectives as ``AGENT/TASK=99.5%``, ``AGENT/TASK=5s`` or both, separated by a comma.

    Raises:
        ConfigurationError: One of them cannot be read.
    """
    objectives = {}
    for text in texts:
        name, equals, promise = text.rpartition("=")
        agent, slash, task = name.partition("/")
        if not (equals and slash and agent and task and promise):
            raise ConfigurationError(
                f"--objective {text!r}: write AGENT/TASK=99.5%,5s, the share of successes, the latency or both"
            )
        success, latency = None, None
        for part in promise.split(","):
            share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%|(0?\.\d+)", part.strip())
            if share:
                success = float(Decimal(share[1]) / 100) if share[1] else float(share[2])
            else:
                latency = as_duration(f"--objective {text!r}:", part)
        try:
            objectives[agent, task] = Objective(success_ratio=success, latency_seconds=latency)
        except ConfigurationError as error:
            raise ConfigurationError(f"--objective {text!r}: {error}") from None
    return objectives


def _sections(question: Question) -> tuple[Section, ...]:
    objectives = as_objectives(getattr(question.options, "objective", None) or ())
    question.step("adding up objectives")
    grid = whole_grid(question.source, question.grid, since=question.since, until=question.until)
    report = slo_report(question.source, grid, objectives=objectives or None, period=getattr(question.options, "period", "day"))
    _require_known(objectives, report)
    unjudged = tuple(_unjudged(name, promised, report) for name, promised in objectives.items() if promised.latency_seconds)
    findings = [finding for finding in unjudged if finding is not None]
    if not report.results:
        return (
            Section(
                "slo", "Objectives", (_none(report, getattr(question.options, "agent", None)),), tuple(findings), is_answer=False
            ),
        )
    by_kept = {kept: [one for one in report.results if one.whole.kept is kept] for kept in Kept}
    words = [f"{len(by_kept[Kept.KEPT])} of {len(report.results)} objectives were kept, {len(by_kept[Kept.MISSED])} missed"]
    words += [f"{len(by_kept[Kept.NO_DATA])} can be told neither: there was no call"] if by_kept[Kept.NO_DATA] else []
    sentences = [f"{', '.join(words)}."]
    if report.without_objective:
        sentences.append(f"Without an objective: {'; '.join(map('/'.join, report.without_objective))}.")
    incidents = tuple(_incident(one, incident) for one in report.results for incident in one.incidents)
    periods = tuple(
        (
            whom(one.labels),
            one.promise.value,
            part.start.timestamp(),
            part.end.timestamp(),
            part.is_whole,
            _WORDS[part.kept],
            part.ratio,
            part.calls,
            part.bad,
        )
        for one in report.results
        for part in one.periods
    )
    tables = [Table("objectives", "", _COLUMNS, tuple(map(_row, report.results)))]
    tables += [Table("incidents", "Incidents", _INCIDENT_COLUMNS, incidents)] if incidents else []
    tables.append(Table("periods", f"By {report.period}", _PERIOD_COLUMNS, periods))
    findings = [*(_missed(one, question) for one in by_kept[Kept.MISSED]), *findings, *map(_without_data, by_kept[Kept.NO_DATA])]
    is_answer = len(by_kept[Kept.NO_DATA]) < len(report.results)
    return (Section("slo", "Objectives", tuple(sentences), tuple(findings), tuple(tables), is_answer=is_answer),)


def _require_known(objectives: Mapping[tuple[str, str], Objective], report: SloReport) -> None:
    """Refuse an objective of a task of which the window has nothing: what is misspelt would never be missed."""
    names = list(map("/".join, report.tasks))
    for name in map("/".join, objectives):
        if name not in names:
            near = difflib.get_close_matches(name, names, 3, 0.5)
            there = f"there is {', '.join(names)}" if names else "there is none at all: give a longer window"
            hint = f"did you mean {' or '.join(near)}?" if near else there
            raise ConfigurationError(f"--objective {name!r}: this window has no such task; {hint}")


def _unjudged(name: tuple[str, str], promised: Objective, report: SloReport) -> Finding | None:
    """Say that a latency cannot be judged; None where it was."""
    of_latency = [one for one in report.results if one.promise is Promise.LATENCY]
    if any((one.labels.get(BY[1], ""), one.labels.get(BY[2], "")) == name for one in of_latency):
        return None
    within = shown(promised.latency_seconds, Unit.SECONDS)
    return Finding(
        Severity.WARNING,
        f"{', '.join(name)}: whether calls ended within {within} is not known",
        "A program counts what took longer than the latency that it declares itself, and this one declares another or none.",
        f"declare it in the program: @task(objective=Objective(latency_seconds={promised.latency_seconds:g}))",
    )


def _none(report: SloReport, agent: str | None) -> str:
    task = f"No task of {agent}" if agent else "No task"
    if not report.without_objective:
        return f"{task} ran in this window, and none has an objective."
    first = "/".join(report.without_objective[0])
    return (
        f"{task} has an objective: give it one in the program with @task(objective=Objective(...)), or here with --objective "
        f"'{first}=99%'. Tasks that ran: {'; '.join(map('/'.join, report.without_objective))}."
    )


def _missed(result: SloResult, question: Question) -> Finding:
    within = f" within {shown(result.latency_seconds, Unit.SECONDS)}" if result.latency_seconds is not None else ""
    title = f"{whom(result.labels)} missed its objective: {shown(result.whole.ratio, Unit.RATIO)} good{within}"
    title += f", promised {shown(result.objective, Unit.RATIO)}"
    evidence = f"{result.whole.bad:,} of {result.whole.calls:,} calls were bad, {result.budget.allowed:,.1f} were allowed."
    if not result.incidents:
        return Finding(Severity.CRITICAL, title, evidence)
    worst = max(result.incidents, key=lambda incident: incident.budget_ratio)
    if worst.causes:
        evidence += f" In the worst of {counted(len(result.incidents), 'incident')}: {worst.causes[0].sentence}."
    window = f"{as_iso(worst.start.timestamp())}/{as_iso(worst.end.timestamp())}"
    command = again(question, "explain", "--window", window)
    return Finding(Severity.CRITICAL, title, evidence, "see what moved with its worst incident", command=command)


def _without_data(result: SloResult) -> Finding:
    title = f"{whom(result.labels)}: nothing is known of its objective ({result.promise.value})"
    return Finding(Severity.WARNING, title, "No call that counts ended in this window: it was neither kept nor missed.")


def _row(result: SloResult) -> tuple[Cell, ...]:
    whole = result.whole
    return (
        whom(result.labels),
        result.promise.value,
        result.objective,
        result.latency_seconds,
        _WORDS[whole.kept],
        whole.ratio,
        whole.calls,
        whole.bad,
        result.budget.spent_ratio,
        result.budget.burn_rate,
        len(result.incidents),
        result.mttr_seconds,
    )


def _incident(result: SloResult, incident: Incident) -> tuple[Cell, ...]:
    return (
        whom(result.labels),
        result.promise.value,
        incident.start.timestamp(),
        incident.duration_seconds,
        incident.is_open,
        incident.calls,
        incident.bad,
        incident.burn_rate,
        incident.budget_ratio,
        incident.causes[0].sentence if incident.causes else None,
    )


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--objective",
        action="append",
        metavar="AGENT/TASK=99.5%,5s",
        help="an objective, instead of what the program declared for that task; may be given again",
    )
    parser.add_argument("--period", choices=("day", "week", "month"), default="day", help="periods of the calendar (day)")


COMMAND = Command(
    "Objectives",
    ("--source history.db --since 30d --period week", "--source history.db --objective 'writer/write=95%' --strict"),
    _sections,
    _add_options,
)
