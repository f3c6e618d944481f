"""Whether values rise or fall, by how much, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.analysis.scale import shrinking
from agentgauge.analytics.analysis.steady import chance_of_going_on
from agentgauge.analytics.extras import load_extra
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Direction", "Trend", "trend"]


class Direction(StrEnum):
    """What a trend says."""

    RISING = "rising"
    FALLING = "falling"
    NONE = "none"
    CONSTANT = "constant"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through values, and how sure it is; slopes are per second, NaN where the direction is ``UNKNOWN``.

    Attributes:
        direction: ``RISING`` or ``FALLING`` where that is significant, ``NONE`` where it is not, ``CONSTANT`` where all
            values are the same, ``UNKNOWN`` where there are too few.
        points: How many values were known.
        seconds: From the first known one to the last.
        slope: Change a second.
        low: The lower end of its confidence interval.
        high: The upper end.
        level: Of that interval, such as 0.95.
        first: The line at the first known value.
        last: The line at the last.
        p_value: Of the two-sided test against no trend, corrected for ties and autocorrelation.
        tau: Kendall's rank correlation with time, between -1 and 1.
        inflation: By which factor autocorrelation makes the test's variance greater; of a steady course no more than leaves the
            test as sure as that is.
    """

    direction: Direction
    points: int
    seconds: float
    slope: float
    low: float
    high: float
    level: float
    first: float
    last: float
    p_value: float
    tau: float
    inflation: float

    @property
    def change(self) -> float:
        """From the first known value to the last, along the line."""
        return self.slope * self.seconds


_NAN = math.nan
_MOST_POINTS = 200
_LAGS = 3
_HIGHEST_CORRELATION = 0.98
_STEADY = 0.01  # what a walk does oftener is left to its residuals
_TESTS = 2  # the surer one of two is right by chance twice as often
_LEAST_CHANCE = 1e-6  # what goes one way may remember all the same: its interval stays as wide as that says
_NORMAL = NormalDist()


def trend(times: Sequence[float], values: Sequence[float], *, level: float = 0.95, least_points: int = 10) -> Trend:
    """Fit a line that outliers do not bend, and test whether there is a trend at all.

    The slope is the median of the slopes between all pairs (Theil-Sen), its interval Sen's, the test that of Mann and Kendall,
    corrected for ties. Metrics remember what they were a minute ago, which makes all three too sure: the variance is inflated by
    what an AR(1) with the autocorrelation of the residuals' ranks at lag 1 would do (Yue & Wang), this freed of its bias in short
    series; where lags 4 to 6 show a memory that lasts under noise, by that of an AR(1) under noise, if that is more. A random
    walk still passes for a trend.

    What rises along a curve leaves residuals that look like a long memory. Where values go one way so steadily that a random
    walk hardly would (``chance_of_going_on()``), the inflation is no more than makes the test as sure as that, down to a p-value
    of two in a million.

    More than 200 values are thinned to 200 medians of equal stretches of time: pairs grow with the square.

    Args:
        times: Seconds, in any order and at any distance; what shares a time counts as its median.
        values: One for each; NaN and infinity are left out.
        level: Of the interval; the test calls significant what is below 1 - level.
        least_points: Fewer known values are no ground for a line: the direction is ``UNKNOWN``.

    Raises:
        ConfigurationError: numpy is not installed, the two differ in length, or the level is not between 0 and 1.

    Sources: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63, 1968. H. B. Mann,
        "Nonparametric tests against trend", Econometrica 13, 1945. M. G. Kendall, "Rank Correlation Methods", 1975.
        S. Yue & C. Wang, "The Mann-Kendall test modified by effective sample size...", Water Resources Management 18, 2004.
        K. H. Hamed, "Enhancing the effectiveness of prewhitening in trend analysis...", Journal of Hydrology 368, 2009 (bias).
    """
    np = load_extra("numpy", "analysis", "trend()")
    if len(times) != len(values):
        raise ConfigurationError(f"{len(times)} times and {len(values)} values: give one time for each value")
    if not 0 < level < 1:
        raise ConfigurationError(f"level={level!r}: give a share between 0 and 1, such as 0.95")
    at, seen = np.asarray(times, float), np.asarray(values, float)
    known = np.isfinite(at) & np.isfinite(seen)
    at, seen = at[known], seen[known]
    points = len(at)
    shrunk = shrinking(float(np.abs(seen).max(initial=0.0)))
    seen, scale = seen * shrunk, 1 / shrunk
    order = np.argsort(at, kind="stable")
    at, seen = _at_each_time(np, at[order], seen[order])
    seconds = float(at[-1] - at[0]) if points else 0.0
    if len(at) < max(3, least_points):
        return Trend(Direction.UNKNOWN, points, seconds, _NAN, _NAN, _NAN, level, _NAN, _NAN, _NAN, _NAN, _NAN)
    if (seen == seen[0]).all():
        value = float(seen[0]) * scale
        return Trend(Direction.CONSTANT, points, seconds, 0.0, 0.0, 0.0, level, value, value, 1.0, 0.0, 1.0)
    begin, end = float(at[0]), float(at[-1])
    if len(at) > _MOST_POINTS:
        at, seen = _thinned(np, at, seen)
    at = at - begin  # Unix times are great numbers: differences of them lose digits
    line = _line(np, at, seen, level)
    significant = line.p_value < 1 - level and line.slope != 0
    direction = (Direction.RISING if line.slope > 0 else Direction.FALLING) if significant else Direction.NONE
    first, last = line.intercept, line.intercept + line.slope * (end - begin)
    return Trend(
        direction,
        points,
        seconds,
        line.slope * scale,
        line.low * scale,
        line.high * scale,
        level,
        first * scale,
        last * scale,
        line.p_value,
        line.tau,
        line.inflation,
    )


