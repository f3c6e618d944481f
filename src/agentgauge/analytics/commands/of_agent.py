"""``--agent``: a source as one agent sees it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Frame, Grid, Source

__all__ = ["OfAgent"]

_AGENT = "gen_ai_agent_name"
_HANDOFF = {"source", "target"}
_COUNTED = ("agent_task_duration_seconds_count", "gen_ai_invoke_agent_duration_seconds_count", "agent_tokens_total")


class OfAgent:
    """A source without the series of other agents; what no agent is told apart by, such as models and machines, is all there.

    Args:
        source: What is asked.
        agent: Whose series are wanted.
        grid: The window.

    Attributes:
        name: That of the source.

    Raises:
        ConfigurationError: The window has no such agent; the message names those that there are.
        SourceError: The source cannot be asked.
    """

    def __init__(self, source: Source, agent: str, grid: Grid) -> None:
        self.name = source.name
        self._source, self._agent = source, agent
        there = {frame.labels.get(_AGENT, "") for metric in _COUNTED for frame in source.frames(metric, grid)} - {""}
        if agent not in there:
            near = difflib.get_close_matches(agent, there, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(sorted(there)) or 'none at all'}"
            raise ConfigurationError(f"--agent {agent!r}: this window has no such agent; {hint}")

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return the series of a metric, but those of other agents."""
        return [frame for frame in self._source.frames(metric, grid, labels, fold) if self._is_of(frame.labels)]

    def metrics(self) -> list[str]:
        """Return the names of all samples of the source."""
        return self._source.metrics()

    def metrics_with(self, label: str) -> list[str]:
        """Return the metrics that have a label, where the source can tell; what programs recorded is no agent's or any's."""
        told = getattr(self._source, "metrics_with", None)
        return list(told(label)) if told is not None else []

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the first and last sample of the source."""
        return self._source.extent()

    def _is_of(self, labels: Mapping[str, str]) -> bool:
        if labels.keys() >= _HANDOFF:
            return self._agent in {labels["source"], labels["target"]}
        return labels.get(_AGENT, "") in {"", self._agent}
