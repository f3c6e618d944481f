"""Who is told of alerts."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.notification.delivery import check_handler
from agentgauge.notification.lane import Lane
from agentgauge.requirements import require_clock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from agentgauge.notification.alerts import AlertHandler, Notification
    from agentgauge.notification.lane import HandlerReport

__all__ = ["Notifier"]

_LONGEST_SECONDS = 3600.0


class Notifier:
    """Tells handlers, each in the order in which things happened, and waits for none of them.

    Args:
        timeout_seconds: How long a handler may take for one notification. One that takes longer is left behind; while three of
            its calls hang it is told nothing.
        clock: Seconds that never go back, by which policies wait.

    Raises:
        ConfigurationError: The time limit is no positive number of seconds, or the clock is none.
    """

    def __init__(self, timeout_seconds: float = 10.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        is_number = isinstance(timeout_seconds, int | float) and not isinstance(timeout_seconds, bool)
        if not is_number or not 0 < timeout_seconds <= _LONGEST_SECONDS:
            raise ConfigurationError(
                f"handler_timeout_seconds={timeout_seconds!r}: give a number of seconds above 0 and up to {_LONGEST_SECONDS:.0f}"
            )
        require_clock("clock", clock)
        self.timeout_seconds = timeout_seconds
        self._clock = clock
        self._lanes: tuple[Lane, ...] = ()
        self._place = _Place()
        self._changing = threading.Lock()
        _notifiers.add(self)

    def add(self, handler: AlertHandler) -> None:
        """Tell ``handler`` of everything from now on; one that is there already is not told twice.

        Args:
            handler: A function or coroutine function of one ``Notification``. Functions run in a thread of their own, coroutines
                on the loop of ``use_loop``. A ``Routed`` and a destination are told by their policy.

        Raises:
            ConfigurationError: It cannot be called with one argument.
        """
        check_handler(handler)
        lane = Lane(handler, self.timeout_seconds, self._place.find, self._clock)
        with self._changing:
            if any(other.handler == handler for other in self._lanes):
                return
            self._lanes = (*self._lanes, lane)
        # not the lane itself: its handler may hold this notifier, which would then stay for good
        weakref.finalize(self, _retire, weakref.ref(lane)).atexit = False

    def remove(self, handler: AlertHandler) -> None:
        """Tell ``handler`` nothing more, of what waits for it neither; nothing to do where it is not there."""
        with self._changing:
            for lane in self._lanes:
                if lane.handler == handler:
                    lane.close()
            self._lanes = tuple(lane for lane in self._lanes if lane.handler != handler)

    def use_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Run coroutines of handlers on ``loop`` from now on; where it does not run, or for None, each has a loop of its own."""
        self._place.loop = loop

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Hand notifications to every handler, and return at once."""
        together = tuple(notifications)
        for lane in self._lanes:
            lane.put(together)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every handler was told everything; blocks, so that a coroutine calls it in a thread.

        What waits for company or for another try is told at once; what a cooldown holds back is not. Nobody is reminded of what
        lasts until ``tell`` is called again, be it with nothing.

        Args:
            timeout_seconds: How long at most.

        Returns:
            Whether that is so.
        """
        deadline = time.monotonic() + timeout_seconds
        lanes = self._lanes
        for lane in lanes:
            lane.hurry()
        told = [lane.wait_until_idle(max(0.0, deadline - time.monotonic())) for lane in lanes]
        return all(told)

    @property
    def reports(self) -> tuple[HandlerReport, ...]:
        """How each handler did so far."""
        return tuple(lane.report() for lane in self._lanes)

    def _renew_in_child(self) -> None:
        self._changing = threading.Lock()
        self._place.loop = None
        for lane in self._lanes:
            lane.renew()


class _Place:
    """Where coroutines run; lanes hold it rather than their notifier, whom their threads would keep."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    def find(self) -> asyncio.AbstractEventLoop | None:
        return self.loop


def _retire(lane: weakref.ref[Lane]) -> None:
    if (at_work := lane()) is not None:
        at_work.retire()


_notifiers: weakref.WeakSet[Notifier] = weakref.WeakSet()


def _renew_in_child() -> None:
    for notifier in list(_notifiers):
        notifier._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
