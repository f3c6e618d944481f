"""What programs recorded of themselves by ``BaseAnalytics``, as measures that analysis looks at like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from agentgauge.analytics.frames import Fold
from agentgauge.analytics.signals import Measure, Subject, Worse, level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Source

__all__ = ["RECORDER_LABEL", "recorded_measures"]

RECORDER_LABEL = "analytics"
"""The label that these series have: the name of the object that recorded them."""


@runtime_checkable
class _Labelled(Protocol):
    """A source that tells which metrics have a label: a history; no Prometheus ever scraped what is only recorded."""

    def metrics_with(self, label: str) -> list[str]: ...


def recorded_measures(source: Source) -> tuple[Measure, ...]:
    """Return a measure for each metric that was recorded, by whose it is: the mean of its points in each step.

    Nobody knows whether more of it is worse.

    Raises:
        SourceError: The source cannot be asked.
    """
    names = source.metrics_with(RECORDER_LABEL) if isinstance(source, _Labelled) else []
    return tuple(
        Measure(name, name, "", Subject.AGENT, (RECORDER_LABEL,), Worse.EITHER, "", level(name, Fold.MEAN, _is_recorded))
        for name in names
    )


def _is_recorded(labels: Mapping[str, str]) -> bool:
    return bool(labels.get(RECORDER_LABEL))
