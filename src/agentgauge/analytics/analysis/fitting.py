"""The weights of Holt-Winters that would have done best."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from agentgauge.analytics.analysis.smoothing import Smoothing, Start, Weights, start_of
from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fitted"]

_MOST_POINTS = 600
_SLOPES = ((0.0, 1.0), (0.05, 0.98))
_LEVELS = (0.05, 0.2, 0.6)
_SEASONS = (0.05, 0.3)
_DAMPINGS = (0.8, 0.998)
_SLOWEST = 1e-4


def fitted(values: Sequence[float], period: int, *, is_light: bool) -> Smoothing:
    """Return a smoothing that has seen nothing yet, with the weights whose one-step errors are least.

    Args:
        values: To learn of, the first 600 of them or three seasons; NaN where they are missing, but for the first.
        period: The steps of a season, 1 for none; the values have two of them.
        is_light: Choose from a short list, rather than ask statsmodels to optimize them.
    """
    start = start_of(values, period)
    learned_of = list(values[: max(_MOST_POINTS, 3 * period)])
    tried = [
        Weights(level, slope, season, damping)
        for level in _LEVELS
        for slope, damping in _SLOPES
        for season in (_SEASONS if period > 1 else (0.0,))
    ]
    best = min(tried, key=lambda weights: _squares(weights, start, learned_of))
    if not is_light:
        found = _learned(best, start, learned_of, period)
        best = min((best, found), key=lambda weights: _squares(weights, start, learned_of))
    return _begun(best, start)


def _begun(weights: Weights, start: Start) -> Smoothing:
    """Return a smoothing from a state; a slope that follows nothing is none, or the first noise would go on for ever."""
    if weights.slope == 0:
        level = start.level + start.slope * (len(start.season) + 1) / 2
        start = Start(level, 0.0, start.season)
    return Smoothing(weights, start)


def _squares(weights: Weights, start: Start, values: Sequence[float]) -> float:
    smoothing = _begun(weights, start)
    total = 0.0
    for value in values:
        error = value - smoothing.add(value)
        if error == error:  # noqa: PLR0124 - NaN
            total += error * error
    return total


def _learned(near: Weights, start: Start, values: Sequence[float], period: int) -> Weights:
    """Let statsmodels look for the best weights, from a state that is given."""
    holt_winters = load_extra("statsmodels.tsa.holtwinters", "analysis", "forecast()")
    numpy = load_extra("numpy", "analysis", "forecast()")
    seasonal = {"seasonal": "add", "seasonal_periods": period, "initial_seasonal": list(start.season)} if period > 1 else {}
    first = [max(near.level, _SLOWEST), max(near.slope, _SLOWEST)]
    first += [max(near.season, _SLOWEST)] if period > 1 else []
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # that it did not converge: what it found is compared with what there was
        model = holt_winters.ExponentialSmoothing(
            numpy.array(_filled(values, period)),
            trend="add",
            damped_trend=True,
            initialization_method="known",
            initial_level=start.level,
            initial_trend=start.slope,
            bounds={"damping_trend": _DAMPINGS},
            **seasonal,
        )
        found = model.fit(
            method="SLSQP", use_brute=False, start_params=numpy.array([*first, min(near.damping, _DAMPINGS[1])])
        ).params
    weights = (found["smoothing_level"], found["smoothing_trend"], found["smoothing_seasonal"], found["damping_trend"])
    level, slope, season, damping = (float(weight) for weight in weights)
    return Weights(level, slope, season if period > 1 else 0.0, damping)


def _filled(values: Sequence[float], period: int) -> list[float]:
    """Put into gaps what was there a season ago, or just before."""
    filled: list[float] = []
    for index, value in enumerate(values):
        if not math.isnan(value):
            filled.append(value)
        else:
            filled.append(filled[index - period] if index >= period else filled[-1])
    return filled
