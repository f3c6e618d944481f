"""Something that goes on by itself, whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Begun"]

T = TypeVar("T")


class Begun(Generic[T]):
    """What has begun already: ``await`` it in a coroutine, ``wait()`` for it in a thread, or let it be.

    Args:
        make: Gives what came of it, when it has ended, to whoever waits.
        on_cancel: Called where a coroutine that awaits it is cancelled before it has ended.
    """

    def __init__(self, make: Callable[[], T], on_cancel: Callable[[], None] | None = None) -> None:
        self._make = make
        self._on_cancel = on_cancel
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._waiting: list[Callable[[], None]] = []

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def finish(self) -> None:
        """Let it have ended; nothing to do where it has."""
        with self._changing:
            self._ended.set()
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait in a thread, for up to ``timeout_seconds``, and tell whether it has ended; a coroutine awaits it instead."""
        return self._ended.wait(timeout_seconds)

    def result(self) -> T:
        """Wait in a thread, and return what came of it."""
        self._ended.wait()
        return self._make()

    def __await__(self) -> Generator[object, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(event.set)

        with self._changing:
            if not self._ended.is_set():
                self._waiting.append(tell)
        try:
            if not self._ended.is_set():
                await event.wait()
        except BaseException:
            if self._on_cancel is not None and not self._ended.is_set():
                self._on_cancel()
            raise
        return self.result()
