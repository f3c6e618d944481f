"""Spans of decorated calls, made only when somebody listens (OpenTelemetry GenAI semantic conventions 0.66b2)."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import sys
import time
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.trace import propagation

from agentgauge.catalogue import Outcome
from agentgauge.config import is_tracing_disabled
from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span, SpanContext, TracerProvider

    from agentgauge.recording.frame import Frame
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.series import Target

__all__ = [
    "Scope",
    "abandon_span",
    "close_span",
    "keep_context",
    "open_span",
    "open_span_beside",
    "provider_cell",
    "resume_span",
    "set_span_attributes",
    "span_frames",
    "span_seconds",
    "suspend_span",
]


class _PublicProvider:
    """What ``provider_cell`` is where the API no longer keeps the provider in its module."""

    @property
    def _TRACER_PROVIDER(self) -> TracerProvider:  # noqa: N802 - the name of what it stands for
        return trace_api.get_tracer_provider()


provider_cell: Any = trace_api if hasattr(trace_api, "_TRACER_PROVIDER") else _PublicProvider()
"""``provider_cell._TRACER_PROVIDER`` is None while no provider was set: the hot path's one look, 10 ns instead of 150."""

# detach() of the API logs a stack trace where a coroutine is closed from another context; the runtime behind it just raises.
_runtime: Any = getattr(context_api, "_RUNTIME_CONTEXT", context_api)

# The variable behind the runtime and the key of the span in it: a third of the price of get_current_span() and attach().
_variable: Any = getattr(_runtime, "_current_context", None)
_get_context: Callable[[], context_api.Context] = getattr(_variable, "get", _runtime.get_current)
_set_context: Callable[[context_api.Context], Any] = getattr(_variable, "set", _runtime.attach)
_reset_context: Callable[[Any], None] = getattr(_variable, "reset", _runtime.detach)
_SPAN_KEY: Any = getattr(propagation, "_SPAN_KEY", None)

_TRACE_ID_LIMIT = 2**64 - 1  # the bits of a trace id that TraceIdRatioBased looks at
_SPANS_A_SAMPLE = 256


class Scope:
    """An open span, and what detaches it; one that is not recording has nothing to end."""

    __slots__ = ("context", "is_recording", "is_timed", "span", "token")

    def __init__(self, span: Span, context: context_api.Context, is_recording: bool, *, is_current: bool = True) -> None:
        self.span = span
        self.is_recording = is_recording
        self.is_timed = False
        self.context = context
        self.token: Any = _set_context(context) if is_current else None


class _UnsampledRoot(trace_api.NonRecordingSpan):
    """A root that the sampler drops, as ``start_span`` makes it; its context is made when somebody asks, to hand it on."""

    def __init__(self, trace_id: int, ids: Any) -> None:
        self._trace_id = trace_id
        self._ids = ids  # its own: the provider may be another when somebody asks

    def get_span_context(self) -> SpanContext:
        """Return the same context to whoever asks."""
        made: SpanContext | None = self.__dict__.get("_context")
        return made or self.__dict__.setdefault("_context", self._make_context())  # another thread may ask meanwhile

    def _make_context(self) -> SpanContext:
        is_random = getattr(self._ids, "is_trace_id_random", bool)()
        flags = trace_api.TraceFlags(getattr(trace_api.TraceFlags, "RANDOM_TRACE_ID", 0) if is_random else 0)
        return trace_api.SpanContext(self._trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=flags)

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


