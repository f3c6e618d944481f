"""What a registry shows, as a Prometheus would keep it after a scrape: one sample for each series."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.utils import floatToGoString

from agentgauge.catalogue import Kind
from agentgauge.errors import contain_internal_errors
from agentgauge.recording.recorded_family import RecordedFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from agentgauge.catalogue import Family
    from agentgauge.recording.points import Labels

__all__ = ["RegistryReader", "Series", "Sweep"]

Series = tuple[str, tuple[tuple[str, str], ...]]
"""The name of its samples, and its labels, in order and none of them empty."""

_INSIDE_A_SERIES = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
_spelled: Callable[[float], str] = floatToGoString  # prometheus_client does not type it


@dataclass(frozen=True, slots=True)
class Sweep:
    """The samples of one moment.

    Attributes:
        at: When, Unix time in seconds.
        series: Of what.
        values: One for each of them.
    """

    at: float
    series: list[Series]
    values: array[float]

    def samples(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Yield name, labels and value of each."""
        return ((name, labels, value) for (name, labels), value in zip(self.series, self.values, strict=True))


class RegistryReader:
    """Reads a registry again and again; the names and labels of what stays are made once.

    Samples are named and labelled as on the text page, also where several collectors share a family. A family that cannot be
    read is left out and counted as an internal error. Times of their own, which samples of custom collectors may have, are not
    kept: all that one reading finds is of one moment.

    Args:
        registry: A ``CollectorRegistry``.
        labels: Labels that every series gets, such as ``job``, unless it has them.
    """

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str] | None = None) -> None:
        self._registry = registry
        self._labels = {name: value for name, value in (labels or {}).items() if value}
        self._known: dict[tuple[str, Any], list[Series]] = {}
        self._seen: dict[tuple[str, Any], list[Series]] = {}

    def read(self, at: float) -> Sweep:
        """Collect the registry.

        Args:
            at: Of when the samples are, Unix time in seconds.

        Raises:
            Exception: What a collector of the registry raised.
        """
        groups: dict[str, list[Metric]] = {}
        for metric in self._registry.collect():
            groups.setdefault(_page_name(metric), []).append(metric)
        series: list[Series] = []
        values = array("d")
        for group in groups.values():
            with contain_internal_errors("history"):
                found, read = self._read(group)
                values.extend(read)
                series.extend(found)
        self._known, self._seen = self._seen, {}  # what has gone is forgotten
        return Sweep(at, series, values)

    def _read(self, group: list[Metric]) -> tuple[list[Series], array[float]]:
        first = group[0]
        return self._recorded(first) if len(group) == 1 and isinstance(first, RecordedFamily) else self._merged(group)

    def _recorded(self, metric: RecordedFamily) -> tuple[list[Series], array[float]]:
        """Read a family of the recorder, which is far cheaper by its points."""
        family = metric.family
        is_histogram = family.kind is Kind.HISTOGRAM
        series: list[Series] = []
        values = array("d")
        points: Iterator[Any] = metric.points()
        for point in points:
            key = (family.name, point.labels)
            named = self._known.get(key)
            if named is None:
                named = self._named_buckets(family, point.labels) if is_histogram else [self._named(family.name, point.labels)]
            self._seen[key] = named
            series += named
            if is_histogram:
                counts = array("d", accumulate(point.counts))
                values.extend(counts)
                values.append(counts[-1])
            values.append(point.sum if is_histogram else point.value)
        return series, values

    def _merged(self, group: list[Metric]) -> tuple[list[Series], array[float]]:
        """Read a family that others may have, too; of what two of them show, the first is kept, as on the page."""
        first = group[0]
        inside = {_INSIDE_A_SERIES.get(first.type), first.name if first.type == "stateset" else None}
        taken: set[frozenset[tuple[str, str]]] = set()
        series: dict[Series, float] = {}  # of one that is there twice, the first
        for metric in group if len(group) == 1 else [metric for metric in group if metric.type == first.type]:
            samples = metric.samples
            if len(group) > 1:
                owners = [
                    frozenset((name, value) for name, value in s.labels.items() if value and name not in inside) for s in samples
                ]
                samples = [sample for sample, owner in zip(samples, owners, strict=True) if owner not in taken]
                taken.update(owners)
            for sample in samples:
                key = (sample.name, tuple(sample.labels.items()))
                named = self._seen[key] = self._known.get(key) or [self._named(*key)]
                series.setdefault(named[0], float(sample.value))
        return list(series), array("d", series.values())

    def _named(self, name: str, labels: Iterable[tuple[str, str]]) -> Series:
        clean = {label: value.encode(errors="replace").decode() for label, value in labels if value}
        return name, tuple(sorted((self._labels | clean).items()))

    def _named_buckets(self, family: Family, labels: Labels) -> list[Series]:
        """Name the series of a histogram in the order of its values."""
        bounds = [*map(_spelled, family.buckets), "+Inf"]
        buckets = [self._named(f"{family.name}_bucket", (*labels, ("le", bound))) for bound in bounds]
        return [*buckets, self._named(f"{family.name}_count", labels), self._named(f"{family.name}_sum", labels)]


def _page_name(metric: Metric) -> str:
    return metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
