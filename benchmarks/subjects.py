"""What is timed: our decorated calls, and what others would write for the same, around the same two functions."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import agentgauge
from agentgauge.catalogue import TASK, TASK_DURATION
from agentgauge.recording.default import default_recorder
from agentgauge.recording.series import SeriesKind
from measure import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

__all__ = ["Mode", "modes"]

ATTRIBUTES = {"gen_ai.operation.name": "execute_task", "agent.task": "work"}


class CountingExporter(SpanExporter):
    """Takes spans and keeps nothing but their number."""

    def __init__(self) -> None:
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count the spans."""
        self.count += len(spans)
        return SpanExportResult.SUCCESS


class Tracing:
    """A tracer provider of the SDK, its exporter, and how many spans came since last asked."""

    def __init__(self, ratio: float) -> None:
        self.exporter = CountingExporter()
        self.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)))
        self.processor = BatchSpanProcessor(
            self.exporter, max_queue_size=1_000_000, schedule_delay_millis=3_600_000, max_export_batch_size=512
        )
        self.provider.add_span_processor(self.processor)
        self.tracer: Tracer = self.provider.get_tracer("bench")
        self._seen = 0

    def flush(self) -> int:
        """Export everything; return how many spans came since the last time."""
        self.processor.force_flush()
        count, self._seen = self.exporter.count - self._seen, self.exporter.count
        return count


SAMPLED = Tracing(1.0)
UNSAMPLED = Tracing(0.0)


def set_provider(provider: TracerProvider | None) -> None:
    """Exchange the provider of the process, which the API lets nobody do twice, so that modes can be interleaved."""
    trace_api._TRACER_PROVIDER = provider  # noqa: SLF001 - see above


class PrometheusCombination:
    """A histogram, a counter and a gauge of prometheus_client, bound to their labels beforehand."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.duration = Histogram("task_seconds", "d", ["task"], buckets=TASK_DURATION.buckets, registry=registry).labels("work")
        self.calls = Counter("tasks", "c", ["task"], registry=registry).labels("work")
        self.in_progress = Gauge("tasks_in_progress", "g", ["task"], registry=registry).labels("work")
        self.registry = registry
        self._seen = 0

    def sync(self, function: Callable[[int], int]) -> Callable[[int], int]:
        """Decorate a function by hand, as one would."""

        def wrapper(value: int) -> int:
            self.in_progress.inc()
            began = time.perf_counter()
            try:
                return function(value)
            finally:
                self.duration.observe(time.perf_counter() - began)
                self.calls.inc()
                self.in_progress.dec()

        return wrapper

    def asynchronous(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        """Decorate a coroutine function by hand, as one would."""

        async def wrapper(value: int) -> int:
            self.in_progress.inc()
            began = time.perf_counter()
            try:
                result: int = await function(value)
                return result
            finally:
                self.duration.observe(time.perf_counter() - began)
                self.calls.inc()
                self.in_progress.dec()

        return wrapper

    def settle(self) -> int:
        """Return how many calls came since the last time."""
        total = int(self.registry.get_sample_value("tasks_total", {"task": "work"}) or 0)
        total, self._seen = total - self._seen, total
        return total


def work(value: int) -> int:
    """Do nothing."""
    return value


async def work_async(value: int) -> int:
    """Do nothing, asynchronously."""
    return value


class OurSeries:
    """What the decorated functions recorded, counted anew after each drain."""

    def __init__(self) -> None:
        self._seen = 0

    def settle(self) -> int:
        """Drain; return how many calls of ``work`` the series hold since the last time."""
        recorder = default_recorder()
        recorder.drain()
        total = sum(
            sum(child.counts)
            for series in recorder.series[SeriesKind.TASK].values()
            if (TASK, "work") in series.labels
            for child in series.children()
        )
        total, self._seen = total - self._seen, total
        return total

    def settle_with_spans(self) -> int:
        """Drain and export; return how many calls came both as series and as spans."""
        return min(self.settle(), SAMPLED.flush())


@contextmanager
def inside_agent() -> Iterator[None]:
    """Run the block inside an agent's run."""
    with agentgauge.track("bench", "outer"):
        yield


def loop(function: Callable[[int], int]) -> Callable[[int], None]:
    """Call ``function`` many times."""

    def run(calls: int) -> None:
        for value in range(calls):
            function(value)

    return run


def loop_async(function: Callable[[int], Any]) -> Callable[[int], None]:
    """Await ``function`` many times in one event loop."""

    async def calls_of(calls: int) -> None:
        for value in range(calls):
            await function(value)

    return lambda calls: asyncio.run(calls_of(calls))


