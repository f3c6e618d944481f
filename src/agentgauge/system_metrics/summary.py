"""What a while of readings comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agentgauge.notification import HandlerReport
    from agentgauge.system_metrics.health import HealthScore
    from agentgauge.system_metrics.history import Moment
    from agentgauge.system_metrics.readings import Series

__all__ = ["MetricSummary", "PerformanceSummary", "summarize"]

_P95 = 0.95


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One series over the window, NaN left out.

    Attributes:
        metric: The name in Prometheus text.
        labels: Which series of the metric.
        unit: The base unit, or an empty text.
        samples: How many readings there are.
        last: The last reading.
        minimum: The least; None for a counter, as the next three.
        mean: Their mean.
        p95: What 95 % of them do not exceed (nearest rank).
        maximum: The greatest.
        per_second: By how much a counter grew a second, restarts allowed for; None for any other, and for a single reading.
    """

    metric: str
    labels: Mapping[str, str] = field(hash=False)
    unit: str
    samples: int
    last: float
    minimum: float | None = None
    mean: float | None = None
    p95: float | None = None
    maximum: float | None = None
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class PerformanceSummary:
    """How the system did, and how the collection of its readings did.

    Attributes:
        window_seconds: How far back it looks.
        passes: How often the collectors were read, since the manager was made.
        pass_seconds: How long the last time took; None before the first.
        collectors: Whether each collector answered in time, at the last.
        series_left_out: Series that the last pass did not take: there were more than ``series_limit``.
        series_forgotten: Series that the history gave up before their time, since the manager was made: with those that came
            there were more than ``series_limit``.
        health: The score as of now.
        alerts_started: Alerts that started since the manager was made.
        handlers: How each alert handler did.
        metrics: Every series, by name and labels.
    """

    window_seconds: float
    passes: int
    pass_seconds: float | None
    collectors: Mapping[str, bool] = field(hash=False)
    series_left_out: int
    series_forgotten: int
    health: HealthScore
    alerts_started: int
    handlers: tuple[HandlerReport, ...]
    metrics: tuple[MetricSummary, ...]

    def of(self, metric: str) -> tuple[MetricSummary, ...]:
        """Return the summaries of one metric's series."""
        return tuple(summary for summary in self.metrics if summary.metric == metric)


def summarize(
    series: Series, moments: Sequence[Moment], units: Mapping[str, str], cumulative: Collection[str]
) -> MetricSummary | None:
    """Sum up one series; None where it has no reading that is a number.

    Args:
        series: Which one.
        moments: Its readings, the oldest first.
        units: The base units by metric.
        cumulative: The metrics that only grow.
    """
    known = [moment for moment in moments if not math.isnan(moment.value)]
    if not known:
        return None
    values = [moment.value for moment in known]
    unit, labels = units.get(series.metric, ""), dict(series.labels)
    if series.metric in cumulative:
        growth = _per_second(known)
        return MetricSummary(series.metric, labels, unit, len(values), values[-1], per_second=growth)
    ordered = sorted(values)
    p95 = ordered[math.ceil(_P95 * len(ordered)) - 1]
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)
    return MetricSummary(
        series.metric, labels, unit, len(values), values[-1], minimum=ordered[0], mean=mean, p95=p95, maximum=ordered[-1]
    )


def _per_second(moments: Sequence[Moment]) -> float | None:
    elapsed = moments[-1].now - moments[0].now
    if elapsed <= 0:
        return None
    values = [moment.value for moment in moments]
    return math.fsum(later - before if later >= before else later for before, later in pairwise(values)) / elapsed
