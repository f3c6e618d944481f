"""How long a season is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["find_period"]

_LEAST_CORRELATION = 0.25
_NEARLY = 0.9
_LEAST_POINTS = 12
_FAR = 5.0
_DEVIATION = 0.6745  # the median absolute deviation of a normal distribution, in its deviations
_ROUNDING = 1e-9


def find_period(values: Sequence[float]) -> int:
    """Return after how many steps values come again: the shortest of the strongest peaks of their autocorrelation.

    A line is taken out first, and outliers are cut to five deviations. What comes is only a candidate, which a back-test must
    confirm: a course that wanders has peaks, too.

    Args:
        values: At equal distances in time; NaN and infinity are gaps.

    Returns:
        Up to a third of their number; 1 for no season.

    Raises:
        ConfigurationError: numpy is not installed.
    """
    np = load_extra("numpy", "analysis", "find_period()")
    given = np.asarray(values, float)
    known = np.isfinite(given)
    count = len(given)
    if known.sum() < _LEAST_POINTS:
        return 1
    greatest = float(np.abs(given[known]).max())
    if greatest == 0:
        return 1
    given = given / greatest
    middle = np.median(given[known])
    usual = float(np.median(np.abs(given[known] - middle))) / _DEVIATION
    if usual > 0:
        given = np.clip(given, middle - _FAR * usual, middle + _FAR * usual)
    at = np.arange(count, dtype=float)
    slope, level = np.polyfit(at[known], given[known], 1)
    rest = np.where(known, given - slope * at - level, 0.0)
    deviation = float(np.median(np.abs(rest[known]))) / _DEVIATION or float(rest.std())
    if deviation <= _ROUNDING:
        return 1
    rest = np.clip(rest, -_FAR * deviation, _FAR * deviation)
    size = 2 ** math.ceil(math.log2(2 * count))
    power = np.fft.irfft(np.abs(np.fft.rfft(rest, size)) ** 2, size)[:count]
    pairs = np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2, size)[:count]
    correlation = power / np.maximum(pairs, 1.0) / (power[0] / pairs[0])
    low = np.flatnonzero(correlation[: count // 3 + 1] < _LEAST_CORRELATION / 2)
    if not len(low):
        return 1  # it never lets go: a course, and no season
    searched = correlation[: count // 3 + 2]
    peaks = [
        lag
        for lag in range(max(2, int(low[0])), len(searched) - 1)
        if searched[lag] >= searched[lag - 1] and searched[lag] > searched[lag + 1]
    ]
    floor = max(_LEAST_CORRELATION, 2.6 / math.sqrt(count))
    strong = [lag for lag in peaks if searched[lag] > floor]
    if not strong:
        return 1
    greatest = max(searched[lag] for lag in strong)
    rough = next(lag for lag in strong if searched[lag] >= _NEARLY * greatest)
    near = range(max(2, rough - rough // 8), rough + rough // 8 + 1)
    # where its multiples have peaks, too: noise moves one peak by a step, and seldom all
    return max(near, key=lambda lag: float(correlation[lag : count // 2 + 1 : lag].mean()))
