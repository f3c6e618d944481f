"""What a series is expected to be: a line and a season that outliers do not bend, and how much chance alone sways it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_POINTS", "Array", "Baseline", "autocorrelation", "baseline", "robust_scale"]

Array: TypeAlias = npt.NDArray[np.float64]

LEAST_POINTS = 16  # of known values, to fit anything
_LEAST_SEASONS = 4
_LEAST_PERIOD = 6
_MOST_BLOCKS = 160
_SCALE_SHARE = 8
_SEASONAL_CORRELATION = 0.6
_MAD_TO_SIGMA = 1.4826022185056018
_MEAN_TO_SIGMA = 1.2533141373155001
_NEAR = 2.2  # what fills a third of a series that is constant else lies 2.4 of these deviations away
_MOST_CORRELATION = 0.97


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What is expected, one value for each of the series.

    Attributes:
        expected: The line and the season.
        scale: The standard deviation of what lies around it, anomalies left out of account; it follows the season, too.
        period: The steps of the season; 1 where none was found, or there are fewer than four seasons to tell.
        known: Of how many values each scale was made.
        phi: First-order autocorrelation of what lies around it, between 0 and 0.97.
    """

    expected: Array
    scale: Array
    period: int
    known: int
    phi: float


def robust_scale(values: Array) -> float:
    """Return a standard deviation that up to half the values cannot spoil: 1.4826 times the MAD, NaN left out.

    Where more than half the values are the same the MAD is zero, and the mean deviation from the median stands in for it, or, if
    that is less, the larger of what it is without the far values and of the mean step from one value to the next: a level that
    came once and stayed, however high, is one step, and is not what sways by chance.

    Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers", ASQC 1993.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    away = np.abs(known - np.median(known))
    mad = float(np.median(away)) * _MAD_TO_SIGMA
    if mad > 0 or known.size == 1:
        return mad
    whole = float(np.mean(away)) * _MEAN_TO_SIGMA
    near = float(np.mean(away[away <= _NEAR * whole]))
    return min(whole, max(near, float(np.mean(np.abs(np.diff(known))))) * _MEAN_TO_SIGMA)


def autocorrelation(values: Array) -> float:
    """Return the first-order autocorrelation from the robust scales of sums and differences of neighbours, at least 0.

    Source: Gnanadesikan and Kettenring, "Robust Estimates, Residuals, and Outlier Detection with Multiresponse Data",
    Biometrics 28, 1972; Ma and Genton, "Highly Robust Estimation of the Autocovariance Function", 2000.
    """
    pairs = np.isfinite(values[1:]) & np.isfinite(values[:-1])
    later, earlier = values[1:][pairs], values[:-1][pairs]
    if later.size < LEAST_POINTS // 2:
        return 0.0
    together, apart = robust_scale(later + earlier) ** 2, robust_scale(later - earlier) ** 2
    if not together + apart > 0:
        return 0.0
    return float(np.clip((together - apart) / (together + apart), 0.0, _MOST_CORRELATION))


def baseline(values: Array, *, period: int | None = None) -> Baseline | None:
    """Fit a line and, where there is one, a season.

    Args:
        values: On an even grid; NaN where missing.
        period: The steps of the season that may be there, such as those of a day.

    Returns:
        None where fewer than 16 values are known.

    Source: the decomposition is that of Cleveland et al., "STL", Journal of Official Statistics 6, 1990, with medians in the
    place of its robust loess; the line is Siegel's repeated median, Biometrika 69, 1982.
    """
    if np.count_nonzero(np.isfinite(values)) < LEAST_POINTS:
        return None
    line = _line(values)
    season, steps = np.zeros_like(values), 1
    if period is not None and period >= _LEAST_PERIOD and values.size >= _LEAST_SEASONS * period:
        for _ in range(2):
            season = _season(values - line, period)
            line = _line(values - season)
        if _is_seasonal(values - line, period):
            steps = period
        else:
            season, line = np.zeros_like(values), _line(values)
    expected = line + season
    around = values - expected
    known = int(np.count_nonzero(np.isfinite(around)))
    if steps > 1:
        known = known * (2 * (steps // _SCALE_SHARE) + 1) // steps
    return Baseline(expected, _scale(around, steps), steps, known, autocorrelation(around))


def _medians(rows: Array) -> Array:
    """Return the median of what is known of each row, NaN where nothing is."""
    ordered = np.sort(rows, axis=1)  # what is not known comes last
    known = np.count_nonzero(np.isfinite(rows), axis=1)
    at = np.arange(rows.shape[0])
    middle = (ordered[at, np.maximum(known - 1, 0) // 2] + ordered[at, np.minimum(known // 2, rows.shape[1] - 1)]) / 2
    return np.where(known > 0, middle, np.nan)


def _line(values: Array) -> Array:
    """Fit a line to the medians of blocks: as robust as one through all points, at a fraction of the cost."""
    width = -(-values.size // _MOST_BLOCKS)
    blocks = _medians(_by_phase(values, width))
    middles = np.arange(blocks.size) * width + (width - 1) / 2
    known = np.isfinite(blocks)
    blocks, middles = blocks[known], middles[known]
    if blocks.size < LEAST_POINTS // 2:
        return np.full_like(values, np.nanmedian(values))
    away = middles[None, :] - middles[:, None]
    np.fill_diagonal(away, np.nan)
    slope = float(np.median(_medians((blocks[None, :] - blocks[:, None]) / away)))
    times = np.arange(values.size, dtype=np.float64)
    return np.asarray(slope * times + float(np.nanmedian(values - slope * times)))


def _by_phase(values: Array, period: int) -> Array:
    rows = -(-values.size // period)
    padded = np.full(rows * period, np.nan)
    padded[: values.size] = values
    return padded.reshape(rows, period)


def _profile(table: Array, width: int) -> Array:
    """Return the median of each phase and its neighbours, over all seasons."""
    return _medians(_neighbours(table, width))


def _neighbours(table: Array, width: int) -> Array:
    """Return a row for each phase: the values of it and of those beside it, of all seasons."""
    period = table.shape[1]
    near = (np.arange(period)[:, None] + np.arange(-width, width + 1)[None, :]) % period
    return table[:, near].transpose(1, 0, 2).reshape(period, -1)


def _season(values: Array, period: int) -> Array:
    profile = np.nan_to_num(_profile(_by_phase(values, period), period // 48))
    return np.resize(profile - np.median(profile), values.size)


def _is_seasonal(values: Array, period: int) -> bool:
    """Tell whether the season of every other period is that of the rest: one that is there by chance is not."""
    table = _by_phase(values, period)
    odd, even = (_profile(table[first::2], max(1, period // 24)) for first in (0, 1))
    both = np.isfinite(odd) & np.isfinite(even)
    if np.count_nonzero(both) < _LEAST_PERIOD or not np.ptp(odd[both]) > 0 or not np.ptp(even[both]) > 0:
        return False
    with np.errstate(all="ignore"):  # of what sways by less than a number can tell there is none
        return float(np.corrcoef(odd[both], even[both])[0, 1]) > _SEASONAL_CORRELATION


def _scale(around: Array, period: int) -> Array:
    whole = robust_scale(around)
    if period == 1 or not whole > 0:
        return np.full_like(around, whole)
    table = _by_phase(around, period)
    near = _neighbours(table, period // _SCALE_SHARE)
    own = np.nan_to_num(_medians(np.abs(near - _medians(near)[:, None])) * _MAD_TO_SIGMA, nan=whole)
    rows = table.shape[0]
    freedom = np.sqrt(rows / (rows - 1))  # what the season took from the noise
    return np.asarray(np.resize(np.maximum(own, whole / 3) * freedom, around.size))
