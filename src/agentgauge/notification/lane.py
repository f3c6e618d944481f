"""One alert handler, told one thing after another, whom nobody waits for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import math
import sys
import threading
import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import reliability
from agentgauge.errors import report_internal_error
from agentgauge.notification.complaint import Complaint
from agentgauge.notification.deadline import lane_ends_at
from agentgauge.notification.delivery import DeliveryError, Routed, name_of
from agentgauge.notification.desk import Desk
from agentgauge.notification.destination import Destination
from agentgauge.notification.line import Line
from agentgauge.notification.text import one_line
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agentgauge.notification.alerts import AlertHandler, Notification
    from agentgauge.notification.line import Queue

__all__ = ["HandlerReport", "Lane"]

_HOOK = "alert_handler"
_MOST_HUNG = 3
_LONGEST_WAIT_SECONDS = 30.0  # until a thread looks whether its notifier is still there
_LOOK_SECONDS = 1.0  # how often to look whether the program's loop is still there
_own_lane: ContextVar[Lane | None] = ContextVar("agentgauge_own_lane", default=None)  # of the handler that runs


@dataclass(frozen=True, slots=True)
class HandlerReport:
    """How a handler did so far, in notifications.

    Attributes:
        name: The handler's name.
        delivered: It returned in time.
        failed: It raised; with a policy, they are tried again.
        timed_out: It did not return in time; what it does from then on counts no more. With a policy, they are tried again.
        dropped: It was not told: too many waited for it, or too many of its calls hang.
        suppressed: Its policy kept them from it: repeats, what ended before it was told, what is not severe enough.
    """

    name: str
    delivered: int = 0
    failed: int = 0
    timed_out: int = 0
    dropped: int = 0
    suppressed: int = 0


class _LateError(Exception):
    """A coroutine did not end in time."""


class _Call:
    """A call of a handler: its message, whether it is known what came of it (under the lane's lock), and whether it is over."""

    def __init__(self, message: tuple[Notification, ...]) -> None:
        self.message = message
        self.is_settled = False
        self.is_over = threading.Event()


class _Bell:
    """What wakes the thread of a lane, and outlives it; rung under the lock."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1
        self.changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Pause:
    """A wait of a lane's thread, until it is over or the bell has rung anew; whether the handler lacks anything."""

    bell: _Bell
    rings: int
    seconds: float
    is_owing: bool

    def wait(self) -> None:
        with self.bell.changed:
            self.bell.changed.wait_for(lambda: self.bell.rings != self.rings, self.seconds)


def _work(box: list[Lane]) -> None:
    """Have a lane tell its handler what there is to tell.

    While there is nothing but what one is reminded of, the thread does not keep the lane: the lane holds its handler, and that
    may hold all that would let go of them.
    """
    lane: Lane | None = box.pop()
    left = weakref.ref(lane)
    while lane is not None and (pause := lane.work()) is not None:
        if not pause.is_owing:
            lane = None
        pause.wait()
        lane = left()


class Lane:
    """One handler, what is there to tell it, and the thread that tells it while there is or will be something.

    Args:
        handler: Who is told; a ``Routed`` by its policy.
        timeout_seconds: How long one call of it may take.
        find_loop: Where coroutines run; None for a loop of their own.
        clock: Seconds that never go back, by which policies wait.
    """

    def __init__(
        self,
        handler: AlertHandler,
        timeout_seconds: float,
        find_loop: Callable[[], asyncio.AbstractEventLoop | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.handler = handler
        self.name = name_of(handler)
        self._timeout_seconds = timeout_seconds
        self._find_loop = find_loop
        self._clock = clock
        self._is_retired = False
        self._complaint = Complaint()
        route = Routed(handler, handler.default_policy) if isinstance(handler, Destination) else handler
        self._takes_groups = isinstance(route, Routed) and route.takes_groups
        self._queue: Queue = Line()
        if isinstance(route, Routed):
            self._queue = Desk(route.policy) if route.takes_groups else Desk(route.policy, most=1)
        self.renew()
        recorder = default_recorder()
        recorder.dependents.add(self)
        self.forget()

    def renew(self) -> None:
        """Start anew, as a forked child must: the threads are the parent's."""
        self._bell = _Bell()
        self._changed = self._bell.changed
        self._queue.clear()
        self._is_busy = False
        self._is_telling = False
        self._hung = 0
        self._counts = dict.fromkeys(reliability.NOTIFICATION_OUTCOMES, 0)

    def forget(self) -> None:
        """Show zeros where the recorder starts anew: ``increase()`` does not see a first count that no zero came before."""
        self._show(dict.fromkeys(reliability.NOTIFICATION_OUTCOMES, 0))

    def report(self) -> HandlerReport:
        """Tell how the handler did so far."""
        with self._changed:
            return HandlerReport(self.name, **self._counts)

    def put(self, notifications: Sequence[Notification]) -> None:
        """Let the handler be told, after what waits already; what is too much is dropped and counted."""
        with self._changed:
            now = self._clock()
            self._queue.put(notifications, now)
            news = self._take_note()
            self._begin(now)
        self._show(news)

    def _begin(self, now: float) -> None:
        """See to it that a thread tells what there is to tell."""
        if self._is_busy:
            self._bell.ring()
            return
        if self._queue.seconds_until_due(now) is None or sys.is_finalizing():
            return
        try:
            threading.Thread(target=_work, args=([self],), name=f"agentgauge-alerts-{self.name}", daemon=True).start()
        except RuntimeError:  # no thread is left: what waits goes with the next
            return
        self._is_busy = True

    def close(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._queue.clear()
            self._bell.ring()

    def retire(self) -> None:
        """Tell what is left, and remind of nothing: for a garbage collector to call, which must wait for no lock."""
        self._is_retired = True

    def hurry(self) -> None:
        """Tell at once what waits for company, or for another try."""
        with self._changed:
            self._queue.hurry()
            self._begin(self._clock())

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is being told or due, for up to ``timeout_seconds``; tell whether the handler was told all of it.

        A handler that asks is not waited for.
        """
        if _own_lane.get() is self:
            return True
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout_seconds) and not self._queue.owes(self._clock())

    def _is_idle(self) -> bool:
        if not self._is_busy:
            return True
        wait = self._queue.seconds_until_due(self._clock())
        return not self._is_telling and (wait is None or wait > 0 or self._hung >= _MOST_HUNG)

    def work(self) -> _Pause | None:
        """Tell what is due, one thing after another, in the lane's thread.

        Returns:
            How to wait until it is worth another look; None where there will be nothing.
        """
        try:
            while True:
                with self._changed:
                    message, pause = self._look()
                    news = self._take_note()
                self._show(news)
                if not message:
                    return pause
                self._tell(message)
        except BaseException:
            with self._changed:
                self._is_busy = self._is_telling = False
                self._changed.notify_all()
            raise

    def _look(self) -> tuple[tuple[Notification, ...], _Pause | None]:
        if self._is_retired:
            self._queue.retire()
        is_hung = self._hung >= _MOST_HUNG
        if is_hung:
            self._queue.refuse()
        message = () if is_hung else self._queue.take(self._clock())
        self._is_telling = bool(message)
        if message:
            return message, None
        wait = self._queue.seconds_until_due(self._clock())
        self._changed.notify_all()
        if wait is None:
            self._is_busy = False  # under the lock that put() looks under: nothing is left waiting
            return (), None
        seconds = _LONGEST_WAIT_SECONDS if is_hung else min(wait, _LONGEST_WAIT_SECONDS)
        return (), _Pause(self._bell, self._bell.rings, seconds, is_owing=self._queue.owes(math.inf))

    def _tell(self, message: tuple[Notification, ...]) -> None:
        """Call the handler in a thread of its own, which is left behind where it does not return in time."""
        call = _Call(message)
        thread = threading.Thread(target=self._call, args=(call,), name=f"agentgauge-alert-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is left
            with self._changed:
                self._settle("failed" if isinstance(self._queue, Desk) else "dropped", message)
                news = self._take_note()
            self._show(news)
            return
        if call.is_over.wait(self._timeout_seconds):
            return
        with self._changed:
            if call.is_settled:  # in the last moment
                return
            call.is_settled = True
            self._hung += 1
            self._settle("timed_out", message)
            news = self._take_note()
        self._show(news)
        self._report_late()

    def _call(self, call: _Call) -> None:
        ending, fault = "delivered", None
        _own_lane.set(self)
        lane_ends_at.set(time.monotonic() + self._timeout_seconds)
        handler: Callable[[Any], object] = self.handler
        try:
            result = handler(call.message if self._takes_groups else call.message[0])
            if inspect.isawaitable(result):
                self._await(result)
        except _LateError:
            ending = "timed_out"
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, and it costs only itself
            ending, fault = "failed", error
        with self._changed:
            if call.is_settled:  # it was left behind
                self._hung -= 1
                if ending == "delivered":
                    self._queue.arrive(call.message, self._clock())
                self._bell.ring()
                return
            call.is_settled = True
            self._settle(ending, call.message, fault)
            news = self._take_note()
        self._show(news)
        call.is_over.set()
        if ending == "timed_out":
            self._report_late()
        elif isinstance(fault, DeliveryError):
            self._complaint.make(one_line(fault if self.name in str(fault) else f"{self.name}: {fault}"))
        elif isinstance(fault, Exception):
            report_internal_error(_HOOK, fault)

    def _settle(self, ending: str, message: tuple[Notification, ...], fault: BaseException | None = None) -> None:
        self._queue.tally[ending] = self._queue.tally.get(ending, 0) + len(message)
        retry_after = fault.retry_after_seconds if isinstance(fault, DeliveryError) else None
        self._queue.settle(self._clock(), is_delivered=ending == "delivered", retry_after_seconds=retry_after)

    def _take_note(self) -> dict[str, int]:
        """Return what became of notifications since this was last called, having counted it."""
        news = {outcome: count for outcome, count in self._queue.tally.items() if count}
        self._queue.tally.clear()
        for outcome, count in news.items():
            self._counts[outcome] += count
        return news

    def _show(self, news: Mapping[str, int]) -> None:
        """Make series of it; not under the lock, since this may wait for the recorder's."""
        for outcome, count in news.items():
            labels = (("handler", self.name), ("outcome", outcome))
            default_recorder().observe(reliability.NOTIFICATIONS, labels, count)

    def _report_late(self) -> None:
        text = f"{self.name} did not return within {self._timeout_seconds} seconds"
        if isinstance(self._queue, Desk) and isinstance(getattr(self.handler, "handler", self.handler), Destination):
            self._complaint.make(text)
        else:
            report_internal_error(_HOOK, TimeoutError(text))

    def _await(self, awaitable: Awaitable[object]) -> None:
        """Wait for a coroutine on the program's loop, or on one of its own where that does not run."""
        loop = self._find_loop()
        if loop is None or not loop.is_running():
            asyncio.run(self._limited(awaitable))
            return
        future = asyncio.run_coroutine_threadsafe(self._limited(awaitable), loop)
        while not concurrent.futures.wait([future], _LOOK_SECONDS).done:
            if loop.is_closed():  # and nobody will ever resolve the future
                future.cancel()
                raise RuntimeError(f"the loop ended before {self.name} did")
        future.result()

    async def _limited(self, awaitable: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                await awaitable
        except TimeoutError as error:
            if limit.expired():
                raise _LateError from error
            raise
        except SystemExit as error:  # it would end the program's loop
            raise RuntimeError(f"{self.name} raised SystemExit") from error
