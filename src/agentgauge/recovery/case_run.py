"""The life of one case: attempts within the budget until one helps, the failure ends, or recovery gives up."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.errors import contain_internal_errors
from agentgauge.recovery.actions import Note
from agentgauge.recovery.calling import Ending, call_within
from agentgauge.recovery.failure import Attempt, Result
from agentgauge.recovery.guard import RecoveryFailedError, is_refusal
from agentgauge.recovery.outcomes import Trial
from agentgauge.recovery.spans import RecoverySpan
from agentgauge.redaction import redact

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from random import Random

    from agentgauge.recovery.actions import Action
    from agentgauge.recovery.audit import AuditLog
    from agentgauge.recovery.choice import Chooser
    from agentgauge.recovery.component import Case, Component
    from agentgauge.recovery.failure import EscalationReason, Outcome, ResultKind
    from agentgauge.recovery.outcomes import OutcomeBook
    from agentgauge.recovery.plan import Recovery
    from agentgauge.recovery.series import RecoverySeries

__all__ = ["CaseRun", "Surroundings"]

_logger = logging.getLogger("agentgauge.recovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every case needs of its ``Recoveries``.

    Attributes:
        clock: Seconds on a clock that never goes back.
        wall_clock: Unix time.
        wait: Waits for an event for some seconds, and tells whether it is set.
        random: For jitter.
        is_dry_run: Whether nothing is to be done.
        audit: The log of every act, or None.
        book: The outcomes.
        chooser: What says which action to try.
        series: The series.
        find_loop: Finds the program's loop, or None.
    """

    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    wait: Callable[[threading.Event, float], bool]
    random: Random
    is_dry_run: bool
    audit: AuditLog | None
    book: OutcomeBook
    chooser: Chooser
    series: RecoverySeries
    find_loop: Callable[[], asyncio.AbstractEventLoop | None]