def otel_sync(tracer: Tracer) -> Callable[[int], int]:
    """Put a span around ``work`` as OpenTelemetry's documentation does."""

    def wrapper(value: int) -> int:
        with tracer.start_as_current_span("execute_task work", attributes=ATTRIBUTES):
            return work(value)

    return wrapper


def otel_async(tracer: Tracer) -> Callable[[int], Any]:
    """Put a span around ``work_async`` as OpenTelemetry's documentation does."""

    async def wrapper(value: int) -> int:
        with tracer.start_as_current_span("execute_task work", attributes=ATTRIBUTES):
            return await work_async(value)

    return wrapper


def within(context: Callable[[], AbstractContextManager[Any]], run: Callable[[int], None]) -> Callable[[int], None]:
    """Make all the calls inside one ``with`` block."""

    def run_within(calls: int) -> None:
        with context():
            run(calls)

    return run_within


@dataclass(frozen=True)
class Mode:
    """One row of the table: what our decorator adds to a call, against what the reference adds.

    Attributes:
        name: How the table calls it.
        bare: The undecorated function.
        ours: The decorated function.
        reference: What it is compared with.
        reference_name: How the table calls the reference.
        bar: The ratio that must not be exceeded, or None where the ratio is shown only.
    """

    name: str
    bare: Subject
    ours: Subject
    reference: Subject
    reference_name: str
    bar: float | None = None


def modes() -> list[Mode]:
    """Build every row of the table."""
    return [
        *_modes("sync", work, loop, agentgauge.task("work")(work), otel_sync),
        *_modes("async", work_async, loop_async, agentgauge.task("work")(work_async), otel_async),
    ]


def _modes(
    kind: str,
    bare: Callable[[int], Any],
    looped: Callable[[Callable[[int], Any]], Callable[[int], None]],
    ours: Callable[[int], Any],
    otel: Callable[[Tracer], Callable[[int], Any]],
) -> Iterator[Mode]:
    series = OurSeries()
    prometheus = PrometheusCombination()
    combination = prometheus.sync(bare) if kind == "sync" else prometheus.asynchronous(bare)

    def without_sdk() -> None:
        set_provider(None)

    def unsampled() -> None:
        set_provider(UNSAMPLED.provider)

    def sampled() -> None:
        set_provider(SAMPLED.provider)

    def unsampled_parent() -> AbstractContextManager[Any]:
        return UNSAMPLED.tracer.start_as_current_span("parent")

    floor = Subject(f"{kind}: bare", looped(bare), prepare=without_sdk)
    combined = Subject(f"{kind}: prometheus_client", looped(combination), prometheus.settle, without_sdk)
    yield Mode(
        f"metrics only, {kind}, outside an agent",
        floor,
        Subject(f"{kind}: metrics only", looped(ours), series.settle, without_sdk),
        combined,
        "prometheus_client",
        0.35 if kind == "sync" else None,
    )
    yield Mode(
        f"metrics only, {kind}, inside an agent",
        floor,
        Subject(f"{kind}: inside an agent", within(inside_agent, looped(ours)), series.settle, without_sdk),
        combined,
        "prometheus_client",
    )
    yield Mode(
        f"no SDK, {kind}",
        floor,
        Subject(f"{kind}: no SDK", looped(ours), series.settle, without_sdk),
        Subject(f"{kind}: OTel, no SDK", looped(otel(trace_api.get_tracer("bench"))), prepare=without_sdk),
        "start_as_current_span",
    )
    yield Mode(
        f"unsampled child, {kind}",
        floor,
        Subject(f"{kind}: unsampled child", within(unsampled_parent, looped(ours)), series.settle, unsampled),
        Subject(f"{kind}: OTel, unsampled child", within(unsampled_parent, looped(otel(UNSAMPLED.tracer))), prepare=unsampled),
        "start_as_current_span",
    )
    yield Mode(
        f"unsampled root, {kind}",
        floor,
        Subject(f"{kind}: unsampled root", looped(ours), series.settle, unsampled),
        Subject(f"{kind}: OTel, unsampled root", looped(otel(UNSAMPLED.tracer)), prepare=unsampled),
        "start_as_current_span",
    )
    yield Mode(
        f"sampled span + metrics, {kind}",
        floor,
        Subject(f"{kind}: sampled", looped(ours), series.settle_with_spans, sampled),
        Subject(f"{kind}: OTel, sampled", looped(otel(SAMPLED.tracer)), SAMPLED.flush, sampled),
        "start_as_current_span",
        1.15 if kind == "sync" else None,
    )
