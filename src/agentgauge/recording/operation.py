"""A call that an instrumentor reports, from a wrapped method, from a framework's callbacks or from somebody else's span."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import CALLS_SUPPRESSED, INSTRUMENTOR, INSTRUMENTOR_CALLS
from agentgauge.errors import is_fault_of_ours, report_internal_error
from agentgauge.recording.call import Call, end_call
from agentgauge.recording.frame import Frame, open_frame
from agentgauge.recording.points import clean_label
from agentgauge.recording.recorder import SOFT_LIMIT, START
from agentgauge.recording.series import LM, RUN, TASK, TOOL, WORKFLOW, LmName
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import open_span, open_span_beside, provider_cell, set_span_attributes, span_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.catalogue import Family
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import SeriesKind, Target

__all__ = ["Operation", "fingerprint_of", "forsake", "one_call", "suppressed_labels"]

_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_MOST_PARTS = 2_000
_LONGEST = 65_536
_DEEPEST = 20


class Operation(Call):
    """One call; it begins when it is made. No method raises but what a signal handler of the host raised meanwhile.

    Attached, the default, it is around what runs in this context until it ends, and ends in the same context: wrapped methods.
    Beside it, it changes no context: callbacks that come from anywhere; what runs inside names it as ``parent``.

    A call that another layer counts already is suppressed: it is recorded nowhere, but in ``agentgauge_calls_suppressed_total``.

    Args:
        recorder: Where it is recorded.
        kind: What it is; RUN is a task that is the run of ``agent``, unless that agent is running it already.
        name: The task, tool or workflow; an ``LmName`` for an LM call. For a run: its task.
        instrumentor: Who reports it, such as ``dspy``.
        agent: Whose it is; by default that of the call around it.
        parent: The call around it, where the context does not tell: it is ``beside`` then.
        is_beside: Whether it leaves the context alone although there is no ``parent``.
        arguments: Of a tool call: what tells repeated calls apart; they are not kept.
        attributes: More attributes of its span.
        start: When it began by the recorder's clock, where that is not now.
        has_span: False where a span of somebody else's is what is reported.
    """

    __slots__ = ("_is_beside", "frame", "is_suppressed", "kind", "name", "start")

    def __init__(
        self,
        recorder: Recorder,
        kind: SeriesKind,
        name: str | LmName,
        *,
        instrumentor: str,
        agent: str | None = None,
        parent: Operation | None = None,
        is_beside: bool = False,
        arguments: Any = None,
        attributes: Mapping[str, Any] | None = None,
        start: float | None = None,
        has_span: bool = True,
    ) -> None:
        super().__init__(recorder)
        self.kind = kind
        self.name = name
        self.frame: Frame | None = None
        self.is_suppressed = True  # until it has begun
        self.start = start
        self._is_beside = is_beside or parent is not None
        try:
            current = self._current(parent)
            around = open_frame(current) if type(current) is Frame else None
            owner = None if around is None else _owner(around, kind, name, agent, instrumentor)
            if owner is not None:
                recorder.observe(CALLS_SUPPRESSED, suppressed_labels(instrumentor, owner, kind), 1)
                self.frame = around
                return
            recorder.observations.append(one_call(instrumentor))
            if kind is TOOL and around is not None:
                around.note_tool_call(recorder, clean_label(name), fingerprint_of(arguments))
            target, frame = _target_and_frame(recorder, current, kind, name, agent, instrumentor)
            self.frame = frame
            self.is_suppressed = False
            frame.call = self  # how it is found where a signal handler cuts off its way to whoever began it
            if self._is_beside:
                self._begin_beside(target, parent, has_span=has_span)
            else:
                self._begin_around(target, current, frame)
        except BaseException as fault:  # a fault of ours must not reach the host
            if not is_fault_of_ours(fault):
                self.end(fault)
                raise
            report_internal_error("start", fault)
        if self._scope is not None:
            self._scope.tells_message = False  # those of frameworks quote what a model answered
            if attributes:
                self._set_first_attributes(attributes)

    def _set_first_attributes(self, attributes: Mapping[str, Any]) -> None:
        try:
            self.set_attributes(attributes)
        except BaseException as error:  # of a signal handler: the call does not begin
            self.end(error)
            raise

    def _begin_around(self, target: Target, current: str, frame: Frame) -> None:
        recorder = self._recorder
        self._outer = current
        self._agent = frame
        self._token = current_agent.set(frame)
        if provider_cell._TRACER_PROVIDER is not None:  # noqa: SLF001 - see provider_cell
            self._scope = open_span(target)
        record = self._record = [target, recorder.clock() if self.start is None else self.start, None, None]
        recorder.append(record)
        if len(recorder.buffer) > SOFT_LIMIT:
            recorder.relieve()

    def set_attributes(self, attributes: Mapping[str, Any] | None) -> None:
        """Add attributes to its span, where it has one; those that are None are left out."""
        if attributes and self._scope is not None and self._scope.is_recording:
            set_span_attributes(self._scope, attributes)

    @property
    def is_recording(self) -> bool:
        """Whether it has a span that takes attributes: those that are costly to make need not be made else."""
        return self._scope is not None and self._scope.is_recording

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it with the exception that left it, or with the failure that the framework states.

        Args:
            error: The exception.
            failure: The outcome and error type, where there is no exception.
            end: When it ended by the recorder's clock, where that is not now.
        """
        if self.is_suppressed:
            return
        self.is_suppressed = True  # a framework may tell twice
        if not self._is_beside:
            super().end(error, failure)
            return
        try:
            end_call(self._recorder, self._record, self._scope, None, error, failure, frame=self.frame, at=end)
        except BaseException:  # of a signal handler
            self.abandon()
            raise

    def _current(self, parent: Operation | None) -> str:
        """Tell where it begins: inside ``parent``, a call of this context, or a span of somebody else's that is deeper still."""
        if parent is not None and parent.frame is not None:
            return parent.frame
        current = current_agent.get()
        if span_frames:
            frame = span_frames.current()
            if frame is not None and (type(current) is not Frame or any(each is current for each in frame.around())):
                return frame
        return current

    def _begin_beside(self, target: Target, parent: Operation | None, *, has_span: bool) -> None:
        recorder = self._recorder
        if has_span and provider_cell._TRACER_PROVIDER is not None:  # noqa: SLF001 - see provider_cell
            self._scope = open_span_beside(target, None if parent is None else parent._scope)  # noqa: SLF001 - of this class
        self._record = [target, recorder.clock() if self.start is None else self.start, None, None]
        recorder.append(self._record)
        if len(recorder.buffer) > SOFT_LIMIT:
            recorder.relieve()

    def seconds_since_start(self) -> float:
        """Return how long it has been going on."""
        return 0.0 if self._record is None else self._recorder.clock() - self._record[START]


