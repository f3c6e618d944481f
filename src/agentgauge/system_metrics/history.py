"""The readings of the last while, bounded by count, by age and by how many series there are."""

from __future__ import annotations

from collections import deque
from itertools import chain, takewhile
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.system_metrics.readings import MetricPoint, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.system_metrics.readings import Readings

__all__ = ["History", "Moment", "Stretch", "points_of"]


class Moment(NamedTuple):
    """A reading and its time, by the wall clock and by one that never goes back."""

    at: float
    now: float
    value: float


class Stretch(NamedTuple):
    """Readings of one series, the oldest first."""

    series: Series
    moments: list[Moment]


class History:
    """Not for several threads at once.

    Args:
        longest_seconds: How old a reading may become.
        most_points: How many readings of one series are kept.
        most_series: How many series are kept; of more, those go first that were read the longest ago.

    Attributes:
        units: The base unit of each metric that has one.
        cumulative: The metrics that only grow.
        series_forgotten: How many series went before they were too old, since there were too many.
    """

    def __init__(self, longest_seconds: float, most_points: int, most_series: int) -> None:
        self._longest_seconds = longest_seconds
        self._most_points = most_points
        self._most_series = most_series
        self._moments: dict[Series, deque[Moment]] = {}  # in the order of their last readings
        self.units: dict[str, str] = {}
        self.cumulative: set[str] = set()
        self.series_forgotten = 0

    def add(self, readings: Readings, now: float) -> None:
        """Take in a pass, and forget what is too old by ``now``, a time of the clock that never goes back, or too much."""
        for series, value in readings.values.items():
            moments = self._moments.pop(series, None)
            if moments is None:
                moments = deque(maxlen=self._most_points)
            moments.append(Moment(readings.at, now, value))
            self._moments[series] = moments  # at the end
        self.units |= readings.units
        self.cumulative |= readings.cumulative
        held = len(self._moments)
        oldest = now - self._longest_seconds
        for series, moments in list(self._moments.items()):
            while moments and moments[0].now < oldest:
                moments.popleft()
            if not moments:
                del self._moments[series]
        while len(self._moments) > self._most_series:
            del self._moments[next(iter(self._moments))]
            self.series_forgotten += 1
        if len(self._moments) < held:
            metrics = {series.metric for series in self._moments}
            self.units = {metric: unit for metric, unit in self.units.items() if metric in metrics}
            self.cumulative &= metrics

    def pick(self, metric: str | None, since: float, labels: Mapping[str, str] | None = None) -> list[Stretch]:
        """Copy readings.

        Args:
            metric: Of this metric; None for all.
            since: From this time on, of the clock that never goes back.
            labels: Of the series that have these labels, and maybe others.
        """
        wanted = set((labels or {}).items())
        found = (
            Stretch(series, _recent(moments, since))
            for series, moments in self._moments.items()
            if metric in {None, series.metric} and wanted.issubset(series.labels)
        )
        return [stretch for stretch in found if stretch.moments]


def points_of(stretches: Iterable[Stretch], units: Mapping[str, str]) -> tuple[MetricPoint, ...]:
    """Return readings as points, the oldest first, those of one time by metric and labels."""
    by_time: dict[float, list[MetricPoint]] = {}  # sorting all of them at once would hold up other threads
    for series, moments in sorted(stretches):
        unit = units.get(series.metric, "")
        for moment in moments:
            point = MetricPoint(series.metric, moment.value, moment.at, dict(series.labels), unit)
            by_time.setdefault(moment.at, []).append(point)
    return tuple(chain.from_iterable(by_time[at] for at in sorted(by_time)))


def _recent(moments: deque[Moment], since: float) -> list[Moment]:
    if moments[0].now >= since:
        return list(moments)
    recent = list(takewhile(lambda moment: moment.now >= since, reversed(moments)))
    recent.reverse()
    return recent
