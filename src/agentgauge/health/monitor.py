"""``SystemHealthMonitor``: the face of everything that is known of the components that a program depends on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from agentgauge.chance import CHANCE
from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.health import export, overview
from agentgauge.health.begun import Begun
from agentgauge.health.course import worse_first
from agentgauge.health.report import StatusReport
from agentgauge.health.rounds import Rounds
from agentgauge.health.status import Status
from agentgauge.notification import Notifier
from agentgauge.requirements import require_clock, require_count

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from agentgauge.health.course import HealthRecord
    from agentgauge.health.report import ComponentHealth, HealthReport, HealthSummary
    from agentgauge.health.status import HealthChecker
    from agentgauge.notification import Alert, AlertHandler

__all__ = ["SystemHealthMonitor"]

_PATIENCE_SECONDS = 1.0
_MOST_POINTS = 1_000_000
T = TypeVar("T")


class SystemHealthMonitor:
    """Checks components on their schedules, keeps what it found, and tells handlers what starts, changes and ends.

    It needs no ``agentgauge.start()``. Its methods may be called from any thread; ``with`` and ``async with`` start and stop the
    monitoring. Each check runs in a thread of its own, coroutines on the program's event loop where monitoring was started in a
    coroutine; one that hangs costs itself. A forked child has the checkers and handlers, knows nothing, and checks nothing until
    ``start_monitoring()``.

    Args:
        checkers: What to check; more by ``add_health_checker()``.
        handler_timeout_seconds: How long an alert handler may take for one notification.
        history_points: How many checks of each component are remembered.
        clock: Seconds that never go back, by which checks are due and late.
        wall_clock: Unix time, by which findings and alerts are dated.
        random: Gives numbers from 0 up to 1, by which checks come later than their interval (``Schedule.jitter_ratio``).

    Raises:
        ConfigurationError: An argument cannot work; the message names it and the fix.
    """

    def __init__(
        self,
        checkers: Iterable[HealthChecker] = (),
        *,
        handler_timeout_seconds: float = 10.0,
        history_points: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = CHANCE.random,
    ) -> None:
        require_count("history_points", history_points)
        if history_points > _MOST_POINTS:
            raise ConfigurationError(f"history_points={history_points!r}: give a number up to {_MOST_POINTS}, such as 1000")
        if not isinstance(checkers, Iterable):  # which may hold a secret: it is named by its type
            raise ConfigurationError(f"checkers: give a list of checks, such as [DiskWritableCheck(...)], not {type(checkers)!r}")
        require_clock("clock", clock)
        require_clock("wall_clock", wall_clock)
        if not callable(random):
            raise ConfigurationError(f"random={random!r}: give a function that returns numbers from 0 up to 1, or leave it out")
        self._notifier = Notifier(handler_timeout_seconds)
        self._clock = clock
        self._wall_clock = wall_clock
        self._rounds = Rounds(self._notifier, clock, wall_clock, random, history_points)
        for checker in checkers:
            self.add_health_checker(checker)

    # --- what it is made of -----------------------------------------------------------------------------------------------

    def add_health_checker(self, checker: HealthChecker) -> None:
        """Check a component, from now on where monitoring runs.

        Args:
            checker: A check of ``agentgauge.health``, or any object with ``name``, ``component_type``, ``schedule`` and
                ``check()``, a function or coroutine function.

        Raises:
            ConfigurationError: It lacks something, or there is a component of its name already.
        """
        self._rounds.add(checker)

    def remove_health_checker(self, name: str) -> None:
        """Check a component no more: its alerts end, its series go, counters aside, and nothing of it is reported.

        Raises:
            ConfigurationError: There is none of that name.
        """
        self._rounds.remove(name)

    def add_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` once when an alert starts, changes its severity or condition and ends; from now on.

        Args:
            handler: A function, or coroutine function, of one ``Notification``. Functions run in a thread of their own,
                coroutines on the program's event loop. No check waits for one.

        Raises:
            ConfigurationError: It cannot be called with one argument.
        """
        self._notifier.add(handler)

    def remove_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` nothing more; nothing to do where it is not there."""
        self._notifier.remove(handler)

    # --- checks -----------------------------------------------------------------------------------------------------------

    def start_monitoring(self) -> Begun[None]:
        """Check every component now, and on its schedule until ``stop_monitoring()``.

        It has begun when this returns. Nothing to do where it runs already, or where ``AGENTGAUGE_DISABLED`` is set.

        Returns:
            Ends when every component was looked at once, so that its status is known: ``await`` it, ``wait()`` for it in a
            thread, or let it be. Where a coroutine that awaits it is cancelled meanwhile, monitoring is stopped again, unless
            somebody else has asked for it, too.
        """
        if is_disabled():
            return _ended(_nothing)
        return self._rounds.start(_running_loop(), self._give_up)

    def stop_monitoring(self) -> Begun[None]:
        """Check nothing more, give up the checks that go on, and tell handlers all that happened.

        Alerts are not ended by it, and what is known stays; its gauges are shown no more. Outside of coroutines it returns when
        that is done: when threads that can end have ended, and handlers were told, or had the time for it.

        Returns:
            The same for coroutines, to be awaited or not.
        """
        threads = self._rounds.stop()
        begun: Begun[None] = Begun(_nothing)

        def end() -> None:
            try:
                with contain_internal_errors("health"):
                    self._end(threads)
            finally:
                begun.finish()

        if _running_loop() is None:
            end()
            return begun
        try:
            threading.Thread(target=end, name="agentgauge-health-stop", daemon=True).start()
        except RuntimeError:  # no thread is to be had: what there is to end ends by itself
            begun.finish()
        return begun

    def close(self) -> None:
        """Stop, as ``stop_monitoring()`` does; the monitor can be used again after it."""
        self.stop_monitoring()

    def check_all_health(self) -> Begun[Mapping[str, ComponentHealth]]:
        """Check every component now, whatever its schedule; what is found counts as ever, for thresholds and alerts, too.

        It has begun when this returns. A check that goes on already is not begun again.

        Returns:
            Each component by its name, when all checks have ended or are late: ``await`` it, or call ``result()`` in a thread.
        """
        return _ended(self._by_name) if is_disabled() else self._rounds.check(_running_loop(), self._by_name)

    def check_all_health_blocking(self) -> Mapping[str, ComponentHealth]:
        """Check every component now, and wait for it; in coroutines ``await check_all_health()`` instead."""
        return self.check_all_health().result()

    def check_component(self, name: str) -> Begun[ComponentHealth]:
        """Check one component now, whatever its schedule; what is found counts as ever, for thresholds and alerts, too.

        It has begun when this returns. A check that goes on already is not begun again.

        Args:
            name: The component's.

        Returns:
            All that is known of it, when its check has ended or is late: ``await`` it, or call ``result()`` in a thread.

        Raises:
            ConfigurationError: There is none of that name.
        """
        component = self._rounds.find("check_component", name)

        def tell() -> ComponentHealth:
            with self._rounds.lock:
                return overview.component_health(component, self._clock())

        return _ended(tell) if is_disabled() else self._rounds.check(_running_loop(), tell, component)

    def is_healthy_now(self, name: str) -> bool:
        """Check one component now, wait for it, and tell whether it is well: as a recovery's ``check``.

        For threads; in coroutines ``await check_component()`` instead. It takes no longer than ``schedule.timeout_seconds``.

        Args:
            name: The component's.

        Returns:
            Whether this check found it healthy, and so is its status by ``success_threshold``.

        Raises:
            ConfigurationError: There is none of that name.
        """
        before = self.get_component_health(name).checks
        known = self.check_component(name).result()
        is_looked_at = known.checks > before  # not where it was stopped or removed meanwhile
        return is_looked_at and known.found is Status.HEALTHY and known.status is Status.HEALTHY

    def _give_up(self) -> None:
        self.stop_monitoring()

    def _end(self, threads: Iterable[threading.Thread]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._notifier.flush(self._notifier.timeout_seconds)
        self._rounds.let_go()

    def __enter__(self) -> Self:
        self.start_monitoring()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start_monitoring()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop_monitoring()

    # --- what it knows ----------------------------------------------------------------------------------------------------

    @property
    def is_monitoring(self) -> bool:
        """Whether components are checked on their schedules."""
        return self._rounds.is_monitoring

    def health_report(self) -> HealthReport:
        """Return what probes answer from: as of the last checks; it checks nothing, waits for nothing and takes no lock."""
        components = tuple(self._rounds.components.values())
        return overview.health_report(
            components, self._clock(), is_monitoring=self._rounds.is_monitoring, is_awaited=not is_disabled()
        )

    def get_system_health_summary(self) -> HealthSummary:
        """Return how the program is, in few numbers, as of the last checks."""
        with self._rounds.lock:
            return self._summary()

    def get_component_health(self, component: str) -> ComponentHealth:
        """Return all that is known of one component.

        Raises:
            ConfigurationError: There is none of that name.
        """
        with self._rounds.lock:
            return overview.component_health(self._rounds.find("get_component_health", component), self._clock())

    def get_component_health_history(
        self, component: str, duration: float | timedelta | None = None, *, limit: int | None = None
    ) -> tuple[HealthRecord, ...]:
        """Return the checks of a component, the oldest first.

        Args:
            component: Its name.
            duration: How far back, in seconds or as a ``timedelta``; everything that is kept unless given.
            limit: Only so many of the last.

        Raises:
            ConfigurationError: There is none of that name, or an argument cannot work.
        """
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0):
            raise ConfigurationError(f"duration={duration!r}: give a number of seconds above 0, such as 3600, or a timedelta")
        if limit is not None:
            require_count("limit", limit, "100")
        with self._rounds.lock:
            history = tuple(self._rounds.find("get_component_health_history", component).course.history)
        since = None if seconds is None else self._clock() - seconds
        records = tuple(record for now, record in history if since is None or now >= since)
        return records if limit is None else records[-limit:]

    def get_active_alerts(self) -> tuple[Alert, ...]:
        """Return what is wrong as of the last checks, the most severe first, then the oldest."""
        with self._rounds.lock:
            return self._rounds.verdicts.alerts

    def get_detailed_status_report(self) -> StatusReport:
        """Return everything that is known now; ``str()`` of it is for people."""
        with self._rounds.lock:
            now = self._clock()
            components = [overview.component_health(component, now) for component in self._rounds.components.values()]
            components.sort(key=lambda each: (worse_first(each.status), each.name))
            return StatusReport(self._summary(), tuple(components), self._rounds.verdicts.alerts, self._notifier.reports)

    def export_health_data(
        self,
        path: str | os.PathLike[str] | None = None,
        format: Literal["json"] = "json",  # noqa: A002 - the name is given
    ) -> str:
        """Return everything that is known, histories included, as JSON text, and write it into a file where one is given.

        Args:
            path: The file, which is there whole or not at all; one that is there is replaced and keeps its permissions.
            format: ``json``, the only one there is.

        Raises:
            ConfigurationError: The format is unknown, or the path is that of a folder, a pipe or a device.
            OSError: The file cannot be written; what was there before is unchanged.
        """
        chosen = export.choose_file(path, format)
        with self._rounds.lock:
            report = self.get_detailed_status_report()
            history = {name: [record for _, record in known.course.history] for name, known in self._rounds.components.items()}
        text = export.to_json(report, history)
        if chosen is not None:
            export.write(chosen, text)
        return text

    def _summary(self) -> HealthSummary:
        rounds, now, at = self._rounds, self._clock(), self._wall_clock()
        components = tuple(rounds.components.values())
        return overview.summarize(
            components,
            rounds.verdicts.overall(now),
            now,
            at,
            alerts=len(rounds.verdicts.alerts),
            is_monitoring=rounds.is_monitoring,
            is_awaited=not is_disabled(),
        )

    def _by_name(self) -> Mapping[str, ComponentHealth]:
        with self._rounds.lock:
            now = self._clock()
            return {name: overview.component_health(known, now) for name, known in self._rounds.components.items()}


def _nothing() -> None:
    pass


def _ended(make: Callable[[], T]) -> Begun[T]:
    begun = Begun(make)
    begun.finish()
    return begun


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
