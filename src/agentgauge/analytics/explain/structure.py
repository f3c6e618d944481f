"""Who has to do with whom: which agents use which models and tools, hand work to whom, and in which instances they run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold
from agentgauge.analytics.signals import SOURCE_LABELS, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Frame, Grid, Source
    from agentgauge.analytics.signals import Signal

__all__ = ["Remembered", "Structure"]

_AGENT, _MODEL, _TOOL = "gen_ai_agent_name", "gen_ai_request_model", "gen_ai_tool_name"
_EDGES = (
    "agent_tokens_total",
    "agent_cost_usd_total",
    "gen_ai_execute_tool_duration_seconds_count",
    "agent_repeated_tool_calls_total",
)
_PLACES = (*_EDGES, "agent_task_duration_seconds_count", "gen_ai_client_operation_duration_seconds_count", "agent_queue_depth")


_LOAD = frozenset(
    {"task_rate", "handoff_rate", "run_steps_mean", "task_retry_rate"}
)  # goes to those that are called, all else back


class Remembered:
    """A source that is asked for the same frames once."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source
        self._frames: dict[tuple[str, Grid, Fold], list[Frame]] = {}

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return what the source did, or does now."""
        key = (metric, grid, fold)
        if key not in self._frames:
            self._frames[key] = self._source.frames(metric, grid, None, fold)
        wanted = set((labels or {}).items())
        return [frame for frame in self._frames[key] if wanted <= set(frame.labels.items())]

    def metrics(self) -> list[str]:
        """Return what the source does."""
        return self._source.metrics()

    def extent(self) -> tuple[float, float] | None:
        """Return what the source does."""
        return self._source.extent()


def _place(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in SOURCE_LABELS)


class Structure:
    """Who has to do with whom, from the labels of series that name two of them."""

    def __init__(self, source: Source, grid: Grid) -> None:
        """Look who is in a source.

        Raises:
            SourceError: It cannot be asked.
        """
        self._models: dict[str, set[str]] = defaultdict(set)
        self._tools: dict[str, set[str]] = defaultdict(set)
        self._callees: dict[str, set[str]] = defaultdict(set)
        self._places: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
        for metric in _PLACES:
            for frame in source.frames(metric, grid):
                self._add(frame.labels)
        for frame in source.frames("agent_handoffs_total", grid):
            self._callees[frame.labels.get("source", "")].add(frame.labels.get("target", ""))

    def _add(self, labels: Mapping[str, str]) -> None:
        agent = labels.get(_AGENT, "")
        if agent and _MODEL in labels:
            self._models[agent].add(labels[_MODEL])
        if agent and _TOOL in labels:
            self._tools[agent].add(labels[_TOOL])
        for name in (_AGENT, _MODEL, _TOOL):
            if name in labels:
                self._places[name, labels[name]].add(_place(labels))

    def _in(self, signal: Signal) -> set[tuple[str, ...]]:
        if signal.measure.subject in {Subject.PROCESS, Subject.HOST}:
            return {_place(signal.labels)}
        for name, label in ((_AGENT, _AGENT), ("source", _AGENT), (_MODEL, _MODEL), (_TOOL, _TOOL)):
            if name in signal.labels:
                return self._places[label, signal.labels[name]]
        return set()

    def jobs(self, signal: Signal) -> set[str]:
        """Return the jobs that a signal is of: its own, or those in which its agent, model or tool is."""
        return {place[SOURCE_LABELS.index("job")] for place in self._in(signal)}

    def _agents(self, labels: Mapping[str, str]) -> set[str]:
        """Return the agents that a signal of an agent, a model or a tool is about."""
        if _AGENT in labels:
            return {labels[_AGENT]}
        if "source" in labels:
            return {labels["source"], labels.get("target", "")}
        if _TOOL in labels:
            return {agent for agent, tools in self._tools.items() if labels[_TOOL] in tools}
        return {agent for agent, models in self._models.items() if labels.get(_MODEL) in models}

    def is_linked(self, cause: Signal, effect: Signal) -> bool:
        """Tell whether what happens to one can reach the other in one step."""
        subjects = {cause.measure.subject, effect.measure.subject}
        if subjects & {Subject.PROCESS, Subject.HOST}:
            return bool(self._in(cause) & self._in(effect))
        shared = [name for name in (_MODEL, _TOOL) if name in cause.labels and name in effect.labels]
        if any(cause.labels[name] != effect.labels[name] for name in shared):
            return False
        if subjects in ({Subject.MODEL}, {Subject.TOOL}):
            return True
        causes, effects = self._agents(cause.labels), self._agents(effect.labels)
        if causes & effects:
            return True
        if subjects != {Subject.AGENT}:
            return False
        callers, callees = (causes, effects) if cause.measure.name in _LOAD else (effects, causes)
        return any(self._callees[caller] & callees for caller in callers if caller in self._callees)

    def depth(self, signal: Signal) -> int:
        """Return 0 where what a measure tells starts: load with agents that call, all else with those that are called."""
        is_called = any(signal.labels.get(_AGENT) in callees for callees in self._callees.values())
        return int(is_called == (signal.measure.name in _LOAD))
