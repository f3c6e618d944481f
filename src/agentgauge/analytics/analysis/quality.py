"""Whether data can be trusted: what is missing, doubled, out of order, out of line, old, or stuck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["STUCK_SCORE", "Gap", "Quality", "Stuck", "quality"]

_GAP = 1.5
_FAR = 3.5
_DEVIATION_OF_MEDIAN, _DEVIATION_OF_MEAN = 0.6745, 0.7979  # of a normal distribution, in its deviations
_LEAST_POINTS = 10
_STUCK_RUNS = 5
_ROUNDING = 1e-6
_STALE_SCORE = 0.5

STUCK_SCORE = 0.5
"""What is left of the score of data that is stuck."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without values: after ``start``, before ``end``, both Unix time; ``missing`` were expected in it."""

    start: float
    end: float
    missing: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A value that changed before and then came again and again: from ``start`` to the end of the data."""

    start: float
    end: float
    value: float
    points: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What is wrong with data.

    Attributes:
        points: Values that came, whatever they were.
        usable: Those that are finite, at a time of their own.
        expected: How many there should be.
        completeness: The share of the expected times that have a usable value.
        gaps: Where they are missing.
        duplicates: Values at a time that had one already.
        disordered: Values that came after a later one.
        not_finite: NaN and infinity.
        outliers: The indices of values far out of line.
        age_seconds: From the last usable value to the end of the window; infinity without one.
        is_stale: Whether that is too long.
        stuck: Since when the value does not change any more, though it did; None where it does.
        score: From 0 to 1: ``completeness * (1 - faulty / points)``, halved if stale and halved if stuck, 0 without usable
            values; faulty is what is a duplicate, disordered or not finite.
    """

    points: int
    usable: int
    expected: int
    completeness: float
    gaps: tuple[Gap, ...]
    duplicates: int
    disordered: int
    not_finite: int
    outliers: tuple[int, ...]
    age_seconds: float
    is_stale: bool
    stuck: Stuck | None
    score: float


def quality(
    times: Sequence[float],
    values: Sequence[float],
    *,
    interval_seconds: float,
    until: float,
    since: float | None = None,
    stale_after: float = 3.0,
) -> Quality:
    """Judge data against the interval at which it should come.

    A gap is where two neighbours are more than one and a half intervals apart: jitter of less is none. An outlier is more than
    3.5 normal deviations from the median, these estimated from the median absolute deviation, or from the mean one where that is
    zero; it is told and not scored, since it may well be true. Stuck is a value that comes at the end at least ten times, and
    five times as often in a row as any did before.

    Args:
        times: Unix times in seconds, in the order in which the values came.
        values: One for each.
        interval_seconds: From one to the next.
        until: Where the window ends; what came later is left out.
        since: Where it begins; unless given, at the first usable value, which is then expected, too.
        stale_after: So many intervals without a usable value are too many.

    Raises:
        ConfigurationError: The two differ in length, the interval is not above 0, or the window has no end.

    Source: B. Iglewicz & D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC, 1993.
    """
    if len(times) != len(values):
        raise ConfigurationError(f"{len(times)} times and {len(values)} values: give one time for each value")
    if not 0 < interval_seconds < math.inf:
        raise ConfigurationError(f"interval_seconds={interval_seconds!r}: give seconds above 0, such as 15")
    if not math.isfinite(until) or (since is not None and not since < until):
        raise ConfigurationError(f"the window from {since} to {until} is empty: give a beginning before its end")
    came = [
        (index, at, value)
        for index, (at, value) in enumerate(zip(times, values, strict=True))
        if not at > until and not (since is not None and at <= since)
    ]
    usable: dict[float, tuple[int, float]] = {}
    duplicates = disordered = not_finite = faulty = 0
    latest = -math.inf
    for index, at, value in came:
        is_finite = math.isfinite(at) and math.isfinite(value)
        is_late, is_double = at < latest, is_finite and at in usable
        not_finite += not is_finite
        disordered += is_late
        duplicates += is_double
        faulty += is_late or is_double or not is_finite
        if is_finite:
            latest = max(latest, at)
            usable[at] = (index, value)  # the last that came for a time is what holds
    ordered = sorted(usable)
    gaps = _gaps(ordered, interval_seconds, until, since)
    expected = _expected(ordered, interval_seconds, until, since)
    missing = sum(gap.missing for gap in gaps)
    completeness = max(0.0, 1 - missing / expected) if ordered else 0.0
    age = until - ordered[-1] if ordered else math.inf
    is_stale = age > stale_after * interval_seconds
    stuck = _stuck(ordered, [usable[at][1] for at in ordered])
    score = completeness * (1 - faulty / len(came)) if ordered else 0.0
    return Quality(
        points=len(came),
        usable=len(ordered),
        expected=expected,
        completeness=completeness,
        gaps=gaps,
        duplicates=duplicates,
        disordered=disordered,
        not_finite=not_finite,
        outliers=_outliers([usable[at] for at in ordered]),
        age_seconds=age,
        is_stale=is_stale,
        stuck=stuck,
        score=score * (_STALE_SCORE if is_stale else 1) * (STUCK_SCORE if stuck else 1),
    )


def _expected(ordered: list[float], interval: float, until: float, since: float | None) -> int:
    if since is not None:
        return max(1, round((until - since) / interval))
    return math.floor((until - ordered[0]) / interval + _ROUNDING) + 1 if ordered else 1


def _gaps(ordered: list[float], interval: float, until: float, since: float | None) -> tuple[Gap, ...]:
    if not ordered:
        return ()
    spans = list(pairwise(ordered))
    if since is not None:
        spans.insert(0, (since, ordered[0]))
    gaps = [Gap(start, end, round((end - start) / interval) - 1) for start, end in spans if end - start > _GAP * interval]
    behind = math.floor((until - ordered[-1]) / interval + _ROUNDING)
    if behind:
        gaps.append(Gap(ordered[-1], until, behind))
    return tuple(gaps)


def _outliers(seen: list[tuple[int, float]]) -> tuple[int, ...]:
    if len(seen) < _LEAST_POINTS:
        return ()
    middle = median(value for _, value in seen)
    distances = [abs(value - middle) for _, value in seen]
    deviation = median(distances) / _DEVIATION_OF_MEDIAN or fmean(distances) / _DEVIATION_OF_MEAN
    return tuple(sorted(index for (index, _), far in zip(seen, distances, strict=True) if far > _FAR * deviation))


def _stuck(ordered: list[float], values: list[float]) -> Stuck | None:
    runs: list[int] = []
    for index, value in enumerate(values):
        if index and value == values[index - 1]:
            runs[-1] += 1
        else:
            runs.append(1)
    if len(runs) < _LEAST_POINTS or runs[-1] < max(_LEAST_POINTS, _STUCK_RUNS * max(runs[:-1])):
        return None
    return Stuck(ordered[-runs[-1]], ordered[-1], values[-1], runs[-1])
