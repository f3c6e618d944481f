"""All components, the checks of them that go on, and what comes of those."""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentgauge.errors import ConfigurationError
from agentgauge.health import answers
from agentgauge.health.begun import Begun
from agentgauge.health.component import Component, require_checker
from agentgauge.health.runs import Run
from agentgauge.health.series import Series, take_away
from agentgauge.health.timetable import Timetable
from agentgauge.health.verdicts import Verdicts
from agentgauge.health.watch import Watch
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from agentgauge.health.status import Finding, HealthChecker
    from agentgauge.notification import Notifier

__all__ = ["Rounds"]

_MOST_BEHIND = 3
T = TypeVar("T")


class Rounds:
    """Begins checks, each in a thread of its own, takes in what they find, and tells what changed.

    Everything is changed under one lock, in which nothing of the program's runs and nothing is waited for. A check that is
    late is settled by the watch, and left behind; three of one component at most, past which it is down without another check.

    Args:
        notifier: Who is told.
        clock: Seconds that never go back.
        wall_clock: Unix time.
        random: Gives a number from 0 up to 1, for the jitter.
        history_points: How many checks of each component are remembered.
    """

    def __init__(
        self,
        notifier: Notifier,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Callable[[], float],
        history_points: int,
    ) -> None:
        self.components: dict[str, Component] = {}  # replaced, never changed: probes look at it without a lock
        self.loop: asyncio.AbstractEventLoop | None = None
        self.clock = clock
        self.wall_clock = wall_clock
        self.series = Series(clock)
        self._notifier = notifier
        self._random = random
        self._history_points = history_points
        self.renew()
        _all_rounds.add(self)
        # by labels alone: a checker may hold its monitor, which would then stay for good
        weakref.finalize(self, take_away, default_recorder(), self.series.shown).atexit = False

    def renew(self) -> None:
        """Keep the checkers and nothing else, as a forked child must: threads, event loops and findings are the parent's."""
        self.lock = threading.RLock()
        self.loop = None
        self._timetable: Timetable | None = None
        self._is_shared = False  # whether several asked for it to be monitored
        self._watch: Watch | None = None
        self._next_look = math.inf  # when the watch takes its next step, unless it is woken
        self._to_launch: list[Run] = []
        self._waiting: list[tuple[set[Run], Begun[Any]]] = []
        self.verdicts = Verdicts(self.series, self._notifier, self.wall_clock)
        self._set(self.components)
        at = self.wall_clock()
        for component in self._all():
            component.own_loop.abandon()
            component.restart(at)
        self.series.restart(self._all())

    def _all(self) -> tuple[Component, ...]:
        return self.verdicts.components

    def _set(self, components: dict[str, Component]) -> None:
        self.components = components
        self.verdicts.components = tuple(components.values())

    # --- what is checked --------------------------------------------------------------------------------------------------

    def add(self, checker: HealthChecker) -> None:
        """Check a component from now on.

        Raises:
            ConfigurationError: The checker cannot work, or the name is taken.
        """
        require_checker(checker)
        component = Component(checker, self._history_points, self.wall_clock())
        with self.lock:
            if component.name in self.components:
                raise ConfigurationError(
                    f"add_health_checker({type(checker).__name__}): there is a component {component.name!r} already; give it "
                    f"another name, or remove_health_checker({component.name!r}) first"
                )
            self._set({**self.components, component.name: component})
            self.series.add(component)
            if self._timetable is not None:
                self._timetable.add(component.name, component.schedule, self.clock())
        if self.is_monitoring:
            self._go_on()

    def remove(self, name: str) -> None:
        """Check a component no more, and end its alerts.

        Raises:
            ConfigurationError: There is none of that name.
        """
        with self.lock:
            component = self.find("remove_health_checker", name)
            self._set({other: kept for other, kept in self.components.items() if other != name})
            self.series.remove(component)
            if self._timetable is not None:
                self._timetable.remove(name)
            self._drop(component)
            self.verdicts.close(component, "it is checked no more")
        component.own_loop.close()

    def find(self, method: str, name: str) -> Component:
        """Return a component.

        Raises:
            ConfigurationError: There is none of that name; the message says which there are.
        """
        if (component := self.components.get(name)) is None:
            known = ", ".join(self.components) or "none"
            raise ConfigurationError(f"{method}({name!r}): there are only {known}")
        return component

    @property
    def is_monitoring(self) -> bool:
        """Whether components are checked on their schedules."""
        return self._timetable is not None

    # --- checks -----------------------------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop | None, on_cancel: Callable[[], None]) -> Begun[None]:
        """Check all components now and on their schedules; where that is so already, only join what was begun.

        Args:
            loop: The program's, for coroutines.
            on_cancel: Called where the only one who asked for it did not live to see it.

        Returns:
            Ends when each component was looked at.
        """
        with self.lock:
            self._use_loop(loop)
            if self._timetable is not None:
                self._is_shared = True
                begun = self._begun((each for each in self._all() if not each.has_answered), _nothing)
                self._go_on()  # where an exception out of a signal handler kept the watch from beginning
                return begun
            timetable, now = Timetable(self._random), self.clock()
            for component in self._all():
                component.has_answered = False
                timetable.add(component.name, component.schedule, now)
            due = timetable.due(now)
            self._timetable = timetable
            self._is_shared = False
            self.series.is_monitoring = True
            self._to_launch += self._begin(due, now)

            def give_up() -> None:
                if self._timetable is timetable and not self._is_shared:
                    on_cancel()

            begun = self._begun(self._all(), _nothing, give_up)
            self.series.show()
        self._go_on()
        return begun

    def check(self, loop: asyncio.AbstractEventLoop | None, make: Callable[[], T], only: Component | None = None) -> Begun[T]:
        """Check all components now, or one; checks that go on are shared.

        Args:
            loop: The program's, for coroutines, unless it has given one already.
            make: Gives what is to come of it.
            only: The one.

        Returns:
            Ends when all of them have.
        """
        with self.lock:
            if self._timetable is None:
                self._use_loop(loop)
            wanted = [each for each in self._all() if only is None or each is only]
            self._to_launch += self._begin([each.name for each in wanted], self.clock())
            begun = self._begun(wanted, make)
            self.series.show()
        self._go_on()
        return begun

    def stop(self) -> list[threading.Thread]:
        """Begin no more checks, and give up those that go on, which then found nothing; alerts stay as they are.

        Returns:
            The threads that end now, where what they run does.
        """
        with self.lock:
            self._timetable = None
            threads = [component.run.thread for component in self._all() if component.run is not None]
            for component in self._all():
                self._drop(component)
            self.series.hide()
            if self._watch is not None:
                threads.append(self._watch.thread)
                self._watch.wake()
            return threads

    def let_go(self) -> None:
        """Let go of event loops, unless it was started again."""
        with self.lock:
            if self._timetable is not None:
                return
            self.loop = None
            self._notifier.use_loop(None)
            components = tuple(self._all())
        for component in components:
            component.own_loop.close()

    def _use_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is not None and (self.loop is None or not self.loop.is_running()):
            self.loop = loop
            self._notifier.use_loop(loop)

    def _begun(
        self, components: Iterable[Component], make: Callable[[], T], on_cancel: Callable[[], None] | None = None
    ) -> Begun[T]:
        begun: Begun[T] = Begun(make, on_cancel)
        if pending := {component.run for component in components if component.run is not None}:
            self._waiting.append((pending, begun))
        else:
            begun.finish()
        return begun

    def _begin(self, names: Iterable[str], now: float) -> list[Run]:
        """Make a run of each component that has none; they are launched outside the lock."""
        runs: list[Run] = []
        for name in names:
            component = self.components[name]
            if component.run is not None:
                continue
            if len(component.behind) >= _MOST_BEHIND:
                if self._timetable is not None:
                    self._timetable.ended(name)
                self.verdicts.take(component, answers.hanging(len(component.behind)), now, None)
                continue
            component.run = Run(
                component.checker,
                component.schedule,
                component.own_loop,
                program_loop=lambda: self.loop,
                on_end=partial(self._end, component),
                began=now,
            )
            runs.append(component.run)
        return runs

    def _launch(self, runs: Iterable[Run]) -> None:
        for run in runs:
            try:
                if run.is_settled:  # it was given up meanwhile
                    run.on_end(run, None)
                else:
                    run.start()
            except RuntimeError:  # no thread is to be had, or the interpreter is ending
                run.on_end(run, answers.unstartable())

    def _go_on(self) -> None:
        """Let the watch take a step now: it launches threads, which takes its time where they are many."""
        if sys.is_finalizing():
            return
        with self.lock:
            if self._watch is not None and self._watch.thread.is_alive():
                self._watch.wake()
                return
            watch = self._watch = Watch(self.step)
            try:
                watch.thread.start()
                return
            except RuntimeError:  # no thread is to be had: the next check tries again
                self._watch = None
                runs, self._to_launch = self._to_launch, []
        self._launch(runs)

    def step(self) -> float | None:
        """Settle what is late, begin what is due.

        Returns:
            In how many seconds there is more to do; None where there is not, after which nobody need ask again.
        """
        with self.lock:
            now = self.clock()
            for component in self._all():
                if component.run is not None and now >= component.run.deadline:
                    self._leave_behind(component, component.run, now)
                self.verdicts.expire(component, now)
            runs, self._to_launch = self._to_launch, []
            if self._timetable is not None:
                runs += self._begin(self._timetable.due(now), now)
            self._next_look = self._find_next_look()
            is_over = self._timetable is None and self._next_look == math.inf
            if is_over:
                self._watch = None
            seconds = None if is_over else max(0.0, self._next_look - now)
        self._launch(runs)
        return seconds

    def _find_next_look(self) -> float:
        times = [component.run.deadline for component in self._all() if component.run is not None]
        if self._timetable is not None:
            stale = (component.course.standing.stale_at for component in self._all())
            times += [at for at in (*stale, self._timetable.next_due()) if at is not None]
        return min(times, default=math.inf)

    # --- what comes of them -----------------------------------------------------------------------------------------------

    def _end(self, component: Component, run: Run, finding: Finding | None) -> None:
        """Take in that a check has ended, in its own thread: what it found, where that is not known already."""
        with self.lock:
            component.behind.discard(run)
            if run.is_settled:
                return
            now = self.clock()
            self._settle(component, run)
            if finding is not None:
                self.verdicts.take(component, finding, now, now - run.began)
            self._release(run)

    def _leave_behind(self, component: Component, run: Run, now: float) -> None:
        component.behind.add(run)
        self._settle(component, run)
        self.verdicts.take(component, answers.late(component.schedule.timeout_seconds), now, now - run.began)
        self._release(run)
        run.give_up()

    def _drop(self, component: Component) -> None:
        """Want no finding of the check that goes on, if any."""
        if (run := component.run) is not None:
            component.behind.add(run)
            self._settle(component, run)
            self._release(run)
            run.give_up()

    def _settle(self, component: Component, run: Run) -> None:
        run.is_settled = True
        component.run = None
        if self._timetable is not None:
            self._timetable.ended(component.name)
            due = self._timetable.next_due()
            has_time = due is None or due >= self._next_look
        else:
            has_time = any(other.run is not None for other in self._all())
        if self._watch is not None and not has_time:
            self._watch.wake()

    def _release(self, run: Run) -> None:
        """Let those go on who wait for a check, now that what it found is known."""
        for pending, begun in self._waiting:
            pending.discard(run)
            if not pending:
                begun.finish()
        self._waiting = [waiting for waiting in self._waiting if waiting[0]]


def _nothing() -> None:
    pass


_all_rounds: weakref.WeakSet[Rounds] = weakref.WeakSet()


def _renew_in_child() -> None:
    for rounds in list(_all_rounds):
        rounds.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
