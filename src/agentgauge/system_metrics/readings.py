"""What collectors said in one pass, series by series."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from prometheus_client.core import Metric

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Container, Iterable

__all__ = ["AnyCollector", "MetricPoint", "Readings", "Series", "adapt"]

_CUMULATIVE_TYPES = frozenset({"counter", "histogram", "gaugehistogram", "summary"})
_LEFT_OUT = ("_bucket", "_created")  # a histogram's buckets would be most of the history; its count and sum are kept


class AnyCollector(Protocol):
    """Anything with ``collect()``.

    It returns metric families of prometheus_client, or a mapping of names to numbers; a coroutine function may do so, too, and
    is run on a loop of its own in the collector's thread.
    """

    def collect(self) -> Any:
        """Return the readings."""


class Series(NamedTuple):
    """The name of one series: that of its metric in Prometheus text, and its labels in the order of their names."""

    metric: str
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.labels:
            return self.metric
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.metric}{{{labels}}}"


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One reading of one series.

    Attributes:
        metric: The name in Prometheus text, such as ``system_memory_utilization_ratio``.
        value: The reading, in ``unit``; a counter's is its total.
        timestamp: When it was taken, in Unix time.
        labels: Which series of the metric; a plain dict of its own.
        unit: The base unit, or an empty text.
    """

    metric: str
    value: float
    timestamp: float
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    unit: str = ""


@dataclass(slots=True)
class Readings:
    """What one pass read.

    Attributes:
        at: When, in Unix time.
        values: The reading of each series.
        units: The base unit of each metric that has one.
        cumulative: The metrics that only grow: counters, and the counts and sums of histograms.
        collectors: Whether each collector answered in time.
        series_left_out: Series that were more than the pass may take.
    """

    at: float
    values: dict[Series, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    cumulative: set[str] = field(default_factory=set)
    collectors: dict[str, bool] = field(default_factory=dict)
    series_left_out: int = 0
    _offered: set[Series] = field(default_factory=set, repr=False)
    _families: list[tuple[Metric, dict[Series, float]]] = field(default_factory=list, repr=False)

    def offer(self, metrics: Iterable[Metric]) -> None:
        """Look at what a collector said; what another said before of the same series stays."""
        for metric in metrics:
            found: dict[Series, float] = {}
            for sample in metric.samples:
                if sample.name.endswith(_LEFT_OUT) and metric.type in _CUMULATIVE_TYPES:
                    continue
                series = Series(sample.name, tuple(sorted(sample.labels.items())))
                if series not in self._offered:
                    self._offered.add(series)
                    found[series] = float(sample.value)
            if found:
                self._families.append((metric, found))

    def admit(self, series_limit: int, wanted: Container[str] = ()) -> None:
        """Take in what was offered.

        Args:
            series_limit: How many series there may be. Those of small families are taken first, so that one family, of a machine
                with hundreds of cores or a program with thousands of labels, leaves no other out.
            wanted: Names of metrics that are taken before all others.
        """
        families, self._families = self._families, []
        families.sort(key=lambda family: (all(series.metric not in wanted for series in family[1]), len(family[1])))
        for metric, found in families:
            taken = list(islice(found, max(0, series_limit - len(self.values))))
            self.series_left_out += len(found) - len(taken)
            for series in taken:
                self.values[series] = found[series]
                self._note(metric, series.metric)
        self._offered.clear()

    def _note(self, metric: Metric, name: str) -> None:
        if metric.unit and not name.endswith("_count"):
            self.units[name] = metric.unit
        if metric.type in _CUMULATIVE_TYPES and not (metric.type == "summary" and name == metric.name):
            self.cumulative.add(name)

    def points(self) -> dict[str, tuple[MetricPoint, ...]]:
        """Return every reading by the name of its metric."""
        found: dict[str, list[MetricPoint]] = {}
        for series, value in self.values.items():
            point = MetricPoint(series.metric, value, self.at, dict(series.labels), self.units.get(series.metric, ""))
            found.setdefault(series.metric, []).append(point)
        return {name: tuple(points) for name, points in sorted(found.items())}


class _Adapted:
    """A collector of the user's, as one that returns metric families."""

    fault = "contained the failure of a collector of the program's"  # as the log says it

    def __init__(self, collector: AnyCollector) -> None:
        self._collector = collector

    def collect(self) -> list[Metric]:
        try:
            said = self._collector.collect()
            if inspect.isawaitable(said):
                said = asyncio.run(_awaited(said))
        except SystemExit as error:  # it would end the collector's thread, and nobody would know why
            raise RuntimeError("collect() raised SystemExit") from error
        if isinstance(said, Mapping):
            return [_gauge(name, value) for name, value in said.items()]
        metrics = list(said)
        for metric in metrics:
            if not hasattr(metric, "samples"):
                raise TypeError(
                    f"collect() gave {metric!r}: it must be a metric family of prometheus_client, or a dict of numbers"
                )
        return metrics


def adapt(name: object, collector: object) -> _Adapted:
    """Check a collector that a user gives, and make it one that returns metric families.

    Raises:
        ConfigurationError: The name is no text, or there is no ``collect()``.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"add_collector(name={name!r}): give a name, such as 'queue'")
    if not callable(getattr(collector, "collect", None)) or isinstance(collector, type):
        raise ConfigurationError(
            f"add_collector({name!r}, {collector!r}): give an object with collect(), which returns metric families of "
            "prometheus_client or a dict such as {'queue_depth': 3}"
        )
    return _Adapted(collector)  # type: ignore[arg-type] # it has what the protocol asks for


async def _awaited(said: Awaitable[Any]) -> Any:
    return await said


def _gauge(name: str, value: float) -> Metric:
    metric = Metric(name, "A reading of the program's own.", "gauge")
    metric.add_sample(name, {}, float(value))
    return metric
