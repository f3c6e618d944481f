"""What keeps programs up, in virtual time: components that are checked, requests that are refused, handlers that are told."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentgauge.breaker import CircuitBreaker, CircuitOpenError
from agentgauge.catalogue import reliability
from agentgauge.health import ComponentType, Finding, Schedule, Status, SystemHealthMonitor
from agentgauge.notification import Alert, Event, Notification, Notifier
from agentgauge.processing import EnhancedProcessingInterface, ProcessingContext, ProcessingSettings
from virtual_time import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.testing import FakeClock
    from virtual_time import Process

A_MINUTE = 60.0
_PATIENCE_SECONDS = 60.0
_HANG_SECONDS = 0.05


class Alone(Program):
    """A program that begins when nothing is left of the one before: breakers have series for as long as they are there."""

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Let it work, and yield what each scrape brings."""
        gc.collect()
        yield from super().pages(names, interval_seconds)


class Part:
    """A component whose check finds what it is told to; three bad ones in a row are needed unless it is told otherwise."""

    def __init__(
        self,
        name: str,
        component_type: ComponentType = ComponentType.SERVICE,
        failure_threshold: int = 3,
        interval_seconds: float = A_MINUTE,
    ) -> None:
        self.name = name
        self.component_type = component_type
        self.schedule = Schedule(interval_seconds=interval_seconds, failure_threshold=failure_threshold)
        self.status = Status.HEALTHY

    def check(self) -> Finding:
        """Find it so."""
        return Finding(status=self.status)


class Rounds:
    """A monitor whose checks are made when told to, each once and to its end."""

    def __init__(self, clock: FakeClock, parts: tuple[Part, ...]) -> None:
        self.monitor = SystemHealthMonitor(parts, clock=clock, wall_clock=clock, random=lambda: 0.0)
        self._clock = clock

    def begin(self) -> None:
        """Start monitoring, which makes the first checks; later ones are made here alone, and not whenever the watch wakes."""
        self.monitor.start_monitoring().wait(_PATIENCE_SECONDS)
        watch = self.monitor._rounds._watch
        assert watch is not None
        watch._step = lambda: A_MINUTE if self.monitor.is_monitoring else None

    def a_minute_later(self) -> None:
        """Let a minute go by, and make the checks that are due then."""
        self._clock.advance(A_MINUTE)
        rounds = self.monitor._rounds  # its thread would come by the real clock
        rounds.step()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._goes_on():
            assert time.monotonic() < deadline, "a check does not end"
            time.sleep(0.0005)

    def _goes_on(self) -> bool:
        rounds = self.monitor._rounds
        with rounds.lock:
            return any(component.run is not None for component in rounds.components.values())


@contextmanager
def checking(process: Process, *parts: Part) -> Iterator[Rounds]:
    """Check components while the block does."""
    rounds = Rounds(process.clock, parts)
    rounds.begin()
    try:
        yield rounds
    finally:
        rounds.monitor.close()


def call(breaker: CircuitBreaker, *, well: int = 0, badly: int = 0) -> None:
    """Make so many calls through a breaker, the failing ones first, as far as it lets them through."""
    for number in range(badly + well):
        with suppress(CircuitOpenError, ConnectionError), breaker:
            if number < badly:
                raise ConnectionError("planted")


class Desk(EnhancedProcessingInterface[str, str]):
    """Answers one request at a time, and refuses those that come meanwhile."""

    settings = ProcessingSettings(agent="clerk", task="answer", max_concurrency=1, queue_limit=0)

    def __init__(self, settings: ProcessingSettings | None = None) -> None:
        super().__init__(settings=settings)
        self._is_at_work, self._may_answer = asyncio.Event(), asyncio.Event()

    async def _process(self, input_data: str, context: ProcessingContext) -> str:
        self._is_at_work.set()
        await self._may_answer.wait()
        return input_data

    async def serve(self, *, answered: int, refused: int) -> None:
        """Get so many requests; one is at work while the refused ones come."""
        self._is_at_work.clear()
        self._may_answer.clear()
        first = asyncio.create_task(self.process("first"))
        await self._is_at_work.wait()
        for _ in range(refused):
            assert (await self.process("refused")).error is not None
        self._may_answer.set()
        await first
        for _ in range(answered - 1):
            assert (await self.process("another")).error is None


class Told:
    """Three handlers of alerts, of which one raises and one hangs while they are broken."""

    def __init__(self, process: Process) -> None:
        self.is_broken = False
        self._process = process
        self._told = 0
        self._may_return = threading.Event()
        self._notifiers = Notifier(_PATIENCE_SECONDS), Notifier(_PATIENCE_SECONDS)
        self._notifiers[0].add(self.mail)
        self._notifiers[0].add(self.chat)
        self._notifiers[1].add(self.pager)

    def mail(self, _notification: Notification) -> None:
        """Take it."""

    def chat(self, _notification: Notification) -> None:
        """Raise while broken."""
        if self.is_broken:
            raise ConnectionError("planted")

    def pager(self, _notification: Notification) -> None:
        """Hang while broken."""
        if self.is_broken:
            self._may_return.wait()

    def tell(self) -> None:
        """Tell them that something is wrong, and wait until it is counted what became of that."""
        at = self._process.clock.now
        (paging,) = self._notifiers[1]._lanes
        paging._timeout_seconds = _HANG_SECONDS if self.is_broken else _PATIENCE_SECONDS  # whoever returns may take their time
        alert = Alert(source="plan", subject="something", severity="warning", summary="It is wrong.", started_at=at)
        for notifier in self._notifiers:
            notifier.tell([Notification(event=Event.STARTED, alert=alert, at=at)])
            self._told += len(notifier.reports)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._counted() < self._told:
            assert time.monotonic() < deadline, [notifier.reports for notifier in self._notifiers]
            time.sleep(0.001)

    def _counted(self) -> float:
        family = reliability.NOTIFICATIONS.base_name
        return sum(
            sample.value
            for metric in self._process.isolation.registry.collect()
            if metric.name == family
            for sample in metric.samples
        )

    def close(self) -> None:
        """Let what hangs return, and wait until nobody tells anything any more."""
        self._may_return.set()
        for notifier in self._notifiers:
            for handler in (self.mail, self.chat, self.pager):
                notifier.remove(handler)
        for thread in threading.enumerate():
            if f"{type(self).__name__}." in thread.name:
                thread.join(_PATIENCE_SECONDS)
