"""Durations counted by bucket, by one thread at a time and without a lock."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.catalogue.family import Family

__all__ = ["Histogram", "as_metric"]


class Histogram:
    """One series of a histogram.

    Args:
        family: Gives the bounds of the buckets.
        labels: What tells the series from others.
    """

    def __init__(self, family: Family, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self._bounds = family.buckets
        self._counts = [0] * (len(family.buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in the family's unit."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def show_in(self, metric: Metric) -> None:
        """Add the series' samples; the count is that of the buckets, whoever observes meanwhile."""
        totals = list(accumulate(self._counts))
        for bound, total in zip((*self._bounds, float("inf")), totals, strict=True):
            text = floatToGoString(bound)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
            metric.add_sample(f"{metric.name}_bucket", {**self.labels, "le": text}, total)
        metric.add_sample(f"{metric.name}_count", self.labels, totals[-1])
        metric.add_sample(f"{metric.name}_sum", self.labels, self._sum)


def as_metric(family: Family, series: Iterable[Histogram]) -> Metric:
    """Show the series of one family."""
    metric = Metric(family.base_name, family.help, family.kind.value, family.unit)
    for histogram in series:
        histogram.show_in(metric)
    return metric
