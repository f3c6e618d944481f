"""What a tracer provider lets us skip: spans that its sampler would drop, and all of them where nobody hears of any."""

from __future__ import annotations

import copy
import functools
import random
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import propagation

from agentgauge.config import is_tracing_disabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry import context as context_api
    from opentelemetry.trace import Span, SpanContext, TracerProvider

    from agentgauge.recording.series import Target

__all__ = ["DEAF", "SPAN_KEY", "Tracing", "UnheardRoot"]

SPAN_KEY: Any = getattr(propagation, "_SPAN_KEY", None)
"""The key of the span in a context."""

DEAF = "is_deaf_to_agentgauge"
"""The attribute of a span processor that hears nothing of our own spans."""

_TRACE_ID_LIMIT = 2**64 - 1  # the bits of a trace id that TraceIdRatioBased looks at


class UnheardRoot(trace_api.NonRecordingSpan):
    """A root that the sampler drops, or that nobody would hear of; its context is made when somebody asks, to hand it on."""

    is_sampled = False

    def __init__(self, trace_id: int, ids: Any) -> None:
        self._trace_id = trace_id
        self._ids = ids  # its own: the provider may be another when somebody asks

    def get_span_context(self) -> SpanContext:
        """Return the same context to whoever asks."""
        made: SpanContext | None = self.__dict__.get("_context")
        return made or self.__dict__.setdefault("_context", self._make_context())  # another thread may ask meanwhile

    def _make_context(self) -> SpanContext:
        is_random = getattr(self._ids, "is_trace_id_random", bool)()
        flags = getattr(trace_api.TraceFlags, "RANDOM_TRACE_ID", 0) if is_random else 0
        flags |= trace_api.TraceFlags.SAMPLED if self.is_sampled else 0
        span_id = self._ids.generate_span_id()
        return trace_api.SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=trace_api.TraceFlags(flags))

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


class _GivenTraceId:
    """An id generator whose next trace id is drawn already, since a sampler was to see it."""

    def __init__(self, ids: Any, trace_id: int) -> None:
        self._trace_id = trace_id
        self.generate_span_id = ids.generate_span_id
        self.is_trace_id_random = getattr(ids, "is_trace_id_random", bool)

    def generate_trace_id(self) -> int:
        """Return the trace id that was drawn."""
        return self._trace_id


def _yes() -> bool:
    return True


class Tracing:
    """The tracer of the provider that is set now, and what its sampler lets us skip."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Any = None
        self.ids: Any = None
        self.draw_trace_id: Callable[[], int] = int
        self.is_enabled: Callable[[], bool] = _yes
        self.is_unsampled_parent_final = False
        self.unsampled_context: context_api.Context | None = None
        self._root_bound: int | None = None
        self._active: Any = None
        self._processors: tuple[Any, ...] | None = None
        self._is_heard = True
        self.opened = 0
        self.seconds = 0.0

    def adopt(self, provider: TracerProvider) -> None:
        """Look at a provider that was set since."""
        tracer = None if is_tracing_disabled() else provider.get_tracer("agentgauge")
        self.tracer = None if isinstance(tracer, trace_api.NoOpTracer) else tracer
        self.ids = getattr(tracer, "id_generator", None)
        self.draw_trace_id = _trace_ids_of(self.ids)
        self.is_enabled = getattr(tracer, "_is_enabled", _yes)
        self.is_unsampled_parent_final, self._root_bound = _known_decisions(tracer)
        self._active = _processors_of(provider)
        self._processors = None
        self.unsampled_context = None
        self.provider = provider

    def has_unsampled_parent(self, context: context_api.Context, parent: Span) -> bool:
        """Tell whether the sampler would say no because the local parent is not sampled."""
        if not self.is_unsampled_parent_final:
            return False
        if type(parent) is not UnheardRoot or parent.is_sampled:
            parent_context = parent.get_span_context()
            if not parent_context.is_valid or parent_context.is_remote or parent_context.trace_flags.sampled:
                return False
        self.unsampled_context = context  # the next call in it is not asked again
        return True

    def is_heard(self) -> bool:
        """Tell whether a span processor would hear of our spans."""
        if self._active is None:
            return True
        processors = self._active._span_processors  # noqa: SLF001 - a tuple, a new one with each processor that is added
        if processors is not self._processors:
            self._is_heard = any(not getattr(processor, DEAF, False) for processor in processors)
            self._processors = processors
        return self._is_heard

    def start_root(self, target: Target, context: context_api.Context) -> Span:
        """Start a root as the tracer would; one that its sampler drops, or that nobody hears of, only hands that on.

        Where the sampler takes the trace ids below a bound (``TraceIdRatioBased``), the id is drawn here, before it is asked.
        """
        tracer, bound = self.tracer, self._root_bound
        if bound is not None and (bound <= _TRACE_ID_LIMIT or not self.is_heard()) and self.is_enabled():
            trace_id = self.draw_trace_id()
            if trace_id & _TRACE_ID_LIMIT >= bound:
                return UnheardRoot(trace_id, self.ids)
            if not self.is_heard():
                root = UnheardRoot(trace_id, self.ids)
                root.is_sampled = True
                return root
            tracer = copy.copy(tracer)
            tracer.id_generator = _GivenTraceId(self.ids, trace_id)
        span: Span = tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
        return span


def _trace_ids_of(ids: Any) -> Callable[[], int]:
    """Return what draws a trace id: as the SDK's own generator does, without its look for the one in 2**128 that is invalid."""
    generators = sys.modules.get("opentelemetry.sdk.trace.id_generator")
    if generators is not None and type(ids) is generators.RandomIdGenerator:
        return functools.partial(random.getrandbits, 128)
    return getattr(ids, "generate_trace_id", int)


def _processors_of(provider: TracerProvider) -> Any:
    """Return what holds the span processors of a provider of the SDK; None where that cannot be looked into."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    active = getattr(provider, "_active_span_processor", None)
    is_known = sdk is not None and type(active) is sdk.SynchronousMultiSpanProcessor
    return active if is_known and isinstance(getattr(active, "_span_processors", None), tuple) else None


def _known_decisions(tracer: Any) -> tuple[bool, int | None]:
    """Return what is known of a tracer's sampler: that it drops what has an unsampled local parent, and the bound for roots.

    Only samplers of the SDK are known, and only those whose decision depends on nothing else. Trace ids below the bound are
    sampled; it is None where the sampler has to be asked.
    """
    sampling = sys.modules.get("opentelemetry.sdk.trace.sampling")  # not loaded means: not the SDK's sampler
    sampler = getattr(tracer, "sampler", None)
    if sampling is None or getattr(type(sampler), "should_sample", None) is not sampling.ParentBased.should_sample:
        return False, None
    is_final = getattr(sampler, "_local_parent_not_sampled", None) is sampling.ALWAYS_OFF
    root: Any = getattr(sampler, "_root", None)
    bound = None
    if root is sampling.ALWAYS_OFF:
        bound = 0
    elif root is sampling.ALWAYS_ON:
        bound = _TRACE_ID_LIMIT + 1
    elif type(root) is sampling.TraceIdRatioBased:
        bound = root.bound
    return is_final, bound if SPAN_KEY and hasattr(tracer, "id_generator") else None