class _Tracing:
    """The tracer of the provider that is set now, and what its sampler lets us skip."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Any = None
        self.ids: Any = None
        self.draw_trace_id: Callable[[], int] = int
        self.is_enabled: Callable[[], bool] = _yes
        self.is_unsampled_parent_final = False
        self.unsampled_context: context_api.Context | None = None
        self.root_bound: int | None = None
        self.opened = 0
        self.seconds = 0.0

    def adopt(self, provider: TracerProvider) -> None:
        tracer = None if is_tracing_disabled() else provider.get_tracer("agentgauge")
        self.tracer = None if isinstance(tracer, trace_api.NoOpTracer) else tracer
        self.ids = getattr(tracer, "id_generator", None)
        self.draw_trace_id = _trace_ids_of(self.ids)
        self.is_enabled = getattr(tracer, "_is_enabled", _yes)
        self.is_unsampled_parent_final, self.root_bound = _known_decisions(tracer)
        self.unsampled_context = None
        self.provider = provider

    def has_unsampled_parent(self, context: context_api.Context, parent: Span) -> bool:
        """Tell whether the sampler would say no because the local parent is not sampled."""
        if not self.is_unsampled_parent_final:
            return False
        if type(parent) is not _UnsampledRoot:
            parent_context = parent.get_span_context()
            if not parent_context.is_valid or parent_context.is_remote or parent_context.trace_flags.sampled:
                return False
        self.unsampled_context = context  # the next call in it is not asked again
        return True

    def start_root(self, target: Target, context: context_api.Context, bound: int) -> Span:
        """Start a root as the tracer would, where its sampler takes the trace ids below ``bound`` (``TraceIdRatioBased``)."""
        trace_id = self.draw_trace_id()
        if trace_id & _TRACE_ID_LIMIT >= bound:
            return _UnsampledRoot(trace_id, self.ids)
        tracer = copy.copy(self.tracer)
        tracer.id_generator = _GivenTraceId(self.ids, trace_id)
        span: Span = tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
        return span


_tracing = _Tracing()


def span_seconds() -> float:
    """Return the CPU time that spans took in this process, estimated from one in 256."""
    return _tracing.seconds


def _trace_ids_of(ids: Any) -> Callable[[], int]:
    """Return what draws a trace id: as the SDK's own generator does, without its look for the one in 2**128 that is invalid."""
    generators = sys.modules.get("opentelemetry.sdk.trace.id_generator")
    if generators is not None and type(ids) is generators.RandomIdGenerator:
        return functools.partial(random.getrandbits, 128)
    return getattr(ids, "generate_trace_id", int)


def _known_decisions(tracer: Any) -> tuple[bool, int | None]:
    """Return what is known of a tracer's sampler: that it drops what has an unsampled local parent, and the bound for roots.

    Only samplers of the SDK are known, and only those whose decision depends on nothing else. The bound is None where the sampler
    has to be asked, and where it takes every root.
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
    elif type(root) is sampling.TraceIdRatioBased and root.bound <= _TRACE_ID_LIMIT:
        bound = root.bound
    return is_final, bound if _SPAN_KEY and hasattr(tracer, "id_generator") else None


class _SpanFrames(dict[int, "Frame"]):
    """The frames of somebody else's spans that are open, by span id; filled by whoever listens to spans."""

    def current(self) -> Frame | None:
        """Return the frame of the current span."""
        return self.get(trace_api.get_current_span().get_span_context().span_id)


span_frames = _SpanFrames()


def open_span(target: Target) -> Scope | None:
    """Start a span for a call and make it current; None where nobody listens, the sampler would say no, or tracing fails."""
    context: context_api.Context | None = None
    try:
        provider = provider_cell._TRACER_PROVIDER  # noqa: SLF001 - see provider_cell
        if provider is not _tracing.provider:
            _tracing.adopt(provider)
        context = _get_context()
        if context is _tracing.unsampled_context or _tracing.tracer is None:
            return None
        parent = context.get(_SPAN_KEY) if _SPAN_KEY else trace_api.get_current_span(context)
        if parent is not None and isinstance(parent, trace_api.Span) and _tracing.has_unsampled_parent(context, parent):
            return None
        _tracing.opened += 1
        if _tracing.opened % _SPANS_A_SAMPLE:
            return _start(target, context, parent)
        began = time.thread_time()
        scope = _start(target, context, parent)
        scope.is_timed = True
        _tracing.seconds += (time.thread_time() - began) * _SPANS_A_SAMPLE
        return scope
    except BaseException as fault:  # a fault of tracing must cost neither the host nor the metrics
        if context is not None:  # the span may be current already
            with contextlib.suppress(Exception):
                _set_context(context)
        if not isinstance(fault, Exception):  # of a signal handler
            raise
        report_internal_error("span_start", fault)
        return None


