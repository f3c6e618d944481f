"""What objectives count, step by step: calls that count and bad ones among them, by what is promised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.outcomes import is_bad, is_success
from agentgauge.analytics.slo.report import Promise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.totals import Totals
    from agentgauge.targets import Objective

__all__ = ["BY", "LATENCY_RATIO", "Counted", "counted", "tasks_known"]

LATENCY_RATIO = 0.95
BY = ("job", "gen_ai_agent_name", "agent_task")
_CALLS = "agent_task_duration_seconds_count"


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """One objective and what was counted of it.

    Attributes:
        key: Job, agent and task.
        promise: What the objective is about.
        objective: The share of calls that must be good.
        latency_seconds: The duration promised, for a latency.
        calls: How many calls counted in each step.
        bad: How many of them were bad.
    """

    key: tuple[str, ...]
    promise: Promise
    objective: float
    latency_seconds: float | None
    calls: list[float]
    bad: list[float]


def counted(source: Source, grid: Grid, grown: Totals, objectives: Mapping[tuple[str, str], Objective] | None) -> list[Counted]:
    """Return every objective with its counts, all instances of a job together.

    Error and timeout are bad; cancelled and abandoned calls count in neither part. Of several programs that promise differently,
    the stricter promise holds, as in the shipped rules.
    """
    ratios, latencies = (
        _stated(source, grid, "agent_objective_success_ratio"),
        _stated(source, grid, "agent_objective_latency_seconds", is_most=False),
    )
    declared = dict(latencies)
    good = grown.steps(_CALLS, BY, is_success)
    failed = grown.steps(_CALLS, BY, is_bad)
    missed = grown.steps("agent_objective_latency_missed_total", BY)
    for (agent, task), objective in (objectives or {}).items():
        keys = {key for key in (*good, *failed) if key[1:] == (agent, task)} or {("", agent, task)}
        for key in keys:
            _replace(ratios, key, objective.success_ratio)
            _replace(latencies, key, objective.latency_seconds)
    nothing = [0.0] * grid.count
    found = []
    for key in sorted(ratios.keys() | latencies.keys()):
        well, badly = _known(good.get(key, nothing)), _known(failed.get(key, nothing))
        if key in ratios:
            calls = [one + other for one, other in zip(well, badly, strict=True)]
            found.append(Counted(key, Promise.SUCCESS, ratios[key], None, calls, badly))
        if key in latencies and key in missed and latencies[key] == declared.get(key):  # another is not what was counted
            slow = [min(many, of) for many, of in zip(_known(missed.get(key, nothing)), well, strict=True)]
            found.append(Counted(key, Promise.LATENCY, LATENCY_RATIO, latencies[key], well, slow))
    return found


def tasks_known(grown: Totals) -> dict[tuple[str, str], bool]:
    """Return the agents and tasks of which the window has series, and whether any call of them ended in it."""
    return {(agent, task): many > 0 for (agent, task), many in grown.by(_CALLS, BY[1:]).items()}


def _stated(source: Source, grid: Grid, metric: str, *, is_most: bool = True) -> dict[tuple[str, ...], float]:
    """Return the last of what each program promises, and of several programs the stricter."""
    found: dict[tuple[str, ...], float] = {}
    for frame in source.frames(metric, grid):
        known = [value for value in frame.values if not math.isnan(value)]
        value = known[-1] if known else math.nan
        if not 0 < value < (1 if is_most else math.inf):
            continue
        key = tuple(frame.labels.get(name, "") for name in BY)
        found[key] = (max if is_most else min)(found.get(key, value), value)
    return found


def _replace(found: dict[tuple[str, ...], float], key: tuple[str, ...], value: float | None) -> None:
    if value is None:
        found.pop(key, None)
    else:
        found[key] = value


def _known(values: Sequence[float]) -> list[float]:
    return [0.0 if math.isnan(value) else value for value in values]
