"""What becomes of the families of a registry before they are written: chosen by name, merged where they share one."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

__all__ = ["is_named", "merge"]

_logger = logging.getLogger(__name__)

_SUFFIXES = ("", "_total", "_info", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_created")
_LABEL_INSIDE_A_SERIES = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}


def is_named(metric: Metric, names: frozenset[str]) -> bool:
    """Tell whether ``names`` has the name of ``metric`` or one that its samples may have."""
    return any(metric.name + suffix in names for suffix in _SUFFIXES)


def merge(producers: list[Metric]) -> Metric:
    """Give one family with the series of all ``producers``, which share a name.

    The first gives help, type and unit. What a later one has under labels that an earlier one has too, or under another type,
    is left out, with one warning for each name: a histogram with the buckets of two would be none.
    """
    first = producers[0]
    if len(producers) == 1:
        return first
    inside = {_LABEL_INSIDE_A_SERIES.get(first.type), first.name if first.type == "stateset" else None}
    samples: list[Sample] = []
    taken: set[frozenset[tuple[str, str]]] = set()
    for producer in producers:
        series = [
            (frozenset((label, value) for label, value in sample.labels.items() if value and label not in inside), sample)
            for sample in producer.samples
        ]
        fresh = [(labels, sample) for labels, sample in series if labels not in taken] if producer.type == first.type else []
        if len(fresh) < len(series):
            _warn_of_duplicates(first.name)
        samples.extend(sample for _, sample in fresh)
        taken.update(labels for labels, _ in fresh)
    return _copy(first, samples)


def _copy(metric: Metric, samples: list[Sample]) -> Metric:
    copy = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    copy.samples = samples
    return copy


@functools.lru_cache(maxsize=1024)  # once for each name
def _warn_of_duplicates(name: str) -> None:
    _logger.warning(
        "several collectors of one registry export the same series of %s, or give it different types; the page shows what the "
        "first exports: unregister the others",
        name,
    )
