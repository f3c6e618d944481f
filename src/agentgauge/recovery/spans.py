"""The span of a recovery: it ties the failure, what was done, and what came of it together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from agentgauge.version import __version__

if TYPE_CHECKING:
    from types import TracebackType

    from agentgauge.recovery.failure import Attempt, Failure, Result

__all__ = ["RecoverySpan"]

_TRACE_ID_DIGITS, _SPAN_ID_DIGITS = 32, 16


class RecoverySpan:
    """A span ``recover {component}`` around a ``with`` block, the root of a trace; what actions do in it are its children.

    It is linked to the span that failed where the failure's labels ``trace_id`` and ``span_id`` name one.
    """

    def __init__(self, failure: Failure) -> None:
        link = _link(failure)
        tracer = trace_api.get_tracer("agentgauge", __version__)
        self._span = tracer.start_span(
            f"recover {failure.component}",
            Context(),
            attributes={
                "component": failure.component,
                "agentgauge.recovery.condition": failure.condition,
                "agentgauge.recovery.source": failure.source,
                **({"error.type": failure.error_type} if failure.error_type else {}),
            },
            links=[link] if link is not None else [],
        )
        self._stack = ExitStack()

    @property
    def trace_id(self) -> str:
        """The trace's id; empty where nobody records it."""
        context = self._span.get_span_context()
        return trace_api.format_trace_id(context.trace_id) if context.is_valid else ""

    def __enter__(self) -> Self:
        """Make the span the current one."""
        self._stack.enter_context(
            trace_api.use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        self._stack.close()
        self._span.end()

    def note(self, attempt: Attempt) -> None:
        """Add an event for an attempt."""
        self._span.add_event(
            "attempt",
            {
                "agentgauge.recovery.action": attempt.action,
                "agentgauge.recovery.reason": attempt.reason,
                "agentgauge.recovery.outcome": attempt.outcome,
                "agentgauge.recovery.seconds": attempt.seconds,
                **({"error.type": attempt.error_type} if attempt.error_type else {}),
            },
        )

    def end(self, result: Result) -> None:
        """Set what became of the failure."""
        self._span.set_attribute("agentgauge.recovery.result", result.kind)
        if result.attempts:
            self._span.set_attribute("agentgauge.recovery.action", result.attempts[-1].action)
        if result.kind == "escalated":
            self._span.set_status(Status(StatusCode.ERROR, result.reason))
        elif result.kind == "recovered":
            self._span.set_status(Status(StatusCode.OK))


def _link(failure: Failure) -> Link | None:
    trace_id, span_id = failure.labels.get("trace_id", ""), failure.labels.get("span_id", "")
    if (len(trace_id), len(span_id)) != (_TRACE_ID_DIGITS, _SPAN_ID_DIGITS):
        return None
    try:
        context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    except ValueError:
        return None
    return Link(context) if context.is_valid else None
