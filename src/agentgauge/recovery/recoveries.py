"""Recovery from failures: what is reported is acted upon, one failure of a component after another."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import weakref
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Self

from agentgauge.chance import CHANCE
from agentgauge.errors import ConfigurationError, contain_internal_errors, report_internal_error
from agentgauge.notification import Event
from agentgauge.recovery.audit import AuditLog
from agentgauge.recovery.calling import begin_work, is_called_by, make_wait
from agentgauge.recovery.case_run import CaseRun, Surroundings
from agentgauge.recovery.choice import Favoured
from agentgauge.recovery.component import Case, Component, Recovered
from agentgauge.recovery.escalations import SOURCE, Escalations
from agentgauge.recovery.failure import WHY_NOT, Failure, Result
from agentgauge.recovery.guard import guard_of
from agentgauge.recovery.outcomes import OutcomeBook
from agentgauge.recovery.plan import plans_by_component
from agentgauge.recovery.series import Drift, RecoverySeries
from agentgauge.recovery.strangers import Strangers
from agentgauge.requirements import require_clock, require_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from agentgauge.notification import AlertHandler, Notification
    from agentgauge.recovery.choice import Chooser
    from agentgauge.recovery.failure import Reported, Signature
    from agentgauge.recovery.guard import Guard
    from agentgauge.recovery.plan import Recovery

__all__ = ["Recoveries"]

_MOST_RESULTS = 100


class Recoveries:
    """Acts when components fail, within the limits that each ``Recovery`` states.

    Components are recovered each in a daemon thread that is there only meanwhile: one failure of a component after another,
    different components at once.

    Args:
        recoveries: What may be done.
        dry_run: Choose, count, log and trace one attempt for each failure, but act on nothing.
        audit: The path of a log of every act, or an ``AuditLog``; None for none but the program's own log.
        outcomes: The path of a file that keeps what came of attempts, and what was spent of budgets, from one start of the
            program to the next, or an ``OutcomeBook``; None to begin anew with each.
        escalate: Called with the ``Result`` when recovery gives up on a failure whose ``Recovery`` has no callback of its own.
        loop: The program's event loop, on which coroutines run; each has a loop of its own else. ``use_loop`` sets it later.
        explores: Whether to try, at times, what outcomes do not favour, so as to learn more of it (Thompson sampling).
        breaker: Makes the circuit breaker of a component, given its name; by default one that opens for five minutes when eight
            of the last ten attempts did not help.
        most_waiting: How many failures may wait at most.
        chooser: What says which action to try, instead of what outcomes favour.
        clock: Seconds on a clock that never goes back.
        wall_clock: Unix time.
        sleep: Waits for some seconds, for tests in virtual time; by default the waits end as soon as they are called off.
        random: For jitter and exploration.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    def __init__(
        self,
        recoveries: Iterable[Recovery],
        *,
        dry_run: bool = False,
        audit: AuditLog | str | os.PathLike[str] | None = None,
        outcomes: OutcomeBook | str | os.PathLike[str] | None = None,
        escalate: Callable[[Result], object] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        explores: bool = False,
        breaker: Callable[[str], Guard] | None = None,
        most_waiting: int = 100,
        chooser: Chooser | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
        random: Random | None = None,
    ) -> None:
        plans = plans_by_component(recoveries)
        require_clock("clock", clock)
        require_clock("wall_clock", wall_clock)
        require_count("most_waiting", most_waiting, "100")
        for name, value in (("escalate", escalate), ("breaker", breaker), ("sleep", sleep)):
            if value is not None and not callable(value):
                raise ConfigurationError(f"{name}={value!r}: give a function, or leave it out")
        for name, flag in (("dry_run", dry_run), ("explores", explores)):
            if not isinstance(flag, bool):
                raise ConfigurationError(f"{name}={flag!r}: give True or False")
        if random is not None and not isinstance(random, Random):
            raise ConfigurationError(f"random={random!r}: give a random.Random, or leave it out")
        self.audit = audit if isinstance(audit, AuditLog) or audit is None else AuditLog(audit)
        self.outcomes = outcomes if isinstance(outcomes, OutcomeBook) else OutcomeBook(outcomes)
        self._loop = loop
        self._clock = clock
        self._most_waiting = most_waiting
        self._escalations = Escalations(escalate)
        random = random or CHANCE
        self._around = Surroundings(
            clock=clock,
            wall_clock=wall_clock,
            wait=make_wait(sleep),
            random=random,
            is_dry_run=dry_run,
            audit=self.audit,
            book=self.outcomes,
            chooser=chooser or Favoured(self.outcomes, random if explores else None),
            series=RecoverySeries({name: [act.name for one in some for act in one.actions] for name, some in plans.items()}),
            find_loop=lambda: self._loop,
        )
        self._components = {
            name: Component(name, tuple(some), breaker(name) if breaker is not None else guard_of(name, clock))
            for name, some in plans.items()
        }
        for component in self._components.values():
            component.take_over(self.outcomes, clock(), wall_clock())
        self._results: deque[Result] = deque(maxlen=_MOST_RESULTS)
        self._strangers = Strangers()
        self._is_closed = False
        self._changed = threading.Condition()
        self._drift = Drift(self._components.values(), clock)
        _all.add(self)

    # --- what is reported -------------------------------------------------------------------------------------------------

    def on_alert(self, notification: Notification) -> None:
        """Take an alert of this process: ``SystemHealthMonitor.add_alert_handler(recoveries.on_alert)``; returns at once."""
        alert = notification.alert
        if alert.source == SOURCE:
            return
        if notification.event is Event.ENDED:
            self.end(alert.key)
        elif self.report(Failure.of_alert(alert)) == "unmatched" and not self.knows(alert.subject):
            self._strangers.tell(alert.subject, "alerts of", "are left alone: no Recovery has that component")

    def report(self, failure: Failure) -> Reported:
        """Take up a failure, and return at once.

        Args:
            failure: What fails. Where the same failure, or one of the same signature, is being recovered from or waits for it, it
                is a part of that; and where recovery gave up on it, nothing is done until it ends. One whose condition is
                another than before, with the same key, is a failure of its own, and the one before it is over.

        Returns:
            What became of the report.
        """
        return self._take(failure)[0]

    def recover(self, failure: Failure) -> Result:
        """Take up a failure, and wait until it is recovered from or given up on.

        Blocks: a coroutine calls ``report``, or awaits ``asyncio.to_thread(recoveries.recover, failure)``.

        Raises:
            ConfigurationError: No recovery is for it, too many failures wait, or recovery is stopped; or a coroutine calls it on
                the loop that the coroutines of actions need, or an action of the component does.
        """
        if self._loop is not None and asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - the public one raises
            raise ConfigurationError(
                "recover() blocks the loop: await asyncio.to_thread(recoveries.recover, failure), or report()"
            )
        if is_called_by(self._components.get(failure.component)):
            raise ConfigurationError(f"failure of {failure.component!r}: an action waits for no recovery of its own: report()")
        reported, case = self._take(failure)
        if case is None:
            raise ConfigurationError(f"failure of {failure.component!r}: {WHY_NOT[reported]}")
        case.is_done.wait()
        if case.result is None:  # never: it is set before
            raise RuntimeError("the case ended without a result")
        return case.result

    def end(self, key: tuple[object, ...]) -> bool:
        """Note that a failure has ended: what waits is called off, and what acts goes on.

        Args:
            key: The failure's ``identity``.

        Returns:
            Whether it was known.
        """
        ended = []
        is_known = False
        with self._changed:
            for component in self._components.values():
                for case in component.cases():
                    is_known |= key in case.identities
                    case.end(key)
                is_known |= key in component.given_up
                ended += component.let_go(key)
        self._escalations.end(ended, self._around.wall_clock(), "the failure ended")
        return is_known

    def knows(self, component: str) -> bool:
        """Tell whether there is a recovery for a component."""
        return component in self._components

    # --- what is told -----------------------------------------------------------------------------------------------------

    @property
    def results(self) -> tuple[Result, ...]:
        """What became of the last 100 failures, the oldest first."""
        with self._changed:
            return tuple(self._results)

    def add_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` when recovery gives up on a failure, and when that failure is over.

        Raises:
            ConfigurationError: It cannot be called with one argument.
        """
        self._escalations.notifier.add(handler)

    def remove_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` nothing more."""
        self._escalations.notifier.remove(handler)

    def use_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Run the coroutines of actions, checks and handlers on ``loop`` from now on."""
        self._loop = loop
        self._escalations.notifier.use_loop(loop)

    # --- the end ----------------------------------------------------------------------------------------------------------

    def stop(self, timeout_seconds: float = 10.0) -> bool:
        """Take up nothing more, call off what waits, and wait for what acts.

        Args:
            timeout_seconds: How long at most; what acts then goes on. An action that calls this is not waited for.

        Returns:
            Whether nothing acts any more.
        """
        components = self._components.values()
        if any(map(is_called_by, components)):
            timeout_seconds = 0.0
        with self._changed:
            self._is_closed = True
            for component in components:
                for case in component.cases():
                    case.stop()
            is_idle = self._changed.wait_for(lambda: not any(each.has_worker for each in components), timeout_seconds)
        self._drift.release()
        self._around.series.release()
        return is_idle

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Stop, and close the audit log; returns what ``stop`` does."""
        is_idle = self.stop(timeout_seconds)
        if is_idle and self.audit is not None:
            self.audit.close()
        return is_idle

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    # --- the work ---------------------------------------------------------------------------------------------------------

    def _take(self, failure: Failure) -> tuple[Reported, Case | None]:
        component = self._components.get(failure.component)
        with self._changed:
            if self._is_closed:
                return "closed", None
            if component is None:
                return "unmatched", None
            plan = component.plan(failure)
            over = component.supersede(failure, plan)
            taken = self._admit(component, failure, plan)
        self._escalations.end(over, self._around.wall_clock(), "its condition changed")
        return taken

    def _admit(self, component: Component, failure: Failure, plan: int | None) -> tuple[Reported, Case | None]:
        if plan is None:
            return "unmatched", None
        if (known := component.merge(failure)) is not None:
            return "merged", known
        if component.leaves_alone(failure):
            return "merged", None
        case = Case(failure, plan, self._clock(), {failure.identity})
        if not component.has_worker:
            return ("accepted", case) if self._start(component, case) else ("full", None)
        if sum(len(each.waiting) for each in self._components.values()) >= self._most_waiting:
            return "full", None
        component.waiting.append(case)
        return "accepted", case

    def _start(self, component: Component, case: Case) -> bool:
        name = f"agentgauge-recovery-{component.name}"
        component.has_worker, component.acting = not sys.is_finalizing(), case
        try:
            if component.has_worker:
                threading.Thread(target=self._work, args=(component, case), name=name, daemon=True).start()
                return True
        except RuntimeError:  # no thread is left
            component.has_worker = False
        component.acting = None
        return False

    def _work(self, component: Component, first: Case) -> None:
        case: Case | None = first
        begin_work(component)
        try:
            while case is not None:
                self._settle(component, case, self._run(component, case))
                case = self._next(component)
        except BaseException:
            with self._changed:
                component.has_worker = False
                self._changed.notify_all()
            raise

    def _next(self, component: Component) -> Case | None:
        with self._changed:
            if component.waiting:
                component.acting = component.waiting.popleft()
                return component.acting
            component.has_worker = False  # under the lock that _take looks under: nothing is left waiting
            self._changed.notify_all()
            return None

    def _run(self, component: Component, case: Case) -> Result:
        self._around.series.show_progress(component.name, True)
        try:
            return CaseRun(self._around, component, case).run()
        except BaseException as error:  # noqa: BLE001 - a fault of ours costs one failure its recovery, not all of them
            report_internal_error("recovery", error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
            return Result(failure=case.failure, kind="cancelled", reason=f"agentgauge failed: {type(error).__name__}")
        finally:
            self._around.series.show_progress(component.name, False)

    def _settle(self, component: Component, case: Case, result: Result) -> None:
        signature = case.failure.signature
        recovery = component.recoveries[case.plan]
        forgotten: list[Signature] = []
        with self._changed:
            component.acting = None
            self._results.append(result)
            case.result = result
            if result.kind == "escalated":
                forgotten = component.give_up(case)
            elif result.kind == "recovered":
                component.note_recovered(signature)
                action = result.attempts[-1].action if result.attempts else ""
                component.last = Recovered(self._clock(), signature, action)
                component.settles_at = component.last.at + recovery.settle_seconds
                is_news = case.merges > case.merges_seen and bool(case.identities)
                if is_news and not self._is_closed:  # reported again since the check: look once more
                    component.waiting.appendleft(Case(case.failure, case.plan, case.reported_at, set(case.identities)))
        with contain_internal_errors("recovery"):
            at = self._around.wall_clock()
            if result.kind == "escalated":
                self._escalations.add(result, at, recovery.escalate, self._loop)
                with self._changed:
                    has_ended = not component.is_given_up(signature)
                self._escalations.end([signature] * has_ended, at, "the failure ended")  # while the callback ran
                self._escalations.end(forgotten, at, "too many failures were given up on since; it may last")
            elif result.kind == "recovered":
                self._escalations.end([signature], at, "the component was recovered")
        with contain_internal_errors("recovery_outcomes"):
            self.outcomes.save()
        case.is_done.set()

    def _renew_in_child(self) -> None:
        self._changed = threading.Condition()
        self._loop = None
        self._escalations.renew()
        self.outcomes.renew()
        for component in self._components.values():
            component.renew()


_all: weakref.WeakSet[Recoveries] = weakref.WeakSet()


def _renew_in_child() -> None:
    for each in list(_all):
        each._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
