"""A percentile in words: between which bounds of a histogram's buckets it lies, since a value between two of them is a guess."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount
from agentgauge.analytics.intervals import Interval
from agentgauge.analytics.signals import Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.signals import Measure

__all__ = ["bounds_of", "bucket", "bucket_words"]


def bounds_of(measure: Measure, source: Source, grid: Grid) -> dict[tuple[str, ...], tuple[float, ...]]:
    """Return the finite bounds of the buckets that a percentile is read from, by the values of the measure's labels.

    Returns:
        Those that all series of a subject have, the lowest first; nothing for what is no percentile of a histogram.

    Raises:
        SourceError: The source cannot be asked.
    """
    how = measure.values
    if not isinstance(how, Quantile):
        return {}
    series: dict[tuple[str, ...], dict[frozenset[tuple[str, str]], set[float]]] = {}
    for frame in source.frames(f"{how.histogram}_bucket", grid):
        labels = dict(frame.labels)
        bound = float(labels.pop("le", "inf"))
        if math.isfinite(bound) and how.where(labels):
            key = tuple(labels.get(name, "") for name in measure.by)
            series.setdefault(key, {}).setdefault(frozenset(labels.items()), set()).add(bound)
    return {key: tuple(sorted(set.intersection(*of.values()))) for key, of in series.items()}


def bucket(value: float, bounds: Sequence[float]) -> Interval:
    """Return the bounds between which what was read as a value lies; the upper is infinite at the highest and above."""
    place = bisect_left(bounds, value)
    low = (0.0 if bounds[0] > 0 else -math.inf) if place == 0 else bounds[place - 1]
    if place >= len(bounds) - 1 and value >= bounds[-1]:  # what lies above the highest bound is read as that bound
        return Interval(bounds[-1], math.inf)
    return Interval(low, bounds[place])


def bucket_words(lies: Interval, unit: str) -> str:
    """Return an interval between bounds as people read it: ``between 320 ms and 640 ms``, ``above 1.28 s``."""
    if math.isinf(lies.high):
        return f"above {amount(lies.low, unit)}"
    return f"between {amount(lies.low, unit)} and {amount(lies.high, unit)}"
