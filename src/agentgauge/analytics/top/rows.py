"""What each agent does, from two snapshots."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import quantiles
from agentgauge.analytics.outcomes import is_bad, is_counted, is_success
from agentgauge.analytics.report.document import Column, Table, Unit
from agentgauge.analytics.top.snapshot import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentgauge.analytics.report.document import Cell
    from agentgauge.analytics.top.snapshot import Snapshot

__all__ = ["COLUMNS", "SORTS", "AgentRow", "as_table", "rows", "sorted_rows"]

_AGENT = "gen_ai_agent_name"


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent; what is not known yet, or has no series of this agent, is None.

    Attributes:
        agent: Its name.
        state: The state that it says it is in.
        rate: Tasks that ended, a second.
        error_ratio: The share of them that ended badly.
        p95_seconds: The 95th percentile of the duration of those that succeeded.
        in_progress: Tasks that have not ended.
        oldest_seconds: For how long the oldest of them has run.
        cost_per_second: US dollars.
        tokens_per_second: Tokens of its LM calls.
    """

    agent: str
    state: str
    rate: float | None
    error_ratio: float | None
    p95_seconds: float | None
    in_progress: float
    oldest_seconds: float | None
    cost_per_second: float | None
    tokens_per_second: float | None


COLUMNS = (
    Column("agent", "agent"),
    Column("state", "state"),
    Column("rate", "tasks", Unit.PER_SECOND),
    Column("error_ratio", "errors", Unit.RATIO),
    Column("p95_seconds", "p95", Unit.SECONDS),
    Column("in_progress", "running", Unit.COUNT),
    Column("oldest_seconds", "oldest", Unit.SECONDS),
    Column("cost_per_second", "cost", Unit.USD_PER_SECOND),
    Column("tokens_per_second", "tokens", Unit.PER_SECOND),
)
"""One for each attribute of a row."""

SORTS = {
    "n": "agent",
    "s": "state",
    "r": "rate",
    "e": "error_ratio",
    "p": "p95_seconds",
    "i": "in_progress",
    "o": "oldest_seconds",
    "c": "cost_per_second",
    "t": "tokens_per_second",
}
"""By which column each key sorts."""


def rows(before: Snapshot | None, now: Snapshot) -> list[AgentRow]:
    """Return what each agent does now, and did since a snapshot before.

    Args:
        before: An earlier snapshot; without one no rate is known.
        now: The latest.
    """
    seconds = now.at - before.at if before is not None else 0.0
    earlier = before if before is not None and seconds > 0 else None
    counts = _Growth(earlier, now, f"{TASKS}_count")
    cost, tokens = _Growth(earlier, now, "agent_cost_usd_total"), _Growth(earlier, now, "agent_tokens_total")
    ended = counts.by_agent()
    bad = counts.by_agent(is_bad)
    counted = counts.by_agent(is_counted)
    slow = _p95(_Growth(earlier, now, f"{TASKS}_bucket"))
    spent, used = cost.by_agent(), tokens.by_agent()
    in_progress, oldest, states = _in_progress(now), _oldest(now), _states(now)
    names = {*ended, *spent, *used, *in_progress, *oldest, *states}

    def a_second(growth: Mapping[str, float], name: str) -> float | None:
        return growth[name] / seconds if earlier is not None and name in growth else None

    return [
        AgentRow(
            name,
            states.get(name, ""),
            a_second(ended, name),
            bad.get(name, 0.0) / counted[name] if counted.get(name) else None,
            slow.get(name),
            in_progress.get(name, 0.0),
            max(0.0, now.at - oldest[name]) if name in oldest else None,
            a_second(spent, name),
            a_second(used, name),
        )
        for name in sorted(names)
    ]


def sorted_rows(found: Sequence[AgentRow], key: str, *, is_reversed: bool = False) -> list[AgentRow]:
    """Sort by a column: names from a to z, figures from the greatest, the unknown at the end."""
    known = [row for row in found if getattr(row, key) not in {None, ""}]
    unknown = [row for row in found if getattr(row, key) in {None, ""}]
    known.sort(key=lambda row: getattr(row, key), reverse=(key not in {"agent", "state"}) != is_reversed)
    return known + unknown


def as_table(found: Sequence[AgentRow]) -> Table:
    """Return rows as a table of a report."""
    cells: tuple[tuple[Cell, ...], ...] = tuple(tuple(getattr(row, column.name) for column in COLUMNS) for row in found)
    return Table("agents", "", COLUMNS, cells, most=None)


class _Growth:
    """What a counter grew by between two snapshots; one that begins, or begins anew, did so at zero."""

    def __init__(self, before: Snapshot | None, now: Snapshot, metric: str) -> None:
        self.grown: list[tuple[dict[str, str], float]] = []
        earlier = before.samples.get(metric, {}) if before is not None else {}
        for labels, value in now.samples.get(metric, {}).items():
            was = earlier.get(labels, 0.0)
            grown = value - was if value >= was else value
            self.grown.append((dict(labels), grown if before is not None else 0.0))

    def by_agent(self, where: Callable[[Mapping[str, str]], bool] = lambda _labels: True) -> dict[str, float]:
        sums: dict[str, float] = {}
        for labels, grown in self.grown:
            if where(labels):
                name = labels.get(_AGENT, "")
                sums[name] = sums.get(name, 0.0) + grown
        return sums


def _p95(growth: _Growth) -> dict[str, float]:
    buckets: dict[str, dict[float, array[float]]] = {}
    for labels, grown in growth.grown:
        if is_success(labels):
            of_agent = buckets.setdefault(labels.get(_AGENT, ""), {})
            sums = of_agent.setdefault(float(labels["le"]), array("d", [0.0]))
            sums[0] += grown
    found = {name: quantiles(of_agent, 0.95)[0] for name, of_agent in buckets.items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _in_progress(now: Snapshot) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, value in now.samples.get("agent_tasks_in_progress", {}).items():
        name = dict(labels).get(_AGENT, "")
        sums[name] = sums.get(name, 0.0) + value
    return sums


def _oldest(now: Snapshot) -> dict[str, float]:
    starts: dict[str, float] = {}
    for labels, value in now.samples.get("agent_task_oldest_start_timestamp_seconds", {}).items():
        name = dict(labels).get(_AGENT, "")
        if value > 0:
            starts[name] = min(starts.get(name, value), value)
    return starts


def _states(now: Snapshot) -> dict[str, str]:
    """Return the state of each agent; several instances may be in several."""
    found: dict[str, set[str]] = {}
    for labels, value in now.samples.get("agent_state", {}).items():
        of = dict(labels)
        if value > 0:
            found.setdefault(of.get(_AGENT, ""), set()).add(of.get("agent_state", ""))
    return {name: ", ".join(sorted(states)) for name, states in found.items()}
