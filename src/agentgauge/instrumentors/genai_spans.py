"""Metrics from anybody's GenAI spans: those of pydantic-ai, Google ADK, AutoGen and MCP, and of others' instrumentations.

A span processor on the program's own tracer provider turns such spans into the series that our hooks make. What they cannot tell:

- **A span that the sampler drops never arrives**, and its calls, tokens and errors are in no series: at a ratio of 0.1 a tenth is
  seen. Sample all and let a collector drop, or decorate the calls; ``unsampled_reason`` tells. Decorators and the hooks of single
  frameworks record without spans, and miss nothing.
- Only the global tracer provider is listened to, and only once the program has set one.
- Spans that were open already are passed over.
- A cancelled call is told by the exception that leaves it while its span ends: OpenTelemetry itself leaves such spans without a
  status.
- A span is believed at its word, also where it has no more of a GenAI call than a name such as ``execute_tool lookup``.

One call has one owner: an LM call inside another one, whoever reports either, is a part of it; calls inside somebody else's span
find it in ``recording.tracing.span_frames``.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from agentgauge.catalogue import SAMPLED_TRACES
from agentgauge.errors import contain_internal_errors, is_fault_of_ours, report_internal_error
from agentgauge.instrumentors.provider_hook import ProviderHook, sampled_share, unsampled_reason
from agentgauge.instrumentors.span_operations import OpenSpan, deeper, place_of, seconds_ago
from agentgauge.instrumentors.span_shapes import failure_of_span, shape_of
from agentgauge.recording.outcome import failure_of
from agentgauge.recording.sampling import DEAF
from agentgauge.recording.tracing import span_frames

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.recorder import Recorder

__all__ = ["SpanListener", "instrument", "unsampled_reason"]

_OUR_SCOPE = "agentgauge"
_MOST_OPEN = 8_192
_FRAMEWORKS_BY_LIBRARY = {
    "dspy": "dspy",
    "langchain": "langchain",
    "langgraph": "langchain",
    "openai-agents": "openai-agents",
}
"""What instrumentations of others instrument, by the last part of their names: calls that a hook of ours reports itself."""


def instrument(kit: Kit) -> None:
    """Listen to the spans of the global tracer provider, set before or later, until everything is undone."""
    listener = SpanListener(kit.recorder, kit.name, active=kit.active)
    kit.undo.callback(listener.close)
    listener.open()


class SpanListener(SpanProcessor):
    """Records the calls that somebody else's spans tell of; none of its methods raises but what a signal handler does."""

    def __init__(self, recorder: Recorder, name: str, most_open: int = _MOST_OPEN, *, active: Collection[str] = ()) -> None:
        """Listen to nothing yet.

        Args:
            recorder: Where calls are recorded.
            name: What they are reported as: the label ``instrumentor``.
            most_open: How many spans may be open; past that the oldest are given up.
            active: The frameworks whose calls hooks of our own report.
        """
        self._recorder = recorder
        self._name = name
        self._most_open = most_open
        self._active = active
        self._open: dict[int, OpenSpan] = {}
        self._dead: deque[int] = deque()  # spans that were dropped without an end, noted amid a garbage collection
        self._asking = threading.RLock()
        self._is_closing = False
        self._hook = ProviderHook(self, self._note_sampler)
        _listeners.add(self)

    def open(self) -> None:
        """Begin to listen."""
        self._hook.install()

    def close(self) -> None:
        """Begin nothing any more; calls that are open end as they would, and with the last one nothing is left behind."""
        self._is_closing = True
        self._hook.uninstall()
        self._leave_when_done()

    def _note_sampler(self, provider: Any) -> None:
        share = 0.0 if getattr(provider, "_disabled", False) else sampled_share(provider)
        if share is not None:
            self._recorder.observe(SAMPLED_TRACES, (), share)

    # --- what the SDK calls ---------------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the span knows its parent
        """Take note of a span, and begin its call where that is told already."""
        scope: Any = span.instrumentation_scope
        name = "" if scope is None else scope.name
        if name == _OUR_SCOPE and not span_frames:
            return
        try:
            if name == _OUR_SCOPE:
                self._pass_through(span)
            elif not self._is_closing:
                self._start(span, name)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("genai_spans", fault)

    def on_end(self, span: ReadableSpan) -> None:
        """Record the call that the span stands for."""
        context = span.context
        if context is None or not (self._open or span_frames):
            return
        span_id = context.span_id
        if span_frames:
            span_frames.pop(span_id, None)
        opened = self._open.pop(span_id, None)
        if opened is None:  # ours, or begun before we listened, or in the process that forked this one
            return
        failure = None
        try:
            at = self._recorder.clock()
            with contain_internal_errors("genai_spans"):  # a call that has begun must end, whatever its span says
                failure = _failure_of(span, opened.handled)
                at -= seconds_ago(span.end_time)
            opened.end(self._recorder, span, failure, at, self._name)
            opened.let_go()
            if self._is_closing:
                self._leave_when_done()
        except BaseException as fault:
            if opened.operation is not None:
                opened.operation.abandon()
            if not is_fault_of_ours(fault):  # of a signal handler
                raise
            report_internal_error("genai_spans", fault)

    def shutdown(self) -> None:
        """Do nothing: there is nothing that waits to be sent."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Return True: there is nothing that waits to be sent."""
        return True

    # --- open spans -----------------------------------------------------------------------------------------------------------

    def _start(self, span: Span, scope: str) -> None:
        if self._dead or len(self._open) >= self._most_open:
            self._give_up()
        recorder = self._recorder
        outer = span.parent
        parent = None if outer is None else self._open.get(outer.span_id)
        if parent is not None and parent.shape is None and not parent.is_asked:
            with self._asking:  # a span may begin in two threads at once in it
                if not parent.is_asked:
                    parent.resolve(recorder, self._name)
        current, around = place_of(parent, is_remote=outer is not None and outer.is_remote)
        if parent is None and outer is not None and span_frames:  # the parent may be a span of ours inside somebody else's
            around = deeper(current, span_frames.get(outer.span_id))
        span_id = span.context.span_id
        opened = OpenSpan(span_id, parent, scope, (current, around), recorder.clock() - seconds_ago(span.start_time))
        framework = _framework_of(scope)
        opened.hook = framework if framework in self._active else None
        opened.reference = weakref.ref(span, partial(self._note_death, span_id))
        shape = shape_of(span)
        self._open[span_id] = opened  # before anything begins that only its end can end
        if shape is not None and shape.is_complete:
            opened.begin(recorder, shape, self._name)
        if opened.frame is not None and opened.frame is not current:
            span_frames[span_id] = opened.frame

    def _pass_through(self, span: Span) -> None:
        """Let what is inside a span of ours find the frame of somebody else's around it."""
        parent = span.parent
        frame = None if parent is None else span_frames.get(parent.span_id)
        if parent is None or frame is None:
            return
        span_frames[span.context.span_id] = frame
        opened = self._open.get(parent.span_id)
        if opened is not None and opened.shape is not None and span.name == f"execute_tool {opened.shape.name}":
            opened.give_up_to_decorator(self._recorder, self._name)

    def _note_death(self, span_id: int, _reference: Any) -> None:
        self._dead.append(span_id)  # no more than that: this runs wherever a garbage collection comes

    def _give_up(self) -> None:
        """Forget spans that were dropped without an end, and the oldest where too many are open."""
        while self._dead:
            with suppress(IndexError):  # another thread does the same
                self._forget(self._dead.popleft())
        while len(self._open) >= self._most_open:
            with suppress(RuntimeError, StopIteration):  # another thread adds or takes one just now
                self._forget(next(iter(self._open)))

    def _forget(self, span_id: int) -> None:
        span_frames.pop(span_id, None)
        opened = self._open.pop(span_id, None)
        if opened is not None:
            opened.drop(self._recorder)

    def _leave_when_done(self) -> None:
        if not self._open:
            self._hook.detach()

    def start_anew(self) -> None:
        """Forget what is open: in a forked child that is the parent's."""
        self._open = {}
        self._dead = deque()
        self._asking = threading.RLock()


setattr(SpanListener, DEAF, True)


@lru_cache(maxsize=1024)
def _framework_of(scope: str) -> str | None:
    """Return which framework of ``roster`` a library of that name instruments, None for others."""
    *_, last = scope.rpartition(".")
    return _FRAMEWORKS_BY_LIBRARY.get(last.replace("_", "-")) if "instrumentation" in scope else None


def _failure_of(span: ReadableSpan, handled: int) -> Failure | None:
    """Return how the call failed, by the span or by what leaves the call while the span ends: neither tells of cancellations."""
    failure = failure_of_span(span)
    if failure is None:
        leaving = sys.exc_info()[1]
        if leaving is not None and not isinstance(leaving, Exception) and id(leaving) != handled:
            failure = failure_of(leaving)
    return failure


_listeners: weakref.WeakSet[SpanListener] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    span_frames.clear()
    for listener in list(_listeners):
        listener.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
