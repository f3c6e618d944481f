"""The registry as a page, in Prometheus text 0.0.4 or OpenMetrics 1.0, written in chunks that are never joined."""

from __future__ import annotations

from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_latest_openmetrics
from prometheus_client.utils import floatToGoString

from agentgauge.catalogue import Kind
from agentgauge.errors import contain_internal_errors
from agentgauge.exposition.families import is_named, merge
from agentgauge.recording.recorded_family import RecordedFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    from agentgauge.catalogue import Family
    from agentgauge.recording.points import Exemplar

__all__ = ["render"]

_CHUNK_LENGTH = 65536  # one C call over it (join, encode, compress) holds up other threads for well under a millisecond
_POINTS_A_PIECE = 64
_LABELS = "\0"  # stands in a template for a child's labels
_FIRST_LONG_NUMBER = 1e6  # from here on prometheus_client writes an exponent, as Go does
_long_number: Callable[[float], str] = floatToGoString  # prometheus_client does not type it
_openmetrics_page: Callable[[Collector], bytes] = generate_latest_openmetrics  # nor this
_TYPE_IN_TEXT = {Kind.INFO: "gauge", Kind.STATE_SET: "gauge"}


def render(registry: Collector, *, openmetrics: bool, names: frozenset[str] = frozenset()) -> Iterator[bytes]:
    """Collect ``registry`` at once and write what it yields while the chunks are read.

    Families of one name are written as one, since a second HELP line is invalid in both formats: of a series that comes from
    two collectors the first is shown. A family that cannot be written is left out and counted as an internal error.

    Args:
        registry: A ``CollectorRegistry``, or anything else with ``collect()``.
        openmetrics: Write OpenMetrics 1.0 instead of Prometheus text 0.0.4.
        names: Show only families that have one of these names, or samples with one; all when empty. This is no
            ``restricted_registry()``, which never asks collectors that describe no names.

    Raises:
        Exception: What a collector of the registry raised.
    """
    groups: dict[str, list[Metric]] = {}
    for metric in registry.collect():
        if not names or is_named(metric, names):
            groups.setdefault(_page_name(metric, openmetrics=openmetrics), []).append(metric)
    return _chunks(_pieces(groups, openmetrics=openmetrics))


def _pieces(groups: dict[str, list[Metric]], *, openmetrics: bool) -> Iterator[str]:
    for group in groups.values():
        with contain_internal_errors("exposition"):
            metric = merge(group)
            if isinstance(metric, RecordedFamily):
                yield from _recorded(metric, openmetrics=openmetrics)
            elif openmetrics:
                yield _openmetrics_page(_Alone(metric)).decode().removesuffix("# EOF\n")
            else:
                yield generate_latest(_Alone(metric)).decode()
    if openmetrics:
        yield "# EOF\n"


def _chunks(pieces: Iterator[str]) -> Iterator[bytes]:
    gathered: list[str] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _CHUNK_LENGTH:
            yield _encoded(gathered)
            gathered.clear()
            size = 0
    if gathered:
        yield _encoded(gathered)


def _encoded(pieces: list[str]) -> bytes:
    return "".join(pieces).encode(errors="replace")  # a lone surrogate must not cost the page


def _page_name(metric: Metric, *, openmetrics: bool) -> str:
    suffix = "" if openmetrics else {"counter": "_total", "info": "_info"}.get(metric.type, "")
    return metric.name + suffix


class _Alone:
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _recorded(metric: RecordedFamily, *, openmetrics: bool) -> Iterator[str]:
    family = metric.family
    yield _metadata(family, openmetrics=openmetrics)
    points: Iterator[Any] = metric.points()
    if family.kind is Kind.HISTOGRAM:
        yield from _histograms(family, points, openmetrics=openmetrics)
        return
    name = family.name
    while some := list(islice(points, _POINTS_A_PIECE)):
        yield "".join(
            [f"{name}{{{text}}} {_number(value)}\n" if text else f"{name} {_number(value)}\n" for text, _, value in some]
        )


def _histograms(family: Family, points: Iterator[Any], *, openmetrics: bool) -> Iterator[str]:
    labelled, bare = _template(family, _LABELS), _template(family, "")
    for label_text, _, counts, total_value, exemplars in points:
        values: list[object] = list(accumulate(counts))
        total = values[-1]
        if openmetrics:
            for index, exemplar in exemplars.items():
                values[index] = f"{values[index]}{_exemplar(exemplar)}"
        text = (labelled if label_text else bare) % (*values, total, _number(total_value))
        yield text.replace(_LABELS, label_text)  # after the values, so that no label is read as a format


def _metadata(family: Family, *, openmetrics: bool) -> str:
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    if not openmetrics:
        return f"# HELP {family.name} {text}\n# TYPE {family.name} {_TYPE_IN_TEXT.get(family.kind, family.kind)}\n"
    unit = f"# UNIT {family.base_name} {family.unit}\n" if family.unit else ""
    text = text.replace('"', r"\"")
    return f"# HELP {family.base_name} {text}\n# TYPE {family.base_name} {family.kind}\n{unit}"


def _template(family: Family, labels: str) -> str:
    bounds = [*map(_number, family.buckets), "+Inf"]
    buckets = "".join(_line(f"{family.name}_bucket", ",".join(filter(None, (labels, f'le="{bound}"')))) for bound in bounds)
    return buckets + _line(f"{family.name}_count", labels) + _line(f"{family.name}_sum", labels)


def _number(value: float) -> str:
    if -_FIRST_LONG_NUMBER < value < _FIRST_LONG_NUMBER:
        return repr(float(value))
    return _long_number(value)


def _line(name: str, labels: str) -> str:
    braces = f"{{{labels}}}" if labels else ""
    return f"{name}{braces} %s\n"


def _exemplar(exemplar: Exemplar) -> str:
    value = _number(exemplar.value)
    return f' # {{trace_id="{exemplar.trace_id:032x}",span_id="{exemplar.span_id:016x}"}} {value} {exemplar.timestamp}'