def _start(target: Target, context: context_api.Context, parent: object) -> Scope:
    if parent is None and _tracing.root_bound is not None and _tracing.is_enabled():
        span = _tracing.start_root(target, context, _tracing.root_bound)
    else:
        span = _tracing.tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
    try:
        if _SPAN_KEY:
            inner = context_api.Context({**context, _SPAN_KEY: span} if context else {_SPAN_KEY: span})
        else:
            inner = trace_api.set_span_in_context(span, context)
        return Scope(span, inner, type(span) is not _UnsampledRoot and span.is_recording())
    except BaseException:
        span.end()  # nobody else will
        raise


def open_span_beside(target: Target, parent: Scope | None) -> Scope | None:
    """Start a span inside ``parent``, or the current one, and leave the context alone; None as of ``open_span``."""
    try:
        provider = provider_cell._TRACER_PROVIDER  # noqa: SLF001 - see provider_cell
        if provider is not _tracing.provider:
            _tracing.adopt(provider)
        if _tracing.tracer is None:
            return None
        context = _get_context() if parent is None else parent.context
        span = _tracing.tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
        return Scope(span, trace_api.set_span_in_context(span, context), span.is_recording(), is_current=False)
    except Exception as fault:  # noqa: BLE001 - a fault of tracing must cost neither the host nor the metrics
        report_internal_error("span_start", fault)
        return None


def set_span_attributes(scope: Scope, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a span; those that are None are left out."""
    try:
        scope.span.set_attributes({key: value for key, value in attributes.items() if value is not None})
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_attributes", fault)


def sampled_context(scope: Scope) -> SpanContext | None:
    """Return what an exemplar links to, or None where the span is not sampled."""
    context = scope.span.get_span_context()
    return context if context.trace_flags.sampled else None


def keep_context(scope: Scope) -> None:
    """Keep the context of a generator that yields, spans of its own that are open across the yield included."""
    try:
        scope.context = _get_context()
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_detach", fault)


def suspend_span(scope: Scope) -> None:
    """Stop the span from being current while a generator is between two items."""
    if scope.token is None:  # it never was
        return
    try:
        _reset_context(scope.token)
    except ValueError:  # closed from another context: there is nothing to restore there
        pass
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_detach", fault)
        with contextlib.suppress(Exception):  # the host's own context is worth a second try
            outer = scope.token.old_value
            _set_context(context_api.Context() if outer is Token.MISSING else outer)


def abandon_span(scope: Scope) -> None:
    """Take a span back whose call a signal handler cut short, as far as that is not done yet."""
    if scope.token is not None:
        outer = scope.token.old_value
        _set_context(context_api.Context() if outer is Token.MISSING else outer)
    if scope.span.is_recording():
        scope.span.end()


def resume_span(scope: Scope) -> None:
    """Make the span current again for a generator's next step."""
    try:
        scope.token = _set_context(scope.context)
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_attach", fault)


def _description_of(error: BaseException | None) -> str | None:
    """Return the message of an exception without calling its ``__str__``: that is the host's code."""
    first = error.args[0] if error is not None and error.args else None
    return first if isinstance(first, str) else None


def close_span(scope: Scope, failure: Failure | None = None, error: BaseException | None = None) -> None:
    """End the span, with its error type and status where the call failed; it must not be current any more."""
    if not scope.is_timed:
        _close(scope.span, failure, error)
        return
    began = time.thread_time()
    _close(scope.span, failure, error)
    _tracing.seconds += (time.thread_time() - began) * _SPANS_A_SAMPLE


def _close(span: Span, failure: Failure | None, error: BaseException | None) -> None:
    try:
        if failure is not None:
            span.set_attribute("error.type", failure.error_type)
            span.set_attribute("agent.outcome", failure.outcome.value)
            if failure.outcome in (Outcome.ERROR, Outcome.TIMEOUT):
                span.set_status(trace_api.StatusCode.ERROR, _description_of(error))
    except Exception as fault:  # noqa: BLE001 - a fault of ours must neither reach the host nor keep the span open
        report_internal_error("span_status", fault)
    try:
        span.end()
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_end", fault)
