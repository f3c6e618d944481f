"""A family of the recorder as a reader of the registry sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import Exemplar as ClientExemplar
from prometheus_client.core import Metric, Sample
from prometheus_client.utils import floatToGoString

from agentgauge.errors import contain_internal_errors
from agentgauge.recording.points import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentgauge.catalogue import Family
    from agentgauge.recording.points import HistogramPoint

__all__ = ["RecordedFamily"]


class RecordedFamily(Metric):
    """A ``Metric`` of prometheus_client whose samples are made only when somebody reads them.

    Our own writer reads ``points()``, which costs far less; any other reader of the registry reads ``samples`` and sees the same.
    """

    def __init__(self, family: Family, points: Callable[[], Iterator[Point | HistogramPoint]]) -> None:
        """Declare ``family``; ``points`` is called anew for every reading."""
        self.family = family
        self.points = points
        super().__init__(family.base_name, family.help, family.kind.value, family.unit)

    @property
    def samples(self) -> list[Sample]:
        """The points as prometheus_client's samples."""
        with contain_internal_errors("collect"):
            return [sample for point in self.points() for sample in self._samples_of(point)]
        return []

    @samples.setter
    def samples(self, _value: list[Sample]) -> None:
        """Ignore the empty list that ``Metric.__init__`` assigns."""

    def _samples_of(self, point: Point | HistogramPoint) -> Iterator[Sample]:
        if isinstance(point, Point):
            yield Sample(self.family.name, dict(point.labels), point.value)
            return
        name = self.family.name
        labels = dict(point.labels)
        total = 0
        for index, (bound, count) in enumerate(zip((*self.family.buckets, float("inf")), point.counts, strict=True)):
            total += count
            exemplar = point.exemplars.get(index)
            yield Sample(
                f"{name}_bucket",
                {**labels, "le": floatToGoString(bound)},  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
                total,
                None,
                exemplar
                and ClientExemplar(
                    {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"},
                    exemplar.value,
                    exemplar.timestamp,
                ),
            )
        yield Sample(f"{name}_count", labels, total)
        yield Sample(f"{name}_sum", labels, point.sum)
