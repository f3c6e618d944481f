"""Who is told of alerts."""

from __future__ import annotations

import inspect
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.notification.lane import Lane

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from agentgauge.notification.alerts import AlertHandler, Notification
    from agentgauge.notification.lane import HandlerReport

__all__ = ["Notifier"]

_LONGEST_SECONDS = 3600.0


class Notifier:
    """Tells handlers, each in the order in which things happened, and waits for none of them.

    Args:
        timeout_seconds: How long a handler may take for one notification. One that takes longer is left behind; while three of
            its calls hang it is told nothing.

    Raises:
        ConfigurationError: The time limit is no positive number of seconds.
    """

    def __init__(self, timeout_seconds: float = 10.0) -> None:
        is_number = isinstance(timeout_seconds, int | float) and not isinstance(timeout_seconds, bool)
        if not is_number or not 0 < timeout_seconds <= _LONGEST_SECONDS:
            raise ConfigurationError(
                f"handler_timeout_seconds={timeout_seconds!r}: give a number of seconds above 0 and up to {_LONGEST_SECONDS:.0f}"
            )
        self.timeout_seconds = timeout_seconds
        self._lanes: tuple[Lane, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changing = threading.Lock()
        _notifiers.add(self)

    def add(self, handler: AlertHandler) -> None:
        """Tell ``handler`` of everything from now on; one that is there already is not told twice.

        Args:
            handler: A function or coroutine function of one ``Notification``. Functions run in a thread of their own, coroutines
                on the loop of ``use_loop``.

        Raises:
            ConfigurationError: It cannot be called with one argument.
        """
        _check_handler(handler)
        with self._changing:
            if all(lane.handler != handler for lane in self._lanes):
                self._lanes = (*self._lanes, Lane(handler, self.timeout_seconds, lambda: self._loop))

    def remove(self, handler: AlertHandler) -> None:
        """Tell ``handler`` nothing more, of what waits for it neither; nothing to do where it is not there."""
        with self._changing:
            for lane in self._lanes:
                if lane.handler == handler:
                    lane.close()
            self._lanes = tuple(lane for lane in self._lanes if lane.handler != handler)

    def use_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Run coroutines of handlers on ``loop`` from now on; where it does not run, or for None, each has a loop of its own."""
        self._loop = loop

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Hand notifications to every handler, and return at once."""
        for notification in notifications:
            for lane in self._lanes:
                lane.put(notification)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every handler was told everything; blocks, so that a coroutine calls it in a thread.

        Args:
            timeout_seconds: How long at most.

        Returns:
            Whether that is so.
        """
        deadline = time.monotonic() + timeout_seconds
        return all(lane.wait_until_idle(max(0.0, deadline - time.monotonic())) for lane in self._lanes)

    @property
    def reports(self) -> tuple[HandlerReport, ...]:
        """How each handler did so far."""
        return tuple(lane.report() for lane in self._lanes)

    def _renew_in_child(self) -> None:
        self._changing = threading.Lock()
        self._loop = None
        for lane in self._lanes:
            lane.renew()


_notifiers: weakref.WeakSet[Notifier] = weakref.WeakSet()


def _renew_in_child() -> None:
    for notifier in list(_notifiers):
        notifier._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)


def _check_handler(handler: object) -> None:
    if not callable(handler):
        raise ConfigurationError(f"alert handler {handler!r}: give a function or coroutine function of one Notification")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # builtins tell none
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(f"alert handler {handler!r}: it must take one argument, the Notification ({error})") from None
