"""One alert handler, told one thing after another, whom nobody waits for."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentgauge.notification.alerts import AlertHandler, Notification

__all__ = ["HandlerReport", "Lane"]

_HOOK = "alert_handler"
_MOST_WAITING = 100
_MOST_HUNG = 3
_own_lane: ContextVar[Lane | None] = ContextVar("agentgauge_own_lane", default=None)  # of the handler that runs


@dataclass(frozen=True, slots=True)
class HandlerReport:
    """How a handler did so far, in notifications.

    Attributes:
        name: The handler's name.
        delivered: It returned in time.
        failed: It raised.
        timed_out: It did not return in time; what it does from then on counts no more.
        dropped: It was not told: too many waited for it, or too many of its calls hang.
    """

    name: str
    delivered: int = 0
    failed: int = 0
    timed_out: int = 0
    dropped: int = 0


class _LateError(Exception):
    """A coroutine did not end in time."""


class Lane:
    """One handler, the notifications that wait for it, and the thread that tells them one after another while there are any."""

    def __init__(
        self, handler: AlertHandler, timeout_seconds: float, find_loop: Callable[[], asyncio.AbstractEventLoop | None]
    ) -> None:
        self.handler = handler
        self.name = _name_of(handler)
        self._timeout_seconds = timeout_seconds
        self._find_loop = find_loop
        self.renew()

    def renew(self) -> None:
        """Start anew, as a forked child must: the threads are the parent's."""
        self._changed = threading.Condition()
        self._waiting: deque[Notification] = deque()
        self._is_busy = False
        self._hung = 0
        self._counts = dict.fromkeys(("delivered", "failed", "timed_out", "dropped"), 0)

    def report(self) -> HandlerReport:
        """Tell how the handler did so far."""
        with self._changed:
            return HandlerReport(self.name, **self._counts)

    def put(self, notification: Notification) -> None:
        """Let the handler be told, after what waits already; what is too much is dropped and counted."""
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                self._counts["dropped"] += 1
                return
            self._waiting.append(notification)
            if self._is_busy or sys.is_finalizing():
                return
            try:
                threading.Thread(target=self._work, name=f"agentgauge-alerts-{self.name}", daemon=True).start()
            except RuntimeError:  # no thread is left: what waits goes with the next
                return
            self._is_busy = True

    def close(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._waiting.clear()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits and nothing is being told, for up to ``timeout_seconds``; tell whether that is so.

        A handler that asks is not waited for.
        """
        if _own_lane.get() is self:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._is_busy, timeout_seconds)

    def _work(self) -> None:
        try:
            while (notification := self._next()) is not None:
                self._tell(notification)
        except BaseException:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
            raise

    def _next(self) -> Notification | None:
        with self._changed:
            while self._waiting and self._hung >= _MOST_HUNG:
                self._waiting.popleft()
                self._counts["dropped"] += 1
            if self._waiting:
                return self._waiting.popleft()
            self._is_busy = False  # under the lock that put() looks under: nothing is left waiting
            self._changed.notify_all()
            return None

    def _tell(self, notification: Notification) -> None:
        """Call the handler in a thread of its own, which is left behind where it does not return in time."""
        done = threading.Event()
        call = threading.Thread(target=self._call, args=(notification, done), name=f"agentgauge-alert-{self.name}", daemon=True)
        try:
            call.start()
        except RuntimeError:
            with self._changed:
                self._counts["dropped"] += 1
            return
        if done.wait(self._timeout_seconds):
            return
        with self._changed:
            is_late = not done.is_set()  # it is set under the lock
            if is_late:
                self._counts["timed_out"] += 1
                self._hung += 1
                done.set()
        if is_late:
            self._report_late()

    def _call(self, notification: Notification, done: threading.Event) -> None:
        ending, fault = "delivered", None
        _own_lane.set(self)
        try:
            result = self.handler(notification)
            if inspect.isawaitable(result):
                self._await(result)
        except _LateError:
            ending = "timed_out"
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, and it costs only itself
            ending, fault = "failed", error
        with self._changed:
            if done.is_set():  # it was left behind
                self._hung -= 1
                return
            self._counts[ending] += 1
            done.set()
        if ending == "timed_out":
            self._report_late()
        elif isinstance(fault, Exception):
            report_internal_error(_HOOK, fault)

    def _report_late(self) -> None:
        report_internal_error(_HOOK, TimeoutError(f"{self.name} did not return within {self._timeout_seconds} seconds"))

    def _await(self, awaitable: Awaitable[object]) -> None:
        """Wait for a coroutine on the program's loop, or on one of its own where that does not run."""
        loop = self._find_loop()
        if loop is None or not loop.is_running():
            asyncio.run(self._limited(awaitable))
            return
        asyncio.run_coroutine_threadsafe(self._limited(awaitable), loop).result()

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


def _name_of(handler: AlertHandler) -> str:
    return str(getattr(handler, "__qualname__", None) or type(handler).__qualname__)
