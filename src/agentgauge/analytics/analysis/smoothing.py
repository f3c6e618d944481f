"""Holt-Winters' recursion, by hand: it goes on over gaps, and tells what it would have said at any moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Smoothing", "Start", "Weights", "start_of"]


@dataclass(frozen=True, slots=True)
class Weights:
    """How fast level, slope and season follow what is seen, between 0 and 1, and what is left of the slope after a step."""

    level: float
    slope: float
    season: float
    damping: float


@dataclass(frozen=True, slots=True)
class Start:
    """The state before the first value; a season of one step is none."""

    level: float
    slope: float
    season: tuple[float, ...]


class Smoothing:
    """Additive Holt-Winters with a damped slope, as it stands after the values that it was given.

    Source: P. R. Winters, "Forecasting sales by exponentially weighted moving averages", Management Science 6, 1960.
        E. S. Gardner & E. McKenzie, "Forecasting trends in time series", Management Science 31, 1985 (damping).
    """

    def __init__(self, weights: Weights, start: Start) -> None:
        self._weights = weights
        self._level = start.level
        self._slope = start.slope
        self._season = list(start.season)
        self._at = 0

    def add(self, value: float) -> float:
        """Take in the next value; NaN moves on as expected. Returns what was expected."""
        weights, season = self._weights, self._season
        place = self._at % len(season)
        self._at += 1
        slope = weights.damping * self._slope
        middle = self._level + slope
        expected = middle + season[place]
        if value != value:  # noqa: PLR0124 - NaN
            self._level, self._slope = middle, slope
            return expected
        level = weights.level * (value - season[place]) + (1 - weights.level) * middle
        self._slope = weights.slope * (level - self._level) + (1 - weights.slope) * slope
        if len(season) > 1:
            season[place] = weights.season * (value - middle) + (1 - weights.season) * season[place]
        self._level = level
        return expected

    def ahead(self, steps: Sequence[int]) -> list[float]:
        """Return what is expected so many steps after the last value."""
        damping, season, at = self._weights.damping, self._season, self._at - 1
        found = []
        for step in steps:
            share = step if damping == 1 else damping * (1 - damping**step) / (1 - damping)
            found.append(self._level + self._slope * share + season[(at + step) % len(season)])
        return found


def start_of(values: Sequence[float], period: int) -> Start:
    """Return a state to begin with: of the first two seasons, or of the first values where there is none."""
    if period == 1:
        first = [value for value in values[:10] if not math.isnan(value)]
        return Start(fmean(first), 0.0, (0.0,))
    one, two = ([value for value in part if not math.isnan(value)] for part in (values[:period], values[period : 2 * period]))
    level = fmean(one or two)
    slope = (fmean(two) - level) / period if one and two else 0.0
    season = []
    for place in range(period):
        middle = level + slope * (place - (period - 1) / 2)
        seen = [values[place] - middle, values[period + place] - middle - slope * period]
        season.append(fmean([value for value in seen if not math.isnan(value)] or [0.0]))
    return Start(level - slope * (period + 1) / 2, slope, tuple(season))