@dataclass(frozen=True, slots=True)
class _Line:
    slope: float
    low: float
    high: float
    intercept: float
    p_value: float
    tau: float
    inflation: float


def _line(np: Any, at: Any, seen: Any, level: float) -> _Line:
    count = len(at)
    earlier, later = np.triu_indices(count, 1)
    rises = seen[later] - seen[earlier]
    slopes = np.sort(rises / (at[later] - at[earlier]))
    slope = float(np.median(slopes))
    residuals = seen - slope * at
    ties = np.unique(seen, return_counts=True)[1].astype(float)
    pairs = count * (count - 1) / 2
    tied = float((ties * (ties - 1)).sum()) / 2
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    inflation = _inflation(np, residuals)
    score = float(np.sign(rises).sum())
    if inflation > 1 and score:
        # about a curve neighbours are alike without any memory: where moves are surer of a way, they tell how sure it is
        chance = chance_of_going_on(np, seen, score)
        if chance < _STEADY:
            normal = _NORMAL.inv_cdf(_TESTS * max(chance, _LEAST_CHANCE) / 2)
            inflation = min(inflation, max(1.0, ((abs(score) - 1) / normal) ** 2 / variance))
    deviation = math.sqrt(variance * inflation)
    z = (abs(score) - 1) / deviation if score else 0.0
    margin = _NORMAL.inv_cdf((1 + level) / 2) * deviation
    low = max(round((len(slopes) - margin) / 2) - 1, 0)
    high = min(round((len(slopes) + margin) / 2), len(slopes) - 1)
    return _Line(
        slope,
        float(slopes[low]),
        float(slopes[high]),
        float(np.median(residuals)),
        min(1.0, math.erfc(z / math.sqrt(2))),
        score / math.sqrt(pairs * (pairs - tied)),
        inflation,
    )


def _at_each_time(np: Any, at: Any, seen: Any) -> tuple[Any, Any]:
    """Return the distinct times in order and the median of the values at each."""
    distinct, begins = np.unique(at, return_index=True)
    if len(distinct) == len(at):
        return at, seen
    return distinct, np.array([np.median(some) for some in np.split(seen, begins[1:])])


def _thinned(np: Any, at: Any, seen: Any) -> tuple[Any, Any]:
    """Return the mean time and median value of each of some equal stretches of time that have any."""
    edges = np.searchsorted(at, np.linspace(at[0], at[-1], _MOST_POINTS + 1)[1:-1], side="right")
    stretches = [(times, some) for times, some in zip(np.split(at, edges), np.split(seen, edges), strict=True) if len(times)]
    return np.array([times.mean() for times, _ in stretches]), np.array([np.median(some) for _, some in stretches])


def _inflation(np: Any, residuals: Any) -> float:
    """Return by which factor autocorrelation makes the variance of the test greater; never below 1."""
    count = len(residuals)
    if count < 2 * _LAGS + 3:
        return 1.0
    ranks = np.unique(residuals, return_inverse=True)[1].astype(float)  # equal residuals share a rank
    ranks -= ranks.mean()
    power = float((ranks * ranks).sum())
    if power == 0:
        return 1.0
    seen = np.array([float((ranks[lag:] * ranks[:-lag]).sum()) for lag in range(1, 2 * _LAGS + 1)]) / power
    freed = np.minimum((count * seen + 2) / (count - 4), _HIGHEST_CORRELATION)
    lags = np.arange(1, count)
    most = 1.0 + 2.0 * float(((1 - lags / count) * max(0.0, freed[0]) ** lags).sum())
    near, far = float(freed[:_LAGS].sum()), float(freed[_LAGS:].sum())
    if seen[_LAGS:].sum() > 2 * math.sqrt(_LAGS / count) and near > 0:
        # a slow course under noise: its autocorrelation begins low and lasts, c * memory ** lag
        memory = min((far / near) ** (1 / _LAGS), _HIGHEST_CORRELATION)
        share = near / sum(memory**lag for lag in range(1, _LAGS + 1))
        most = max(most, 1.0 + 2.0 * share * float(((1 - lags / count) * memory**lags).sum()))
    return max(1.0, most)
