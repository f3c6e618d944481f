"""What is found in a series, and how it is out of the ordinary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LEAST_KNOWN", "Finding", "Shape"]

# The smallest chance that n values show by themselves is 1/n, and what is looked for is far rarer: the limit lies beyond all
# that was seen, where only the shape of the tail tells. Of fewer values than these that shape cannot be estimated: the 97th
# percentile, by which it goes, has two values beyond it only from here on.
LEAST_KNOWN = 64


class Shape(StrEnum):
    """How something is out of the ordinary."""

    SPIKE = "spike"
    LEVEL_SHIFT = "level_shift"
    DRIFT = "drift"
    VARIANCE = "variance"
    MISSING = "missing"
    TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch that does not fit.

    Attributes:
        first: The index of its first value.
        last: That of its last.
        shape: How.
        score: How far out, as a multiple of what chance alone does with probability ``alpha`` somewhere in the series.
        expected: The mean of what was expected; of ``VARIANCE`` the standard deviation.
        observed: The mean of what came; of a spike the farthest value, of a drift the last of its line, of ``VARIANCE`` the
            standard deviation, 0 of what was missing.
    """

    first: int
    last: int
    shape: Shape
    score: float
    expected: float
    observed: float
