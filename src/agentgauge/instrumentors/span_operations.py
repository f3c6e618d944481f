"""Somebody else's span that is open, and the operation that it is counted as."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan

from agentgauge.catalogue import CALLS_SUPPRESSED, INSTRUMENTOR, Outcome
from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.span_shapes import answer_of, attributes_of, first_chunk_of, lm_name_of, prompt_of, shape_of
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.operation import Operation, fingerprint_of, forsake
from agentgauge.recording.outcome import Failure
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import Scope, span_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from weakref import ref

    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.trace import SpanContext

    from agentgauge.instrumentors.span_shapes import Shape
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import LmName

__all__ = ["NEVER_ENDED", "OpenSpan", "deeper", "place_of", "seconds_ago"]

NEVER_ENDED = Failure(Outcome.ABANDONED, "span_never_ended")
"""How a call ends whose span was dropped: nobody says how it went."""

_NOWHERE = Context()
_UNTIMED_SECONDS = 0.001  # what a span's start and end are late by when nobody dated them
_DAY_SECONDS = 86_400.0


def seconds_ago(unix_ns: int | None) -> float:
    """Return how long ago a span says that something was; 0 where that is now.

    That is asked at the very moment, and taken from the recorder's clock: the two clocks have no time to part, as they do in days
    of drift and at a step of the wall clock since the recorder began. What others dated stays where they put it, within a day.
    """
    if unix_ns is None:
        return 0.0
    seconds = (time.time_ns() - unix_ns) / 1e9
    return seconds if _UNTIMED_SECONDS < seconds < _DAY_SECONDS else 0.0


def deeper(current: str, frame: Frame | None, *, is_surer: bool = False) -> str:
    """Return the deeper one of where this context is and the frame of a span's parent.

    Args:
        current: What ``current_agent`` is.
        frame: The parent's.
        is_surer: Whether the parent knows better where both have nothing to do with one another: what came over a wire runs in
            the context of whoever opened the connection.
    """
    if frame is None:
        return current
    if is_surer or type(current) is not Frame or any(each is current for each in frame.around()):
        return frame
    return current


class _InSpan(Operation):
    """What makes an operation begin where its span does."""

    __slots__ = ()

    _around: str

    def _current(self, parent: Operation | None) -> str:  # noqa: ARG002 - the span tells
        return self._around

    def link(self, context: SpanContext | None) -> None:
        """Let exemplars lead to the span; nothing is written to it, for it is not ours."""
        if context is not None and context.trace_flags.sampled:
            self._scope = Scope(NonRecordingSpan(context), _NOWHERE, is_recording=True, is_current=False)


class _SpanOperation(_InSpan):
    __slots__ = ("_around",)

    def __init__(self, recorder: Recorder, kind: SeriesKind, name: str, around: str, **options: Any) -> None:
        self._around = around
        super().__init__(recorder, kind, name, is_beside=True, has_span=False, **options)


class _SpanLmCall(_InSpan, LmCall):
    __slots__ = ("_around",)

    def __init__(self, recorder: Recorder, lm: LmName, around: str, **options: Any) -> None:
        self._around = around
        super().__init__(recorder, lm, is_beside=True, has_span=False, **options)


class OpenSpan:
    """A span that has begun.

    Runs, workflows and tasks begin as operations when the span does: one that hangs is seen. LM calls and tools only leave
    a frame then and are recorded when the span ends: until then spans go on to learn which model it is, and how a tool is called.

    Attributes:
        span_id: Its id.
        parent: The span around it, where that was open and somebody else's, too; see ``let_go``.
        scope: Which library made it.
        context: What ``current_agent`` was when it began.
        around: The agent or frame that it began in.
        start: When it began, by the recorder's clock.
        handled: Which exception was being handled when it began.
        reference: A weak reference to it.
        shape: What it stands for; None as long as that is unknown.
        frame: Where calls inside are: its own frame, or that around it.
        operation: What it is recorded as.
        is_suppressed: Whether another layer counts it.
        hook: Our hook that reports what this library sees, where it is at work.
        owner: The span that it is a part of then.
        failure: How the call failed by the word of a span inside that is the same call.
        inside: What was counted inside while it was unknown what it is.
        is_asked: Whether it was asked since it began.
        is_over: Whether it has ended, or was given up.
    """

    __slots__ = (
        "around",
        "context",
        "failure",
        "frame",
        "handled",
        "hook",
        "inside",
        "is_asked",
        "is_over",
        "is_suppressed",
        "operation",
        "owner",
        "parent",
        "reference",
        "scope",
        "shape",
        "span_id",
        "start",
    )

    def __init__(self, span_id: int, parent: OpenSpan | None, scope: str, place: tuple[str, str], start: float) -> None:
        """Take note of it; ``place`` is what ``place_of`` returns."""
        self.span_id = span_id
        self.parent = parent
        self.scope = scope
        self.context, self.around = place
        self.start = start
        self.handled = id(sys.exc_info()[1])
        self.reference: ref[Span] | None = None
        self.shape: Shape | None = None
        self.frame: Frame | None = self.around if type(self.around) is Frame else None
        self.operation: _SpanOperation | _SpanLmCall | None = None
        self.is_suppressed = False
        self.hook: str | None = None
        self.owner: OpenSpan | None = None
        self.failure: Failure | None = None
        self.inside: set[tuple[SeriesKind, str]] | None = None
        self.is_asked = False
        self.is_over = False

    def begin(self, recorder: Recorder, shape: Shape, instrumentor: str) -> None:
        """Be what ``shape`` says, from the start on; calls inside find its frame."""
        self.shape = shape
        if self._is_owned(recorder, shape, instrumentor):
            return
        if shape.kind in (SeriesKind.LM, SeriesKind.TOOL):
            agent = clean_label(shape.agent) if shape.agent else str(self.around)
            self.frame = Frame.enter(self.around, shape.kind, clean_label(shape.name), agent, instrumentor)
        else:
            self._operate(recorder, shape, instrumentor, {})
            if self.operation is not None:
                self.frame = self.operation.frame
        self._tell_parents(shape)

    def resolve(self, recorder: Recorder, instrumentor: str) -> None:
        """Look whether it tells by now what it is: some get their attributes when they have begun, before anything inside."""
        self.is_asked = True
        span = self.reference() if self.reference is not None else None
        shape = shape_of(span) if span is not None else None
        if shape is not None and shape.is_complete:
            self.begin(recorder, shape, instrumentor)
            if self.frame is not None:
                span_frames[self.span_id] = self.frame

    def end(self, recorder: Recorder, span: ReadableSpan, failure: Failure | None, at: float, instrumentor: str) -> None:
        """Record how it ended, or all of it where only its end tells what it was."""
        shape = self.shape
        if shape is None or (self.operation is None and not self.is_suppressed):
            shape = shape_of(span) or shape
        if shape is None:
            return
        if self.is_suppressed:
            if shape.is_mcp and failure is not None and self.owner is not None:
                self.owner.failure = failure  # a server knows that its tool failed; the client gets an answer like any other
            return
        if self.operation is None:
            is_late = self.shape is None
            self.shape = shape
            if is_late:
                if self._is_owned(recorder, shape, instrumentor):
                    return
                self._tell_parents(shape)
            self._operate(recorder, shape, instrumentor, attributes_of(span))
        operation = self.operation
        if operation is None:
            return
        with contain_internal_errors("genai_spans"):
            operation.link(span.context)
            if isinstance(operation, LmCall):
                operation.note_prompt(prompt_of(span))
            if operation.frame is not None and self.frame is not None and self.frame is not self.around:
                operation.frame.has_inner |= self.frame.has_inner
        operation.end(failure=failure or self.failure, end=max(at, self.start))

    def drop(self, recorder: Recorder) -> None:
        """Give up waiting for its end."""
        self.let_go()
        if self.operation is not None:
            self.operation.end(failure=NEVER_ENDED, end=recorder.clock())

    def let_go(self) -> None:
        """Hold no more, once it is over, than the nearest span around it that is open: spans inside may still ask for that.

        A program whose every span begins in the one before, which ends then, would otherwise keep them all.
        """
        self.is_over = True
        outer = self.parent
        while outer is not None and outer.is_over:
            outer = outer.parent
        self.parent = outer
        self.owner = None

    def _operate(self, recorder: Recorder, shape: Shape, instrumentor: str, attributes: Mapping[str, Any]) -> None:
        options = {"instrumentor": instrumentor, "agent": shape.agent or None, "start": self.start}
        if shape.kind is not SeriesKind.LM:
            begun = _SpanOperation.__new__(_SpanOperation)
            try:
                _SpanOperation.__init__(
                    begun, recorder, shape.kind, shape.name, self.around, arguments=shape.arguments, **options
                )
            except BaseException:
                forsake(begun)
                raise
            self.operation = begun
            return
        call = _SpanLmCall.__new__(_SpanLmCall)
        try:
            _SpanLmCall.__init__(call, recorder, lm_name_of(shape, attributes), self.around, **options)
        except BaseException:
            forsake(call)
            raise
        self.operation = call
        with contain_internal_errors("genai_spans"):  # the call has begun, and must end whatever it says of its answer
            call.note_answer(answer_of(attributes))
            first_chunk = first_chunk_of(attributes)
            if first_chunk is not None:
                call.note_first_chunk(first_chunk)

    # --- one owner for every call ---------------------------------------------------------------------------------------------

    def _is_owned(self, recorder: Recorder, shape: Shape, instrumentor: str) -> bool:
        """Tell whether another layer counts this call, and count that; then it is a part of the frame around it."""
        owner = self._owner(shape)
        if owner is None and _key(shape) in (self.inside or ()):
            owner = instrumentor  # a span inside was counted as what this one turns out to be at its end
        if owner is None:
            return False
        self._suppress(recorder, shape, instrumentor, owner)
        return True

    def _suppress(self, recorder: Recorder, shape: Shape, instrumentor: str, owner: str) -> None:
        self.is_suppressed = True
        labels = ((INSTRUMENTOR, instrumentor), ("owner", clean_label(owner)), ("kind", shape.kind.value))
        recorder.observe(CALLS_SUPPRESSED, labels, 1)

    def give_up_to_decorator(self, recorder: Recorder, instrumentor: str) -> None:
        """Leave the call to a function directly inside, of its name, that the user decorated as a tool."""
        shape = self.shape
        if shape is None or shape.kind is not SeriesKind.TOOL or self.is_suppressed or self.operation is not None:
            return
        self._suppress(recorder, shape, instrumentor, "decorator")
        if type(self.around) is Frame and type(current_agent.get()) is not Frame:  # the decorator does not know of this run
            self.around.note_tool_call(recorder, clean_label(shape.name), fingerprint_of(shape.arguments))

    def _owner(self, shape: Shape) -> str | None:
        """Return who counts it, by library, or by the hook that reported it; None where nobody does.

        An LM call inside another is a part of it, and so is a call of the same name directly inside one of its kind by another
        library. What a tool calls over MCP under its own name, with or without a prefix, is that tool.
        """
        if self.hook is not None:
            return self.hook
        around = self.around
        if type(around) is not Frame:
            return None
        model = next((frame for frame in around.around() if frame.kind is SeriesKind.LM), None)
        if model is not None:
            return self._reporter_of(model)
        if around.kind is not shape.kind or not _is_same(shape, around):
            return None
        reporter = self._reporter_of(around)
        is_recursion = self.owner is not None and self.owner.scope == self.scope and not shape.is_mcp
        return None if is_recursion else reporter

    def _reporter_of(self, frame: Frame) -> str:
        """Find the span whose frame it is, and return who made it, or whose else the frame is."""
        outer = self.parent
        while outer is not None and (outer.frame is not frame or outer.shape is None or outer.is_suppressed):
            outer = outer.parent
        self.owner = outer
        return (outer.scope if outer is not None else "") or frame.instrumentor or "decorator"

    def _tell_parents(self, shape: Shape) -> None:
        """Let spans around that do not tell yet what they are know that this call is counted."""
        outer = self.parent
        while outer is not None and outer.shape is None:
            outer.inside = outer.inside or set()
            outer.inside.add(_key(shape))
            outer = outer.parent


def _key(shape: Shape) -> tuple[SeriesKind, str]:
    return shape.kind, "" if shape.kind is SeriesKind.LM else shape.agent if shape.kind is SeriesKind.RUN else shape.name


def _is_same(shape: Shape, around: Frame) -> bool:
    if shape.kind is SeriesKind.RUN:
        return bool(shape.agent) and str(around) == clean_label(shape.agent)
    name = clean_label(shape.name)
    return around.name == name or (shape.is_mcp and around.name.endswith(tuple(mark + name for mark in "_-.:/")))


def place_of(parent: OpenSpan | None, *, is_remote: bool) -> tuple[str, str]:
    """Return what ``current_agent`` is, and the agent or frame that a span inside ``parent`` begins in."""
    current = current_agent.get()
    if parent is None:
        return current, current
    return current, deeper(current, parent.frame, is_surer=is_remote or current is parent.context)
