"""Series over a window as analysis reads them, whether they come from the local history or from a Prometheus."""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Protocol

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Fold", "Frame", "Grid", "Source", "increases", "quantiles", "sane"]

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MOST_POINTS = 1440
_NAN = math.nan
_GREATEST, _LEAST = 1e60, 1e-60  # the fourth power of much greater ones is infinite, and nothing that is measured comes near


class Fold(StrEnum):
    """What a frame has at each of its times, of the samples since the time before.

    ``LAST`` is PromQL's instant selector: the last sample, of the last five minutes where the step is shorter. The others are
    ``min_over_time`` and its kin over one step, and missing where there was no sample in it.
    """

    LAST = "last"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Grid:
    """The times of a frame: multiples of the step, so that two sources, and two windows, agree about them.

    Attributes:
        start: The first time, Unix time in seconds; what it stands for are the seconds of one step that end there.
        step_seconds: From one time to the next.
        count: How many times there are.
    """

    start: float
    step_seconds: float
    count: int

    def __post_init__(self) -> None:
        if not self.step_seconds > 0 or self.count < 1:
            raise ConfigurationError(f"{self}: give a step above 0 and a count of at least 1")

    @classmethod
    def over(cls, since: float, until: float, step_seconds: float | None = None) -> Grid:
        """Lay a grid over a window; times are the multiples of the step in ``(since, until]``.

        Args:
            since: Where the window begins, Unix time in seconds.
            until: Where it ends.
            step_seconds: From one time to the next; unless given, the shortest of 1 s to 1 d that makes at most 1,440 of them.

        Raises:
            ConfigurationError: The window has no time in it.
        """
        if not (math.isfinite(since) and math.isfinite(until) and since < until):
            raise ConfigurationError(f"the window from {since} to {until} is empty: give a beginning before its end")
        if step_seconds is None:
            step_seconds = next((step for step in _STEPS if (until - since) / step <= _MOST_POINTS), _STEPS[-1])
        first = math.floor(since / step_seconds) + 1
        count = math.floor(until / step_seconds) - first + 1
        if count < 1:
            raise ConfigurationError(
                f"the window of {until - since:g} s has no multiple of the step of {step_seconds:g} s in it: give a longer one"
            )
        return cls(first * step_seconds, step_seconds, count)

    @property
    def end(self) -> float:
        """The last time."""
        return self.start + (self.count - 1) * self.step_seconds

    @property
    def times(self) -> list[float]:
        """All times, the earliest first."""
        if float(self.start).is_integer() and float(self.step_seconds).is_integer():  # the same numbers in a third of the time
            start, step = int(self.start), int(self.step_seconds)
            return list(map(float, range(start, start + self.count * step, step)))
        return [self.start + index * self.step_seconds for index in range(self.count)]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One series over a grid.

    Attributes:
        metric: The name of its samples, such as ``agent_task_duration_seconds_bucket``.
        labels: Its labels, ``le`` and, where the source has them, ``job`` and ``instance`` included; none is empty.
        grid: Its times.
        values: One for each time; NaN where there was none, or none to calculate with: see ``sane``.
    """

    metric: str
    labels: Mapping[str, str]
    grid: Grid
    values: array[float]


class Source(Protocol):
    """Where frames come from: the local history, or a Prometheus.

    Attributes:
        name: How reports name it: a path or an address, without credentials.
    """

    name: str

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return the series of a metric that have these labels, and maybe others, and a sample in the window.

        Raises:
            SourceError: It cannot be asked.
        """

    def metrics(self) -> list[str]:
        """Return the names of all its samples, in order."""

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the first and last sample that it has, Unix time in seconds; None where it has none."""


def sane(values: array[float]) -> array[float]:
    """Return values that can be calculated with: NaN for infinite ones and those beyond 1e60 in size, 0 for those within 1e-60.

    All series of a source go through this: a gauge may legally be infinite, and one such sample must not spoil a sum, a mean or
    a variance of all others.
    """
    sizes = list(filter(None, map(abs, values)))  # in C: an analysis reads thousands of series
    if sum(sizes) <= _GREATEST and min(sizes, default=_LEAST) >= _LEAST:  # most often; a NaN makes the sum one
        return values
    if not any(map(_GREATEST.__lt__, sizes)) and not any(map(_LEAST.__gt__, sizes)):
        return values
    return array("d", [_NAN if abs(value) > _GREATEST else 0.0 if abs(value) < _LEAST else value for value in values])


def increases(frame: Frame, *, has_begun: bool = False) -> array[float]:
    """Return by how much a counter grew in each step, resets taken into account.

    The first time has none (NaN), nor has a step at one of whose ends the counter was missing, but for where it begins.

    Args:
        frame: Of a counter, or of a histogram's ``_bucket``, ``_count`` or ``_sum``; of the fold ``LAST``.
        has_begun: Whether the program was seen before the counter began: then it began at zero, and its first value is growth.
            PromQL's ``increase()`` does not see that.
    """
    values = frame.values
    grown = array("d", [_NAN][: len(values)])
    grown.extend(map(operator.sub, values[1:], values))  # in C: an analysis reads thousands of series
    for index in compress(range(len(grown)), map((0.0).__gt__, grown)):
        grown[index] = values[index]  # it was reset
    if has_begun and values and math.isnan(values[0]):
        begin = next((index for index, value in enumerate(values) if not math.isnan(value)), 0)
        grown[begin] = values[begin]
    return grown


def quantiles(buckets: Mapping[float, Sequence[float]], q: float) -> array[float]:
    """Return a quantile for each time from the buckets of a histogram, as PromQL's ``histogram_quantile()``.

    Args:
        buckets: By upper bound, ``inf`` included: the observations at or below it in each step, NaN or 0 for none.
        q: Between 0 and 1.

    Returns:
        The quantile, linear within a bucket; NaN where nothing was observed, the highest finite bound where it lies above.
    """
    bounds = sorted(buckets)
    columns = [buckets[bound] for bound in bounds]
    return array("d", [_quantile(bounds, counts, q) for counts in zip(*columns, strict=True)])


def _quantile(bounds: list[float], counts: tuple[float, ...], q: float) -> float:
    if math.isnan(sum(counts)):
        counts = tuple(0.0 if math.isnan(count) else count for count in counts)
    cumulative = [*accumulate(counts, max, initial=0.0)][1:]
    if not bounds or bounds[-1] != math.inf or cumulative[-1] <= 0:
        return _NAN
    rank = q * cumulative[-1]
    index = bisect_left(cumulative, rank)
    if bounds[index] == math.inf:
        return bounds[index - 1] if index else _NAN
    below = cumulative[index - 1] if index else 0.0
    lower = bounds[index - 1] if index else min(0.0, bounds[0])
    inside = cumulative[index] - below
    return lower + (bounds[index] - lower) * ((rank - below) / inside if inside else 1.0)