class CaseRun:
    """Recovers from one failure, in the thread that calls ``run``; nobody else acts upon the component meanwhile."""

    def __init__(self, around: Surroundings, component: Component, case: Case) -> None:
        self._around = around
        self._component = component
        self._case = case
        self._failure = case.failure
        self._plan = case.plan
        self._attempts: list[Attempt] = []
        self._id = uuid.uuid4().hex
        self._span = RecoverySpan(case.failure)

    def run(self) -> Result:
        """Recover, and tell what became of it."""
        with self._span:
            if self._case.is_called_off.is_set():
                result = self._cancelled()
            else:
                result = self._recover(self._component.recoveries[self._plan], self._plan)
            self._span.end(result)
        return result

    # --- the attempts -----------------------------------------------------------------------------------------------------

    def _recover(self, recovery: Recovery, plan: int) -> Result:
        if self._is_well_already(recovery):
            return self._recovered("it was well again after the recovery from another failure")
        self._note_relapse(recovery)
        while True:
            if self._case.is_called_off.is_set():
                return self._cancelled()
            if self._attempts_left(recovery, plan) <= 0:
                return self._escalated("budget", f"{len(self._attempts)} attempts were made, and the budget allows no more")
            step = self._component.relapses + len(self._attempts)
            if step and self._around.wait(self._case.is_called_off, recovery.backoff.wait_seconds(step, self._around.random)):
                return self._cancelled()
            actions = [each for each in recovery.actions if not self._hangs(each.name)]
            if not actions:
                return self._escalated("no_action", "every action that is allowed still hangs")
            try:
                permit = self._component.guard.acquire()
            except Exception as error:
                if not is_refusal(error):
                    raise
                return self._escalated("breaker", "its circuit breaker is open: too few of the latest attempts helped")
            fault: BaseException | None = asyncio.CancelledError()  # neutral, should we fail ourselves
            try:
                attempt, fault = self._attempt(recovery, plan, actions)
            finally:
                permit.release(fault)
            if attempt.outcome == "recovered":
                self._component.attempts_left = plan, recovery.budget.attempts  # the next failure has them all
                return self._recovered("")
            if attempt.outcome == "dry_run":
                return self._result("dry_run", "")

    def _attempt(self, recovery: Recovery, plan: int, actions: list[Action]) -> tuple[Attempt, BaseException | None]:
        around, name = self._around, self._component.name
        failed = [attempt.action for attempt in self._attempts]
        wait_seconds = recovery.backoff.longest(len(failed) + 1) / 2
        choice = around.chooser.choose(self._failure, actions, failed, wait_seconds)
        action, act = choice.action, uuid.uuid4().hex
        self._log("intent", attempt=act, action=action.name, reason=choice.reason)
        self._spend(recovery, plan)
        self._component.attempts_left = plan, recovery.budget.attempts - len(failed) - 1
        began = around.clock()
        outcome: Outcome = "cancelled"  # where we fail ourselves, or the process is ended
        fault: BaseException | None = None
        note = ""
        try:
            if around.is_dry_run:
                outcome, fault = "dry_run", asyncio.CancelledError()
            else:
                outcome, fault, note = self._act(recovery, action)
        finally:
            seconds = max(0.0, around.clock() - began)
            error, message = (type(fault).__name__, _message(fault)) if outcome == "failed" else ("", "")
            attempt = Attempt(
                action=action.name,
                reason=choice.reason,
                outcome=outcome,
                seconds=seconds,
                error_type=error,
                error_message=message,
            )
            self._attempts.append(attempt)
            self._log(
                "outcome",
                attempt=act,
                action=action.name,
                reason=choice.reason,
                outcome=outcome,
                seconds=round(seconds, 6),
                error=error,
                error_message=message,
                note=note,
            )
            around.series.count_attempt(name, action.name, outcome)
            self._span.note(attempt)
        if outcome not in {"dry_run", "cancelled"}:
            around.book.add(self._failure.signature, action.name, Trial(outcome == "recovered", seconds))
        if outcome == "failed" and not isinstance(fault, Exception):  # SystemExit says nothing to a breaker, and it did not help
            fault = RecoveryFailedError(action.name)
        return attempt, fault

    def _act(self, recovery: Recovery, action: Action) -> tuple[Outcome, BaseException | None, str]:
        ending = self._call(action.run, self._failure, timeout_seconds=recovery.action_timeout_seconds, what=action.name)
        if ending.kind == "timed_out":
            if not ending.left.is_set():
                self._component.hung[action.name] = ending.left
            return "timed_out", TimeoutError(action.name), "" if ending.left.is_set() else "it still runs and was left behind"
        if ending.kind == "cancelled":
            return "cancelled", asyncio.CancelledError(), ""
        if ending.kind == "raised":
            fault = ending.error or RecoveryFailedError(action.name)
            told = f"{type(ending.error).__name__}: {_message(ending.error)}".removesuffix(": ")
            _logger.warning("%s: %s raised %s", self._component.name, action.name, told)
            return "failed", fault, ""
        note = ending.value.text if isinstance(ending.value, Note) else ""
        if self._becomes_well(recovery):
            return "recovered", None, note
        if self._case.is_stopped.is_set():  # before it could tell
            return "cancelled", asyncio.CancelledError(), note
        return "not_recovered", RecoveryFailedError(action.name), note

    def _spend(self, recovery: Recovery, plan: int) -> None:
        """Count an act against the budget, also that of the program's next start: an act that ends the program is not free."""
        around = self._around
        self._component.spent[plan].append(around.clock())
        if around.is_dry_run:
            return
        with contain_internal_errors("recovery_outcomes"):
            at = around.wall_clock()
            around.book.note_act(recovery.lasting_name, at, at - recovery.budget.window_seconds)
            around.book.save()

    def _hangs(self, name: str) -> bool:
        left = self._component.hung.get(name)
        if left is not None and left.is_set():
            del self._component.hung[name]
            left = None
        return left is not None

    # --- whether it worked ------------------------------------------------------------------------------------------------

    def _becomes_well(self, recovery: Recovery) -> bool:
        around, case = self._around, self._case
        if recovery.check is None:
            around.wait(case.is_called_off, recovery.verify_seconds)
            case.merges_seen = case.merges
            return case.has_ended.is_set()
        deadline = around.clock() + recovery.verify_seconds
        while not self._is_well(recovery):
            left = deadline - around.clock()
            if left <= 0 or around.wait(case.is_stopped, min(recovery.check_interval_seconds, left)):
                return False
        return True

    def _is_well(self, recovery: Recovery) -> bool:
        if recovery.check is None or (self._component.hung_check is not None and not self._component.hung_check.is_set()):
            return False
        self._case.merges_seen = self._case.merges
        ending = self._call(recovery.check, timeout_seconds=recovery.check_timeout_seconds, what="check")
        self._component.hung_check = None if ending.left.is_set() else ending.left
        if ending.kind == "raised":
            _logger.debug("%s: the check raised %s", self._component.name, type(ending.error).__name__)
        try:
            return ending.kind == "returned" and bool(ending.value)
        except Exception:  # noqa: BLE001 - what the program's check returned has no truth
            return False

    def _is_well_already(self, recovery: Recovery) -> bool:
        """Tell whether the failure that was acted upon before took this one with it."""
        last = self._component.last
        is_after = last is not None and last.at >= self._case.reported_at
        return is_after and not self._around.is_dry_run and self._is_well(recovery)

    def _note_relapse(self, recovery: Recovery) -> None:
        component, last, reported_at = self._component, self._component.last, self._case.reported_at
        if reported_at >= component.settles_at:
            component.relapses = 0
        elif last is not None and reported_at >= last.at:
            component.relapses += 1
            if last.signature == self._failure.signature:
                self._around.book.take_back(last.signature, last.action)
            reason = f"it failed again {reported_at - last.at:.1f} s after it was recovered"
            self._log("relapse", action=last.action, reason=reason)
            component.settles_at = self._around.clock() + recovery.settle_seconds
            component.last = None
        self._around.series.show_flapping(component.name, component.relapses > 0)

    def _attempts_left(self, recovery: Recovery, plan: int) -> int:
        left = recovery.budget.attempts - len(self._attempts)
        self._component.attempts_left = (plan, left)
        return min(left, self._component.window_left(plan, self._around.clock()))

    def _call(self, function: Callable[..., object], *args: object, timeout_seconds: float, what: str) -> Ending:
        began = self._around.clock()
        ending = call_within(
            function,
            *args,
            timeout_seconds=timeout_seconds,
            loop=self._around.find_loop(),
            name=f"agentgauge-recovery-{self._component.name}-{what}",
        )
        if ending.kind == "returned" and self._around.clock() - began > timeout_seconds:
            return Ending("timed_out", None, None, ending.left)
        return ending

    # --- the end ----------------------------------------------------------------------------------------------------------

    def _recovered(self, reason: str) -> Result:
        result = self._result("recovered", reason)
        self._around.series.count_recovery(self._component.name, result.seconds)
        _logger.info("%s recovered from %s after %.1f s", self._component.name, self._failure.signature, result.seconds)
        return result

    def _cancelled(self) -> Result:
        reason = "its condition changed" if self._case.has_changed.is_set() else "the failure ended"
        if self._case.is_stopped.is_set():
            reason = "recovery was stopped"
        self._log("cancelled", reason=reason)
        return self._result("cancelled", reason)

    def _escalated(self, reason: EscalationReason, why: str) -> Result:
        self._log("escalation", reason=f"{reason}: {why}")
        self._around.series.count_escalation(self._component.name, reason)
        return self._result("escalated", reason)

    def _result(self, kind: ResultKind, reason: str) -> Result:
        seconds = max(0.0, self._around.wall_clock() - self._failure.started_at)
        return Result(failure=self._failure, kind=kind, attempts=tuple(self._attempts), reason=reason, seconds=seconds)

    def _log(self, event: Any, **facts: Any) -> None:
        """Write what is done into the audit log and the program's log; where that fails, recovery goes on all the same."""
        signature = self._failure.signature
        level = logging.WARNING if event == "escalation" else logging.INFO
        told = ", ".join(f"{name} {value}" for name, value in facts.items() if value and name != "attempt")
        _logger.log(level, "%s%s of %s: %s", "dry run: " if self._around.is_dry_run else "", event, signature, told)
        if self._around.audit is None:
            return
        with contain_internal_errors("recovery_audit"):
            self._around.audit.write(
                event,
                self._around.wall_clock(),
                case=self._id,
                source=self._failure.source,
                component=signature.component,
                condition=signature.condition,
                error_type=signature.error_type,
                is_dry_run=self._around.is_dry_run,
                trace_id=self._span.trace_id,
                **facts,
            )


def _message(error: BaseException | None) -> str:
    try:
        return "" if error is None else redact(error)
    except Exception:  # noqa: BLE001 - the program's error cannot say what it is
        return ""
