"""What a decorated call costs above a bare one, in every state of tracing, beside what others would write for the same."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api

import agentgauge
from measure import Subject, measure
from references import PrometheusCombination, Tracing, set_provider, spanned, spanned_async
from rows import Row, Suite
from subjects import OurSeries, fail, fail_async, loop, loop_async, within, work, work_async

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from opentelemetry.trace import Tracer

    from rows import Effort

__all__ = ["FAILING_NAMES", "NAMES", "SUITES", "Mode", "attributes_of"]

_TITLES = (
    "metrics only, {}, outside an agent",
    "metrics only, {}, inside an agent",
    "no SDK, {}",
    "unsampled child, {}",
    "unsampled root, {}",
    "sampled span + metrics, {}",
)
_FAILING_TITLE = "error path, {}"
_KINDS = ("sync", "async")
NAMES = tuple(title.format(kind) for kind in _KINDS for title in _TITLES)
FAILING_NAMES = tuple(_FAILING_TITLE.format(kind) for kind in _KINDS)


@functools.cache
def _tracing(ratio: float) -> Tracing:
    return Tracing(ratio)


@dataclass(frozen=True)
class Mode:
    """One row of the table: what our decorator adds to a call, against what the reference adds.

    Attributes:
        name: How the table calls it.
        bare: The undecorated function.
        ours: The decorated function.
        reference: What it is compared with.
        reference_name: How the table calls the reference.
    """

    name: str
    bare: Subject
    ours: Subject
    reference: Subject
    reference_name: str


def attributes_of(task: str) -> dict[str, str]:
    """Return the attributes of our span of a task: the reference's are the same."""
    return {"gen_ai.operation.name": "execute_task", "agent.task": task}


@functools.cache
def _modes_of_success() -> list[Mode]:
    """Build every row of the table whose calls succeed."""
    return [
        *_modes("sync", work, loop, agentgauge.task("work")(work), spanned),
        *_modes("async", work_async, loop_async, agentgauge.task("work")(work_async), spanned_async),
    ]


@functools.cache
def _modes_of_failure() -> list[Mode]:
    """Build the rows whose calls fail."""
    return [
        _failing_mode("sync", fail, loop, agentgauge.task("fail")(fail), spanned),
        _failing_mode("async", fail_async, loop_async, agentgauge.task("fail")(fail_async), spanned_async),
    ]


def _modes(
    kind: str,
    bare: Callable[[int], Any],
    looped: Callable[[Callable[[int], Any]], Callable[[int], None]],
    ours: Callable[[int], Any],
    in_span: Callable[..., Callable[[int], Any]],
) -> Iterator[Mode]:
    series = OurSeries()
    prometheus = PrometheusCombination()
    combination = prometheus.sync(bare) if kind == "sync" else prometheus.asynchronous(bare)

    def otel(tracer: Tracer) -> Callable[[int], None]:
        return looped(in_span(bare, tracer, "execute_task work", attributes_of("work")))

    floor = Subject(f"{kind}: bare", looped(bare), prepare=_without_sdk)
    combined = Subject(f"{kind}: prometheus_client", looped(combination), prometheus.settle, _without_sdk)
    yield Mode(
        f"metrics only, {kind}, outside an agent",
        floor,
        Subject(f"{kind}: metrics only", looped(ours), series.settle, _without_sdk),
        combined,
        "prometheus_client",
    )
    yield Mode(
        f"metrics only, {kind}, inside an agent",
        floor,
        Subject(f"{kind}: inside an agent", within(_inside_agent, looped(ours)), series.settle, _without_sdk),
        combined,
        "prometheus_client",
    )
    yield Mode(
        f"no SDK, {kind}",
        floor,
        Subject(f"{kind}: no SDK", looped(ours), series.settle, _without_sdk),
        Subject(f"{kind}: OTel, no SDK", otel(trace_api.get_tracer("bench")), prepare=_without_sdk),
        "start_as_current_span",
    )
    yield Mode(
        f"unsampled child, {kind}",
        floor,
        Subject(f"{kind}: unsampled child", within(_unsampled_parent, looped(ours)), series.settle, _unsampled),
        Subject(f"{kind}: OTel, unsampled child", within(_unsampled_parent, otel(_tracing(0.0).tracer)), prepare=_unsampled),
        "start_as_current_span",
    )
    yield Mode(
        f"unsampled root, {kind}",
        floor,
        Subject(f"{kind}: unsampled root", looped(ours), series.settle, _unsampled),
        Subject(f"{kind}: OTel, unsampled root", otel(_tracing(0.0).tracer), prepare=_unsampled),
        "start_as_current_span",
    )
    yield Mode(
        f"sampled span + metrics, {kind}",
        floor,
        Subject(f"{kind}: sampled", looped(ours), lambda: min(series.settle(), _tracing(1.0).flush()), _sampled),
        Subject(f"{kind}: OTel, sampled", otel(_tracing(1.0).tracer), _tracing(1.0).flush, _sampled),
        "start_as_current_span",
    )


def _failing_mode(
    kind: str,
    bare: Callable[[int], Any],
    looped: Callable[[Callable[[int], Any]], Callable[[int], None]],
    ours: Callable[[int], Any],
    in_span: Callable[..., Callable[[int], Any]],
) -> Mode:
    series = OurSeries("fail")
    otel = in_span(bare, _tracing(1.0).tracer, "execute_task fail", attributes_of("fail"))
    return Mode(
        f"error path, {kind}",
        Subject(f"{kind}: bare, failing", looped(bare), prepare=_without_sdk),
        Subject(f"{kind}: failing", looped(ours), lambda: min(series.settle(), _tracing(1.0).flush()), _sampled),
        Subject(f"{kind}: OTel, failing", looped(otel), _tracing(1.0).flush, _sampled),
        "start_as_current_span",
    )


def _without_sdk() -> None:
    set_provider(None)


def _unsampled() -> None:
    set_provider(_tracing(0.0).provider)


def _sampled() -> None:
    set_provider(_tracing(1.0).provider)


def _unsampled_parent() -> AbstractContextManager[Any]:
    return _tracing(0.0).tracer.start_as_current_span("parent")


@contextmanager
def _inside_agent() -> Iterator[None]:
    with agentgauge.track("bench", "outer"):
        yield


def _measured(table: Sequence[Mode], names: Collection[str], calls: int, rounds: int) -> list[Row]:
    wanted = [mode for mode in table if mode.name in names]
    subjects = {subject.name: subject for mode in wanted for subject in (mode.bare, mode.ours, mode.reference)}
    try:
        figures = measure(list(subjects.values()), calls=calls, rounds=rounds)
    finally:
        set_provider(None)
    rows = []
    for mode in wanted:
        bare, ours, reference = (figures[subject.name].best for subject in (mode.bare, mode.ours, mode.reference))
        value = (ours - bare) / (reference - bare)
        rows.append(Row(mode.name, value, ours - bare, reference - bare, "ns", mode.reference_name))
    return rows


def _measure_calls(names: Collection[str], effort: Effort) -> list[Row]:
    return _measured(_modes_of_success(), names, effort.calls, effort.rounds)


def _measure_errors(names: Collection[str], effort: Effort) -> list[Row]:
    return _measured(_modes_of_failure(), names, effort.calls // 10, effort.rounds)  # the reference takes a hundred times as long


SUITES = (
    Suite(NAMES, _measure_calls),
    Suite(FAILING_NAMES, _measure_errors),
)
