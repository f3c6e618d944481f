"""Which calls get series of their own, up to a limit on distinct names; past it they share one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.recording.series import CallSeries, LmName, SeriesKind, Target

if TYPE_CHECKING:
    from agentgauge.recording.recorder import Recorder
    from agentgauge.targets import Objective

__all__ = ["OTHER", "Admission"]

OTHER = "other"


class Admission:
    """The series of calls, and the targets that their records point at; a recorder that starts anew makes another.

    Args:
        recorder: Tells the limit, and counts what is past it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.series: dict[SeriesKind, dict[tuple[str, str | LmName], CallSeries]] = {kind: {} for kind in SeriesKind}
        self._tracked: dict[tuple[str, str, bool], Target] = {}
        self._known: dict[tuple[SeriesKind, str, str | LmName, bool], Target] = {}  # those without an objective

    def admit(self, kind: SeriesKind, agent: str, name: str | LmName, objective: Objective | None = None) -> CallSeries | None:
        """Return the series of a call, made on first sight; None once the limit on distinct names is reached."""
        table = self.series[kind]
        series = table.get((agent, name))
        if series is None and len(table) < self._recorder.series_limit:
            series = table.setdefault((agent, name), CallSeries(kind, agent, name))
            if kind is SeriesKind.TASK:
                self._recorder.observe(catalogue.TASK_RETRIES, series.labels, 0)
        if series is not None and objective is not None:
            series.set_objective(objective)
        return series

    def target(
        self, kind: SeriesKind, agent: str, name: str | LmName, *, is_entry: bool, objective: Objective | None = None
    ) -> Target | None:
        """Return what the events of such calls point at; None once a limit is reached, for ``overflow_target``."""
        series = self.admit(kind, agent, name, objective)
        run = self.admit(SeriesKind.RUN, agent, "") if is_entry else None
        if series is None or (is_entry and run is None):
            return None
        return Target(series, run, agent, name)

    def known_target(self, kind: SeriesKind, agent: str, name: str | LmName, *, is_entry: bool) -> Target:
        """Return what the events of such calls point at, made on first sight; past a limit, what stands for all others."""
        key = (kind, agent, name, is_entry)
        target = self._known.get(key)
        if target is None:
            target = self.target(kind, agent, name, is_entry=is_entry)
            if target is None:
                return self.overflow_target(kind, agent, name, is_entry=is_entry)
            self._known[key] = target
        return target

    def overflow_target(self, kind: SeriesKind, agent: str, name: str | LmName, *, is_entry: bool) -> Target:
        """Return what stands for every name past the limit; each use is counted."""
        self._recorder.observe(catalogue.SERIES_OVERFLOWED, (("kind", kind.value),), 1)
        table = self.series[kind]
        stand_in = LmName(OTHER, OTHER, OTHER) if isinstance(name, LmName) else OTHER
        series = table.get((OTHER, OTHER)) or table.setdefault((OTHER, OTHER), CallSeries(kind, OTHER, stand_in))
        run = self.admit(SeriesKind.RUN, agent, "") if is_entry else None
        if is_entry and run is None:
            run = self.series[SeriesKind.RUN].setdefault((OTHER, ""), CallSeries(SeriesKind.RUN, OTHER, ""))
        return Target(series, run, agent, name)

    def tracked_target(self, agent: str, task: str, *, is_entry: bool, objective: Objective | None) -> Target:
        """Return the target of a task that is named when it runs, by ``track`` or an ``AgentMetricsCollector``."""
        key = (agent, task, is_entry)
        target = self._tracked.get(key)
        if target is None:
            target = self.target(SeriesKind.TASK, agent, task, is_entry=is_entry, objective=objective)
            if target is None:
                return self.overflow_target(SeriesKind.TASK, agent, task, is_entry=is_entry)
            self._tracked[key] = target
        if objective is not None:
            target.series.set_objective(objective)
        return target
