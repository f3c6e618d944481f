"""The life of one call outside the hot wrappers: started, suspended and resumed between items, ended once."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING

from agentgauge.catalogue import TASK_RETRIES, Outcome
from agentgauge.errors import ConfigurationError, contain_internal_errors, is_fault_of_ours, report_internal_error
from agentgauge.recording.frame import Frame
from agentgauge.recording.outcome import UNTOLD, Failure, failure_of
from agentgauge.recording.points import clean_label
from agentgauge.recording.recorder import END, ENDING, SOFT_LIMIT, START, TARGET
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import (
    abandon_span,
    close_span,
    keep_context,
    open_span,
    provider_cell,
    resume_span,
    sampled_context,
    suspend_span,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.recording.recorder import Record, Recorder
    from agentgauge.recording.series import Target
    from agentgauge.recording.tracing import Scope

__all__ = ["Call", "TrackedCall", "abandon_call", "end_call"]


def end_call(
    recorder: Recorder,
    record: Record | None,
    scope: Scope | None,
    token: Token[str] | None,
    error: BaseException | None = None,
    failure: Failure | None = None,
    *,
    frame: Frame | None = None,
    at: float | None = None,
) -> None:
    """Complete a call's record, leave its agent and end its span; ``scope`` and ``token`` are those still in force.

    Args:
        recorder: Where the call was recorded.
        record: The call, or None where its start could not be recorded.
        scope: Its span, where it has one that is current.
        token: What leaves the agent, where the call entered one.
        error: The exception that left the call.
        failure: The outcome, where no exception tells it.
        frame: Where the call was, where it is not the current one.
        at: When it ended, where that is not now.
    """
    try:
        if scope is not None:
            suspend_span(scope)
        if token is not None:
            frame = leave_agent(token)
        if error is not None:
            failure = failure_of(error)
        if record is not None:
            context = sampled_context(scope) if scope is not None and scope.is_recording else None
            if failure is not None or context is not None:
                record[ENDING] = failure, context
            end = recorder.clock() if at is None else at
            if frame is not None:
                frame.close(recorder, record[START], end, failure)
            record[END] = end  # the last of all: from then on the record is the drain's
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        if record is not None and record[END] is None:  # it still counts, and must not look as if it ran for ever
            record[ENDING] = failure or (None if error is None else UNTOLD), None
            record[END] = record[START]
        report_internal_error("end", fault)
    if scope is not None and scope.is_recording:
        close_span(scope, failure, error)


def abandon_call(record: Record | None, scope: Scope | None) -> None:
    """Leave nothing open of a call whose start or end a signal handler cut short."""
    if record is not None and record[END] is None:
        record[ENDING] = UNTOLD, None
        record[END] = record[START]
    if scope is not None:
        abandon_span(scope)


def leave_agent(token: Token[str]) -> Frame | None:
    """Stop the agent's name from flowing on; nothing to do where the call was closed from another context.

    Returns:
        The frame that was left.
    """
    try:
        current = current_agent.get()
        current_agent.reset(token)
        return current if isinstance(current, Frame) else None
    except ValueError:
        pass
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("agent_leave", fault)
        with contain_internal_errors("agent_leave"):
            current_agent.set("" if token.old_value is Token.MISSING else token.old_value)
    return None


class Call:
    """One call of a generator, or of ``track``; no method raises but what a signal handler of the host raised meanwhile."""

    __slots__ = ("_agent", "_outer", "_record", "_recorder", "_scope", "_token")

    def __init__(self, recorder: Recorder) -> None:
        """Make one that has not begun."""
        self._recorder = recorder
        self._record: Record | None = None
        self._scope: Scope | None = None
        self._token: Token[str] | None = None
        self._agent: str | None = None
        self._outer: str | None = None  # the agent to go back to, until the token tells it

    def begin(self, enter: Callable[[], tuple[Target, Token[str] | None]]) -> None:
        """Start the call; ``enter`` finds its target, and what leaves the agent where it entered one."""
        recorder = self._recorder
        try:
            self._outer = current_agent.get()
            target, self._token = enter()
            if self._token is not None:
                self._agent = current_agent.get()
            if provider_cell._TRACER_PROVIDER is not None:  # noqa: SLF001 - see provider_cell
                self._scope = open_span(target)
            record = [target, recorder.clock(), None, None]
            self._record = record
            recorder.append(record)
            if len(recorder.buffer) > SOFT_LIMIT:
                recorder.relieve()
        except BaseException as fault:  # a fault of ours must not reach the host
            if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
                self.end(fault)
                raise
            report_internal_error("start", fault)

    def suspend(self) -> None:
        """Give the consumer its own context back between two items, and keep that of the generator for its next step."""
        if self._scope is not None:
            keep_context(self._scope)
            suspend_span(self._scope)
        if self._token is not None:
            left = leave_agent(self._token)
            if left is not None:
                self._agent = left
        self._token = self._outer = None

    def resume(self) -> None:
        """Take the call's context up again for the next step."""
        if self._agent is not None:
            try:
                self._token = current_agent.set(self._agent)
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
                report_internal_error("agent_enter", fault)
        if self._scope is not None:
            resume_span(self._scope)

    def end(self, error: BaseException | None = None, failure: Failure | None = None) -> None:
        """End the call with the exception that left it, or with the failure that the program states."""
        try:
            end_call(self._recorder, self._record, self._scope, self._token, error, failure)
        except BaseException:  # of a signal handler
            self.abandon()
            raise
        self._record = self._scope = self._token = self._outer = None

    def abandon(self) -> None:
        """Leave nothing open of a call that a signal handler of the host cut short; nothing to do after its end."""
        record, scope, token, outer = self._record, self._scope, self._token, self._outer
        self._record = self._scope = self._token = self._outer = None
        if token is not None:
            outer = "" if token.old_value is Token.MISSING else token.old_value
        abandon_call(record, scope)
        if outer is not None:
            current_agent.set(outer)


class TrackedCall(Call):
    """What ``with track(...) as call`` gives: the place to state an outcome that no exception tells."""

    __slots__ = ("_failure",)

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._failure: Failure | None = None

    def set_outcome(self, outcome: str, *, error_type: str | None = None) -> None:
        """State how the call ends, unless an exception leaves the block: that tells it better.

        Args:
            outcome: ``success``, ``error``, ``timeout``, ``cancelled`` or ``abandoned``; any other is reported as an
                internal error and counts as an error, so that a slip of the pen hides no failure.
            error_type: A low-cardinality name of what went wrong, such as a class name; by default the outcome's own.
        """
        try:
            stated = Outcome(outcome)
        except Exception:  # noqa: BLE001 - what is given may raise anything when it is looked at
            self._failure = UNTOLD
            allowed = ", ".join(Outcome)
            with contain_internal_errors("set_outcome"):
                raise ConfigurationError(f"set_outcome({outcome!r}): give one of {allowed}") from None
            return
        self._failure = None if stated is Outcome.SUCCESS else Failure(stated, stated.value)
        if error_type and self._failure:
            with contain_internal_errors("set_outcome"):
                self._failure = Failure(stated, clean_label(error_type))

    def record_retry(self) -> None:
        """Count one more attempt of this task (``agent_task_retries_total``)."""
        with contain_internal_errors("record_retry"):
            if self._record is not None:
                self._recorder.observe(TASK_RETRIES, self._record[TARGET].series.labels, 1)

    def end(self, error: BaseException | None = None, failure: Failure | None = None) -> None:
        """End the call with what was stated, unless ``error`` left the block."""
        super().end(error, failure or self._failure)