def forsake(operation: Operation) -> None:
    """Leave nothing open of an operation that a signal handler cut off from whoever would end it, however far it had come.

    The handler may come when ``__init__`` has returned and before anybody holds what it made: CPython looks for signals there. So
    who has to be sure makes it with ``__new__``, and calls ``__init__`` where an exception leads here.
    """
    with suppress(AttributeError):  # it had not so much as begun to begin
        operation.abandon()


@lru_cache(maxsize=64)
def one_call(instrumentor: str) -> tuple[Family, Labels, float]:
    """Return the observation of one call; a record comes with each, and whoever relieves the recorder of that counts both."""
    return INSTRUMENTOR_CALLS, ((INSTRUMENTOR, instrumentor),), 1


@lru_cache(maxsize=256)
def suppressed_labels(instrumentor: str, owner: str, kind: SeriesKind) -> Labels:
    """Return the labels under which a call is counted that ``owner`` counts already."""
    return ((INSTRUMENTOR, instrumentor), ("owner", owner), ("kind", kind.value))


def _owner(current: Frame, kind: SeriesKind, name: str | LmName, agent: str | None, instrumentor: str) -> str | None:
    """Return who counts this call already, None where nobody does.

    An LM call inside another LM call is a part of it. Anything else is told from a recursion of its own by the instrumentor.
    """
    if kind is LM:
        return None if current.lm is None or current.lm.is_closed else current.lm.instrumentor or "decorator"
    if current.kind is not kind or current.instrumentor == instrumentor:
        return None
    is_same = current.name == name if kind is not RUN else current == agent
    return (current.instrumentor or "decorator") if is_same else None


def _target_and_frame(
    recorder: Recorder, current: str, kind: SeriesKind, name: str | LmName, agent: str | None, instrumentor: str
) -> tuple[Target, Frame]:
    inside = clean_label(agent) if agent else str(current)
    is_run = kind is RUN and inside != current
    series_kind = TASK if kind is RUN else kind
    series_agent = "" if kind is WORKFLOW or kind is LM else inside
    target = recorder.admission.known_target(series_kind, series_agent, name, is_entry=is_run)
    frame_kind = RUN if is_run else series_kind
    frame_name = name.operation if isinstance(name, LmName) else inside if is_run else clean_label(name)
    return target, Frame.enter(current, frame_kind, frame_name, inside, instrumentor)


def fingerprint_of(arguments: Any) -> int | None:
    """Return a number that equal arguments share, for plain data of a moderate size; None for anything else, or nothing."""
    if arguments is None:
        return None
    parts: list[Any] = []
    return hash(tuple(parts)) if _walk(arguments, parts, _DEEPEST) else None


def _walk(value: Any, parts: list[Any], depth: int) -> bool:
    """Add what tells ``value`` apart; False where it is no plain data, too large or too deep. No code of the host's runs."""
    kind = type(value)
    if len(parts) > _MOST_PARTS or depth < 0:
        return False
    parts.append(kind)
    if kind in _PLAIN:
        parts.append(value)
        return kind not in (str, bytes) or len(value) <= _LONGEST
    if kind is dict:
        parts.append(len(value))
        if len(value) > _MOST_PARTS or not all(type(key) is str for key in value):
            return False
        return all(_walk(key, parts, depth) and _walk(value[key], parts, depth - 1) for key in sorted(value))
    if kind is list or kind is tuple:
        parts.append(len(value))
        return len(value) <= _MOST_PARTS and all(_walk(item, parts, depth - 1) for item in value)
    return False
