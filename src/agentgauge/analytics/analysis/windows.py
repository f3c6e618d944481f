"""Statistics of windows that move over a series, and what fits a stretch of it best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agentgauge.analytics.analysis.baseline import LEAST_POINTS
from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from agentgauge.analytics.analysis.baseline import Array

__all__ = [
    "TAIL",
    "best_ramp",
    "best_stretch",
    "error",
    "moving_median",
    "tail_freedom",
    "tail_of_bursts",
    "window_means",
    "window_medians",
]

_special: Any = load_extra("scipy.special", "analysis", "find_anomalies()")
TAIL = 0.97
_FREEDOMS = (2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 30.0)


def window_means(values: Array, length: int) -> Array:
    """Return the mean of each window of so many values, by its first; NaN where more than a quarter of it is missing."""
    known = np.isfinite(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    count = counts[length:] - counts[:-length]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= 0.75 * length, (sums[length:] - sums[:-length]) / count, np.nan)


def window_medians(values: Array, length: int, every: int) -> Array:
    """Return the median of windows of so many values, one that begins at every so many; what is missing counts as zero."""
    windows = np.lib.stride_tricks.sliding_window_view(np.nan_to_num(values), length)[::every]
    return np.asarray(np.median(windows, axis=1))


def best_stretch(gain: Array, first: int, last: int) -> tuple[int, int]:
    """Extend or shorten a stretch to the one that gains most, both ends within it or grown from it."""
    middle = (first + last) // 2
    after = np.cumsum(gain[middle:])
    before = np.cumsum(gain[middle::-1])
    return middle - int(np.argmax(before)), middle + int(np.argmax(after))


def moving_median(values: Array, length: int) -> Array:
    """Return the median of each value and its neighbours, an odd number of them in all."""
    padded = np.pad(values, length // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)
    known = np.count_nonzero(np.isfinite(windows), axis=1) > 0
    smooth = np.full_like(values, np.nan)
    median = np.median if np.isfinite(values).all() else np.nanmedian  # the same, and three times as fast
    smooth[known] = median(windows[known], axis=1)
    return smooth


def error(values: Array, model: Array) -> float:
    """Return how far a model is off, in all."""
    return float(np.nansum(np.abs(values - model)))


def best_ramp(values: Array, first: int, last: int) -> tuple[float, Array, int]:
    """Fit a line that leaves zero somewhere before the stretch and goes on to its end."""
    best = (float("inf"), np.zeros_like(values), first)
    for begin in sorted({int(at) for at in np.linspace(0, (first + last) / 2, 24)}):
        shape = np.zeros_like(values)
        shape[begin : last + 1] = np.linspace(0, 1, last + 1 - begin)
        known = np.isfinite(values)
        slope = float(np.sum(shape[known] * values[known]) / max(np.sum(shape[known] ** 2), 1e-12))
        left = error(values, slope * shape)
        if left < best[0]:
            best = left, slope * shape, begin
    return best


def tail_freedom(values: Array) -> float:
    """Return the degrees of freedom of the Student's t whose tails are like those of noise; infinite where they are normal.

    It goes by the 97th percentile of the sizes against their median, so a few spikes do not count; and only by what two
    standard errors of that leave.
    """
    size = np.abs(values[np.isfinite(values)])
    middle = float(np.median(size)) if size.size >= 4 * LEAST_POINTS else 0.0
    if not middle > 0:
        return float("inf")
    ratio = float(np.quantile(size, TAIL)) / middle / (1 + 2 / np.sqrt(size.size))
    for freedom in _FREEDOMS:
        if _special.stdtrit(freedom, (1 + TAIL) / 2) / _special.stdtrit(freedom, 0.75) <= ratio:
            return freedom
    return float("inf")


def tail_of_bursts(values: Array) -> tuple[float, float]:
    """Return the degrees of freedom of the heaviest tail, and the 97th percentile of the sizes where they are beyond even that.

    The percentile is 0 where the median tells of the tail, or where there are fewer than 64 values.
    """
    size = np.abs(values[np.isfinite(values)])
    heaviest = _FREEDOMS[0]
    if size.size < 4 * LEAST_POINTS:
        return heaviest, 0.0
    beyond = float(np.quantile(size, TAIL)) / (1 + 2 / np.sqrt(size.size))
    ratio = float(_special.stdtrit(heaviest, (1 + TAIL) / 2) / _special.stdtrit(heaviest, 0.75))
    return heaviest, beyond if beyond > ratio * float(np.median(size)) else 0.0
