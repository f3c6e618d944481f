"""What others would write around the same functions: prometheus_client's metrics bound beforehand, OpenTelemetry's spans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agentgauge.catalogue import TASK_DURATION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

__all__ = ["PrometheusCombination", "Tracing", "set_provider", "spanned", "spanned_async"]


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


def spanned(function: Callable[[int], int], tracer: Tracer, name: str, attributes: dict[str, str]) -> Callable[[int], int]:
    """Put a span around a function as OpenTelemetry's documentation does."""

    def wrapper(value: int) -> int:
        with tracer.start_as_current_span(name, attributes=attributes):
            return function(value)

    return wrapper


def spanned_async(function: Callable[[int], Any], tracer: Tracer, name: str, attributes: dict[str, str]) -> Callable[[int], Any]:
    """Put a span around a coroutine function as OpenTelemetry's documentation does."""

    async def wrapper(value: int) -> Any:
        with tracer.start_as_current_span(name, attributes=attributes):
            return await function(value)

    return wrapper
