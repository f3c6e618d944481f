"""Queries for the readings of collectors: as they are, as rates, and only those of agentgauge's own targets."""

from __future__ import annotations

from dashboards.build.panels import Query
from dashboards.build.promql import by_target, ours, rate

__all__ = ["our_reading", "reading", "total_rate"]


def reading(metric: str, legend: str = "{{instance}}") -> Query:
    """A gauge as it is."""
    return Query(by_target(metric), legend)


def total_rate(metric: str, labels: str, legend: str) -> Query:
    """The increase of a counter a second, for each combination of ``labels``."""
    return Query(f"sum by ({labels}) ({rate(by_target(metric))})", legend)


def our_reading(metric: str, legend: str) -> Query:
    """A gauge as it is, of a name that other exporters use too."""
    return Query(ours(by_target(metric)), legend)
