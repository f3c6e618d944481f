"""What the recorder's collector hands to its readers: families whose points are ready to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import Exemplar as ClientExemplar
from prometheus_client.core import Metric, Sample
from prometheus_client.utils import floatToGoString

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agentgauge.catalogue import Family

__all__ = ["Exemplar", "HistogramPoint", "Labels", "Point", "RecordedFamily", "clean_label", "label_text"]

Labels = tuple[tuple[str, str], ...]

_LABEL_LENGTH = 200


class Exemplar(NamedTuple):
    """One measured call of a histogram bucket, linked to its span (OpenMetrics 1.0, exemplars)."""

    trace_id: int
    span_id: int
    value: float
    timestamp: float


class Point(NamedTuple):
    """One series of a counter, gauge, info or state set."""

    label_text: str
    labels: Labels
    value: float


class HistogramPoint(NamedTuple):
    """One child of a histogram: ``counts`` a bucket, not cumulative, ``+Inf`` last; exemplars by bucket index."""

    label_text: str
    labels: Labels
    counts: Sequence[int]
    sum: float
    exemplars: Mapping[int, Exemplar]


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


def label_text(labels: Labels) -> str:
    r"""Render labels as both text formats spell them between braces, escaped: ``a="x",b="say \"hi\""``."""
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in labels if value])  # an empty value means an absent label


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def clean_label(value: object) -> str:
    """Make any value fit for a label: text that UTF-8 can encode, at most 200 characters."""
    text = str(value)[:_LABEL_LENGTH]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # no second copy of nearly every name
