"""Spans of decorated calls, made only when somebody listens (OpenTelemetry GenAI semantic conventions 0.66b2)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.trace import propagation

from agentgauge.catalogue import Outcome
from agentgauge.config import is_tracing_disabled
from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.series import Target

__all__ = ["Scope", "close_span", "keep_context", "open_span", "provider_cell", "resume_span", "suspend_span"]


class _PublicProvider:
    """What ``provider_cell`` is where the API no longer keeps the provider in its module."""

    @property
    def _TRACER_PROVIDER(self) -> TracerProvider:  # noqa: N802 - the name of what it stands for
        return trace_api.get_tracer_provider()


provider_cell: Any = trace_api if hasattr(trace_api, "_TRACER_PROVIDER") else _PublicProvider()
"""``provider_cell._TRACER_PROVIDER`` is None while no provider was set: the hot path's one look, 10 ns instead of 150."""

# detach() of the API logs a stack trace where a coroutine is closed from another context; the runtime behind it just raises.
_runtime: Any = getattr(context_api, "_RUNTIME_CONTEXT", context_api)

# The variable behind the runtime and the key of the span in it: a third of the price of get_current_span().
_get_context: Callable[[], context_api.Context] = getattr(
    getattr(_runtime, "_current_context", None), "get", _runtime.get_current
)
_SPAN_KEY: Any = getattr(propagation, "_SPAN_KEY", None)


class Scope:
    """An open span, and what detaches it."""

    __slots__ = ("context", "span", "token")

    def __init__(self, span: Span, context: context_api.Context) -> None:
        self.span = span
        self.context = context
        self.token: Any = _runtime.attach(context)


class _Tracing:
    """The tracer of the provider that is set now, and what its sampler lets us skip."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Tracer | None = None
        self.is_unsampled_parent_final = False
        self.unsampled_parent: Span | None = None

    def adopt(self, provider: TracerProvider) -> None:
        tracer = None if is_tracing_disabled() else provider.get_tracer("agentgauge")
        self.tracer = None if isinstance(tracer, trace_api.NoOpTracer) else tracer
        self.is_unsampled_parent_final = _ends_with_unsampled_parents(getattr(tracer, "sampler", None))
        self.unsampled_parent = None
        self.provider = provider

    def has_unsampled_parent(self, parent: Span) -> bool:
        """Tell whether the sampler would say no because the local parent is not sampled."""
        if not self.is_unsampled_parent_final:
            return False
        parent_context = parent.get_span_context()
        if not parent_context.is_valid or parent_context.is_remote or parent_context.trace_flags.sampled:
            return False
        self.unsampled_parent = parent  # its next child is not asked again
        return True


_tracing = _Tracing()


def _ends_with_unsampled_parents(sampler: object) -> bool:
    sampling = sys.modules.get("opentelemetry.sdk.trace.sampling")  # not loaded means: not the SDK's sampler
    if sampling is None or not isinstance(sampler, sampling.ParentBased):
        return False
    return getattr(sampler, "_local_parent_not_sampled", None) is sampling.ALWAYS_OFF


def open_span(target: Target) -> Scope | None:
    """Start a span for a call and make it current; None where nobody listens, the sampler would say no, or tracing fails."""
    try:
        provider = provider_cell._TRACER_PROVIDER  # noqa: SLF001 - see provider_cell
        if provider is not _tracing.provider:
            _tracing.adopt(provider)
        tracer = _tracing.tracer
        if tracer is None:
            return None
        parent_context = _get_context()
        parent = parent_context.get(_SPAN_KEY) if _SPAN_KEY else trace_api.get_current_span(parent_context)
        if isinstance(parent, trace_api.Span) and (parent is _tracing.unsampled_parent or _tracing.has_unsampled_parent(parent)):
            return None
        span = tracer.start_span(target.span_name, parent_context, attributes=target.attributes)
        return Scope(span, trace_api.set_span_in_context(span, parent_context))
    except Exception as fault:  # noqa: BLE001 - a fault of tracing must cost neither the host nor the metrics
        report_internal_error("span_start", fault)
        return None


def sampled_context(scope: Scope) -> SpanContext | None:
    """Return what an exemplar links to, or None where the span is not sampled."""
    context = scope.span.get_span_context()
    return context if context.trace_flags.sampled else None


def keep_context(scope: Scope) -> None:
    """Keep the context of a generator that yields, spans of its own that are open across the yield included."""
    scope.context = _runtime.get_current()


def suspend_span(scope: Scope) -> None:
    """Stop the span from being current while a generator is between two items."""
    try:
        _runtime.detach(scope.token)
    except ValueError:  # closed from another context: there is nothing to restore there
        pass
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_detach", fault)


def resume_span(scope: Scope) -> None:
    """Make the span current again for a generator's next step."""
    try:
        scope.token = _runtime.attach(scope.context)
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_attach", fault)


def _description_of(error: BaseException | None) -> str | None:
    """Return the message of an exception without calling its ``__str__``: that is the host's code."""
    first = error.args[0] if error is not None and error.args else None
    return first if isinstance(first, str) else None


def close_span(scope: Scope, failure: Failure | None = None, error: BaseException | None = None) -> None:
    """End the span, with its error type and status where the call failed; it must not be current any more."""
    span = scope.span
    try:
        if failure is not None and span.is_recording():
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
