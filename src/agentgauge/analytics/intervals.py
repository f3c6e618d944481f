"""Intervals and tests for counts, proportions, rates and means, in pure Python.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927); Newcombe, "Interval
estimation for the difference between independent proportions", Statistics in Medicine 17 (1998), method 10; Zou and Donner,
"Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27 (2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Interval",
    "at_least",
    "at_most",
    "newcombe",
    "p_value",
    "poisson",
    "rate_difference",
    "student",
    "student_tail",
    "wilson",
]

_NORMAL = NormalDist()
_MANY = 1e6  # degrees of freedom beyond which Student's t is the normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Tell whether a value lies in it, ends included."""
        return self.low <= value <= self.high


def wilson(hits: float, count: float, level: float = 0.95, reach: float | None = None) -> Interval:
    """Return where a proportion lies (Wilson's score interval).

    Args:
        hits: How many.
        count: Of how many, above 0; need not be whole, where it was made smaller for calls that are not independent.
        level: How sure, such as 0.95.
        reach: Standard errors to each side, in place of the level.
    """
    z = student(level) if reach is None else reach
    share = hits / count
    middle = share + z * z / (2 * count)
    away = z * math.sqrt(max(0.0, share * (1 - share)) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    return Interval(
        0.0 if hits <= 0 else max(0.0, (middle - away) / below), 1.0 if hits >= count else min(1.0, (middle + away) / below)
    )


def newcombe(
    before: tuple[float, float], after: tuple[float, float], level: float = 0.95, reach: float | None = None
) -> Interval:
    """Return where the difference of two proportions lies, ``after - before`` (Newcombe's hybrid score interval).

    Args:
        before: Hits and count.
        after: Hits and count.
        level: How sure.
        reach: Standard errors to each side, in place of the level.
    """
    return _difference(
        (before[0] / before[1], wilson(*before, level, reach)), (after[0] / after[1], wilson(*after, level, reach))
    )


def poisson(count: float, exposure: float, level: float = 0.95, reach: float | None = None) -> Interval:
    """Return where a rate lies, of a count of independent events in an exposure (Rao's score interval)."""
    z = student(level) if reach is None else reach
    middle, away = count + z * z / 2, z * math.sqrt(count + z * z / 4)
    return Interval(max(0.0, middle - away) / exposure if count > 0 else 0.0, (middle + away) / exposure)


def rate_difference(
    before: tuple[float, float], after: tuple[float, float], level: float = 0.95, reach: float | None = None
) -> Interval:
    """Return where the difference of two rates lies, ``after - before``, from counts and exposures (Zou and Donner)."""
    return _difference(
        (before[0] / before[1], poisson(*before, level, reach)), (after[0] / after[1], poisson(*after, level, reach))
    )


def _difference(before: tuple[float, Interval], after: tuple[float, Interval]) -> Interval:
    """Put the intervals of two estimates together, each with the reach that it has on the side that matters."""
    difference = after[0] - before[0]
    down = math.hypot(after[0] - after[1].low, before[1].high - before[0])
    up = math.hypot(after[1].high - after[0], before[0] - before[1].low)
    return Interval(difference - down, difference + up)


def p_value(interval_at: Callable[[float], Interval], freedom: float = math.inf, null: float = 0.0) -> float:
    """Return how likely a value is by the widest interval that does not hold it: the test that belongs to the interval.

    Args:
        interval_at: Makes the interval that reaches so many standard errors to each side.
        freedom: Degrees of freedom of the standard error.
        null: The value.
    """
    low, high = 0.0, 40.0
    if null not in interval_at(high):
        return student_tail(high, freedom)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if null in interval_at(middle) else (middle, high)
    return student_tail(low, freedom)


@lru_cache(maxsize=256)
def student(level: float, freedom: float = math.inf) -> float:
    """Return how many standard errors an interval reaches to each side: 1.96 at 0.95 with infinite degrees of freedom."""
    if freedom > _MANY:
        return -_NORMAL.inv_cdf((1 - level) / 2)  # keeps its digits near a level of 1, where inv_cdf((1 + level) / 2) does not
    tail = 1 - level
    low, high = 0.0, 2.0
    while student_tail(high, freedom) > tail and high < 1e12:  # noqa: PLR2004
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > tail else (low, middle)
    return (low + high) / 2


def student_tail(t: float, freedom: float = math.inf) -> float:
    """Return how likely it is to lie further from 0 than ``t``, on either side, by chance (Student's t)."""
    if math.isinf(t):
        return 0.0
    if freedom > _MANY:
        return 2 * _NORMAL.cdf(-abs(t))
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def at_most(hits: float, count: float, share: float) -> float:
    """Return how likely so few hits, or fewer, are by chance where each of a count is one with a chance of ``share`` (binomial).

    Neither need be whole, where they were made smaller for observations that are not independent (Korn and Graubard, 1998).
    """
    return 1.0 if hits >= count else _incomplete_beta(count - hits, hits + 1, 1 - share)


def at_least(hits: float, count: float, share: float) -> float:
    """Return how likely so many hits, or more, are by chance; see ``at_most``."""
    return 1.0 if hits <= 0 else _incomplete_beta(hits, count - hits + 1, share)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function (NIST Digital Library of Mathematical Functions, 8.17.22, Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500 + 4 * math.isqrt(math.ceil(a + b))):  # as many as the square root where x is near the mean
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d, c = 1 / (1 + step * d), 1 + step / c
            value *= d * c
        if abs(d * c - 1) < 1e-14:  # noqa: PLR2004
            break
    return front * value
