"""The readings of the last while, bounded by count and by age."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.system_metrics.readings import MetricPoint, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentgauge.system_metrics.readings import Readings

__all__ = ["History", "Moment"]


class Moment(NamedTuple):
    """A reading and its time, by the wall clock and by one that never goes back."""

    at: float
    now: float
    value: float


class History:
    """Not for several threads at once.

    Args:
        longest_seconds: How old a reading may become.
        most_points: How many readings of one series are kept.
    """

    def __init__(self, longest_seconds: float, most_points: int) -> None:
        self._longest_seconds = longest_seconds
        self._most_points = most_points
        self._moments: dict[Series, deque[Moment]] = {}
        self._units: dict[str, str] = {}

    def add(self, readings: Readings, now: float) -> None:
        """Take in a pass, and forget what is too old by ``now``: seconds of a clock that never goes back."""
        for series, value in readings.values.items():
            moments = self._moments.get(series)
            if moments is None:
                moments = self._moments[series] = deque(maxlen=self._most_points)
            moments.append(Moment(readings.at, now, value))
        self._units |= readings.units
        oldest = now - self._longest_seconds
        for series, moments in list(self._moments.items()):
            while moments and moments[0].now < oldest:
                moments.popleft()
            if not moments:
                del self._moments[series]

    def series(self, since: float) -> Iterator[tuple[Series, list[Moment]]]:
        """Yield each series with its readings since ``since``, a time of the clock that never goes back."""
        for series, moments in self._moments.items():
            recent = [moment for moment in moments if moment.now >= since]
            if recent:
                yield series, recent

    def points(self, metric: str | None, since: float, labels: Mapping[str, str] | None = None) -> tuple[MetricPoint, ...]:
        """Return readings, the oldest first.

        Args:
            metric: Of this metric; None for all.
            since: From this time on, of the clock that never goes back.
            labels: Of the series that have these labels, and maybe others.
        """
        wanted = set((labels or {}).items())
        found: list[MetricPoint] = []
        for series, moments in self.series(since):
            if metric in {None, series.metric} and wanted.issubset(series.labels):
                unit = self._units.get(series.metric, "")
                found += (MetricPoint(series.metric, moment.value, moment.at, dict(series.labels), unit) for moment in moments)
        return tuple(sorted(found, key=lambda point: (point.timestamp, point.metric, sorted(point.labels.items()))))
