"""What the points of a metric come to."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.points import Points

__all__ = ["Statistics", "mean", "summarize"]

_TOO_GREAT_TO_SQUARE = 1e150
_SCALE = 2.0**-1000  # a power of two changes no digit


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the points of a metric come to; all are finite.

    Attributes:
        metric: Its name.
        count: How many points there are, at least one.
        first_at: The time of the earliest.
        last_at: The time of the latest.
        latest: Its value; of several at one time, that which was recorded last.
        minimum: The least value.
        maximum: The greatest.
        mean: The arithmetic mean.
        median: Half of the values are not above it.
        p95: The least value that 95 % of the values are not above.
        standard_deviation: Of these values about their mean; 0 for one.
    """

    metric: str
    count: int
    first_at: datetime
    last_at: datetime
    latest: float
    minimum: float
    maximum: float
    mean: float
    median: float
    p95: float
    standard_deviation: float


def summarize(points: Points) -> Statistics | None:
    """Return what points come to; None where there are none."""
    if not points.times:
        return None
    ordered = sorted(points.values)
    count, scale = len(ordered), _scale_of(ordered)
    scaled = [value * scale for value in ordered]
    average = mean(scaled)
    deviation = math.sqrt(math.fsum((value - average) ** 2 for value in scaled) / count) / scale
    return Statistics(
        metric=points.metric,
        count=count,
        first_at=datetime.fromtimestamp(points.times[0], UTC),
        last_at=datetime.fromtimestamp(points.times[-1], UTC),
        latest=points.values[-1],
        minimum=ordered[0],
        maximum=ordered[-1],
        mean=_between(average / scale, ordered),
        median=_between(median(scaled) / scale, ordered),
        p95=ordered[math.ceil(0.95 * count) - 1],
        standard_deviation=min(deviation, sys.float_info.max),
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean of numbers that may be as great as numbers get."""
    scale = _scale_of(values)
    return math.fsum(value * scale for value in values) / len(values) / scale


def _scale_of(values: Sequence[float]) -> float:
    return _SCALE if max(abs(min(values)), abs(max(values))) > _TOO_GREAT_TO_SQUARE else 1.0


def _between(value: float, ordered: Sequence[float]) -> float:
    """Undo what rounding may have put outside."""
    return min(max(value, ordered[0]), ordered[-1])
