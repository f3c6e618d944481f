"""Where a quantile lies that only the buckets of a histogram show: between which of their bounds, and how surely.

Buckets tell how many observations lay at or below each bound, and nothing of where between two bounds they lay: what is read
between them is a guess, off by up to the bucket's width. A quantile is surely above a bound where so few observations at or below
it would be too unlikely else, and surely at or below one where so many would be: the binomial interval of the ranks, put outwards
to the bounds. It is never narrower than the bucket.

Sources: Thompson, "On confidence ranges for the median and other expectation distributions", Annals of Mathematical Statistics 7
(1936); Woodruff, "Confidence intervals for medians and other position measures", JASA 47 (1952), by shares where observations are
not independent; Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
from survey data", Survey Methodology 24 (1998), for how many independent ones they count as.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.blocks import design_effect
from agentgauge.analytics.frames import quantiles
from agentgauge.analytics.intervals import Interval, at_least, at_most, student

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Ranked", "Read", "ranked", "read_quantile"]


@dataclass(frozen=True, slots=True)
class Read:
    """A quantile as the buckets of a histogram show it.

    Attributes:
        value: Linear within its bucket, as PromQL's ``histogram_quantile()`` reads it: a guess.
        bucket: The bounds of the bucket that it lies in; the upper one is infinite above the highest bound.
        interval: Between which bounds that of all such observations lies, at the level asked for; never within the bucket.
        count: Of how many observations.
    """

    value: float
    bucket: Interval
    interval: Interval
    count: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """How surely a quantile lies above or below each bound of a histogram.

    Attributes:
        bounds: The finite bounds, the lowest first.
        above: How likely so few observations at or below each bound, or one before it, would be at the most, were the quantile
            not above it.
        below: How likely so many at or below each bound, or one after it, would be at the most, were the quantile above it.
    """

    bounds: tuple[float, ...]
    above: tuple[float, ...]
    below: tuple[float, ...]

    def interval(self, level: float) -> Interval:
        """Return between which bounds the quantile lies."""
        tail = (1 - level) / 2
        floor = 0.0 if not self.bounds or self.bounds[0] > 0 else -math.inf
        sure = zip(self.bounds, self.above, self.below, strict=True)
        low, high = floor, math.inf
        for bound, above, below in sure:
            if above <= tail:
                low = bound
            if below <= tail:
                high = min(high, bound)
        return Interval(low, high)


def ranked(blocks: Mapping[float, Sequence[float]], q: float, level: float = 0.95) -> Ranked:
    """Return how surely a quantile lies above or below each bound.

    Args:
        blocks: By upper bound, ``inf`` included: how many observations were at or below it in each block of time, one at least.
            Where there are several, they show by how much observations resemble those near them, and count for less.
        q: Which quantile, between 0 and 1.
        level: That of the interval that is asked for, which few blocks make wider.
    """
    bounds = tuple(sorted(bound for bound in blocks if bound != math.inf))
    calls = blocks[math.inf]
    count, many = math.fsum(calls), len(calls)
    above, below = [], []
    independent = (student(level) / student(level, many - 1)) ** 2 if many > 1 else 1.0
    for bound in bounds:
        hits = blocks[bound]
        share = min(1.0, math.fsum(hits) / count)
        enough = count * independent / design_effect(hits, calls)
        above.append(at_most(share * enough, enough, q))
        below.append(at_least(share * enough, enough, q))
    for index in range(1, len(bounds)):  # sure of a bound is only who is sure of all before it: each error is that of one test
        above[index] = max(above[index], above[index - 1])
        below[-1 - index] = max(below[-1 - index], below[-index])
    return Ranked(bounds, tuple(above), tuple(below))


def read_quantile(blocks: Mapping[float, Sequence[float]], q: float, level: float = 0.95) -> Read | None:
    """Return a quantile, its bucket and its interval; None where nothing was observed.

    Args:
        blocks: As those of ``ranked``.
        q: Which quantile.
        level: That of the interval.
    """
    count = math.fsum(blocks.get(math.inf, ()))
    if not count > 0:
        return None
    totals = {bound: math.fsum(values) for bound, values in sorted(blocks.items())}
    rank, low = q * count, 0.0 if min(totals) > 0 else -math.inf
    for bound, total in totals.items():
        if total >= rank:
            high = bound
            break
        low = bound
    value = quantiles({bound: [total] for bound, total in totals.items()}, q)[0]
    return Read(value, Interval(low, high), ranked(blocks, q, level).interval(level), count)
