"""The tiers: how sweeps become buckets, and buckets wider ones."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from operator import add, mul, truediv
from typing import TYPE_CHECKING

from agentgauge.analytics.history.columns import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentgauge.analytics.history.retention import Retention

__all__ = ["RAW", "TIERS", "Buckets", "Tier", "bucket_of", "fold_buckets", "fold_samples", "spans_of"]

RAW = 0
"""The width of sweeps as they came."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Buckets of one width; a block of them begins at a multiple of its own length."""

    width: int
    buckets: int
    finer: int

    @property
    def seconds(self) -> int:
        """How long a block is."""
        return self.width * self.buckets

    def kept_seconds(self, retention: Retention) -> float:
        """Return for how long it is kept."""
        return {60: retention.minute_seconds, 900: retention.quarter_seconds, 3600: retention.hour_seconds}[self.width]


TIERS = (Tier(60, 60, RAW), Tier(900, 96, 60), Tier(3600, 96, 900))

Buckets = tuple["array[float]", "array[float]", "array[float]", "array[float]", "array[float]"]
"""Last, least, greatest, mean and count; the order of the columns of ``chunk``."""


def bucket_of(at: float, width: int) -> int:
    """Return the number of the bucket that a time is in: buckets are open to the left, so that one ends at each multiple."""
    return math.ceil(at / width)  # rounded, yet never to a whole number that it is beyond: the next time is half its step away


def spans_of(ends: Sequence[float], width: int) -> tuple[list[float], list[tuple[int, int]]]:
    """Return the ends of the buckets that have something in them, and from where to where each reaches."""
    outer: list[float] = []
    spans: list[tuple[int, int]] = []
    limit = -math.inf
    for index, end in enumerate(ends):
        if end > limit:
            limit = bucket_of(end, width) * width
            outer.append(limit)
            spans.append((index, index + 1))
        else:
            spans[-1] = (spans[-1][0], index + 1)
    return outer, spans


def _stride(spans: list[tuple[int, int]]) -> int:
    """Return how many there are in each span, or 0 where that differs."""
    size = spans[0][1] - spans[0][0]
    return size if spans[-1][1] - spans[0][0] == size * len(spans) and all(end - begin == size for begin, end in spans) else 0


def _numbers(values: Iterable[float]) -> array[float]:
    return array("d", values)


def fold_samples(values: array[float], spans: list[tuple[int, int]]) -> Buckets:
    """Return the buckets of the samples of one series; NaN is where it was missing."""
    stride = _stride(spans)
    total = sum(values)
    if not stride or total != total:  # noqa: PLR0124 - it is not itself where one of them is NaN
        return _fold_gappy(values, spans)
    rows = [values[offset::stride] for offset in range(stride)]
    count = _numbers([float(stride)]) * len(spans)
    if stride == 1:
        return rows[0], rows[0], rows[0], rows[0], count
    sums: Iterable[float] = rows[0]
    for row in rows[1:]:
        sums = map(add, sums, row)
    return rows[-1], _numbers(map(min, *rows)), _numbers(map(max, *rows)), _numbers(map(truediv, sums, count)), count


def _fold_gappy(values: array[float], spans: list[tuple[int, int]]) -> Buckets:
    last, least, greatest, mean, count = (_numbers([MISSING]) * len(spans) for _ in range(5))
    for index, (begin, end) in enumerate(spans):
        last[index] = values[end - 1]
        there = [value for value in values[begin:end] if value == value]  # noqa: PLR0124 - no NaN
        if there:
            least[index], greatest[index] = min(there), max(there)
            mean[index], count[index] = sum(there) / len(there), len(there)
    return last, least, greatest, mean, count


def fold_buckets(buckets: Buckets, spans: list[tuple[int, int]]) -> Buckets:
    """Return wider buckets of one series."""
    _, lows, highs, means, counts = buckets
    last, least, greatest, mean, count = (_numbers([MISSING]) * len(spans) for _ in range(5))
    total = sum(counts)
    is_whole = total == total  # noqa: PLR0124 - it is not itself where one of them is NaN
    for index, (begin, end) in enumerate(spans):
        last[index] = buckets[0][end - 1]
        if is_whole:
            least[index], greatest[index] = min(lows[begin:end]), max(highs[begin:end])
            size = sum(counts[begin:end])
            mean[index], count[index] = sum(map(mul, means[begin:end], counts[begin:end])) / size, size
            continue
        there = [at for at in range(begin, end) if counts[at] == counts[at]]
        if there:
            least[index], greatest[index] = min(lows[at] for at in there), max(highs[at] for at in there)
            size = sum(counts[at] for at in there)
            mean[index], count[index] = sum(means[at] * counts[at] for at in there) / size, size
    return last, least, greatest, mean, count
