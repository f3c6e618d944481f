"""Spans of decorated calls, made only when somebody listens (OpenTelemetry GenAI semantic conventions 0.66b2)."""

from __future__ import annotations

import contextlib
import time
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api

from agentgauge.catalogue import Outcome
from agentgauge.errors import report_internal_error
from agentgauge.recording.sampling import SPAN_KEY, Tracing

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
    "is_span_wanted",
    "keep_context",
    "leave_unheard",
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

_SPANS_A_SAMPLE = 256


class Scope:
    """An open span, and what detaches it; one that is not recording has nothing to end."""

    is_timed = False
    tells_message = True

    def __init__(self, span: Span, context: context_api.Context, is_recording: bool, is_current: bool = True) -> None:
        self.span = span
        self.is_recording = is_recording
        self.context = context
        self.token: Any = _set_context(context) if is_current else None


class _RootScope(Scope):
    """The scope of a root that nobody hears of; who makes one sets its span, its context and its token."""

    is_recording = False
    __init__ = object.__init__  # one that is written here would cost three times as much


_tracing = Tracing()


def span_seconds() -> float:
    """Return the CPU time that spans took in this process, estimated from one in 256."""
    return _tracing.seconds


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
        parent = context.get(SPAN_KEY) if SPAN_KEY else trace_api.get_current_span(context)
        if parent is not None and not _tracing.is_wanted_inside(parent, context):
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
    tracing = _tracing
    tracer, roots = tracing.tracer, tracing.roots
    if parent is None and roots is not None and (roots.ratio < 1 or not tracing.is_heard()) and tracing.is_enabled():
        root = roots.draw()
        if not root.is_sampled or not tracing.is_heard():
            scope: Scope = _RootScope()
            scope.span = root
            scope.context = inside = _inside(root, context) if context else context_api.Context({SPAN_KEY: root})
            scope.token = _set_context(inside)
            return scope
        tracer = root.traced_by(tracer)
    span = tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
    try:
        return Scope(span, _inside(span, context), span.is_recording())
    except BaseException:
        span.end()  # nobody else will
        raise


def is_span_wanted() -> bool:
    """Tell whether a call here would have a span that somebody hears of."""
    provider = provider_cell._TRACER_PROVIDER  # noqa: SLF001 - see provider_cell
    if provider is None:
        return False
    try:
        if provider is not _tracing.provider:
            _tracing.adopt(provider)
        return _tracing.tracer is not None and _tracing.is_heard() and _get_context() is not _tracing.unsampled_context
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_start", fault)
        return True


def open_span_beside(target: Target, parent: Scope | None) -> Scope | None:
    """Start a span inside ``parent``, or the current one, and leave the context alone; None as of ``open_span``."""
    try:
        provider = provider_cell._TRACER_PROVIDER  # noqa: SLF001 - see provider_cell
        if provider is not _tracing.provider:
            _tracing.adopt(provider)
        if _tracing.tracer is None:
            return None
        context = _get_context() if parent is None else parent.context
        if not _tracing.is_heard() and _is_valid(trace_api.get_current_span(context)):
            return None
        span = _tracing.tracer.start_span(target.span_name, context, target.span_kind, target.attributes)
        return Scope(span, _inside(span, context), span.is_recording(), is_current=False)
    except Exception as fault:  # noqa: BLE001 - a fault of tracing must cost neither the host nor the metrics
        report_internal_error("span_start", fault)
        return None


def set_span_attributes(scope: Scope, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a span; those that are None are left out."""
    try:
        scope.span.set_attributes({key: value for key, value in attributes.items() if value is not None})
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_attributes", fault)


def _inside(span: Span, context: context_api.Context) -> context_api.Context:
    if SPAN_KEY:
        return context_api.Context({**context, SPAN_KEY: span} if context else {SPAN_KEY: span})
    return trace_api.set_span_in_context(span, context)


def _is_valid(parent: object) -> bool:
    return isinstance(parent, trace_api.Span) and parent.get_span_context().is_valid


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


def leave_unheard(scope: Scope) -> bool:
    """Stop a span that nobody hears of from being current; False where it is heard of, and has to be ended."""
    if scope.is_recording:
        return False
    suspend_span(scope)
    return True


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
    if not scope.tells_message:
        error = None
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
