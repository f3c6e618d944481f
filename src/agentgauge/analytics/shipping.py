"""The threads by which what analytics objects recorded goes to their histories."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import process_mark

__all__ = ["start_shipping"]

_EXIT_SECONDS = 1.0


class Book(Protocol):
    """What has points for a history."""

    def write(self) -> int:
        """Write what it has, and return how many points that took."""


class _Ship(NamedTuple):
    thread: threading.Thread
    wake: SimpleQueue[None]
    process: tuple[int, int]


_ships: dict[weakref.ref[Book], _Ship] = {}  # of the books that are alive


def start_shipping(book: Book, interval_seconds: float) -> None:
    """Write a book's points to its history from time to time, for as long as the book lives, and when the program exits.

    Disks that hang hold up the exit for a second, however many books wait for them.
    """
    wake: SimpleQueue[None] = SimpleQueue()

    def end(reference: weakref.ref[Book]) -> None:
        _ships.pop(reference, None)
        wake.put(None)

    reference = weakref.ref(book, end)
    thread = threading.Thread(
        target=_write_for, args=(reference, interval_seconds, wake), name="agentgauge-analytics", daemon=True
    )
    _ships[reference] = _Ship(thread, wake, process_mark())
    atexit.unregister(_write_last)
    atexit.register(_write_last)  # now: it is to come before what the program registered earlier, such as the history's end
    thread.start()


def _write_for(reference: weakref.ref[Book], interval_seconds: float, wake: SimpleQueue[None]) -> None:
    is_last = False
    while not is_last:
        try:
            wake.get(timeout=interval_seconds)
        except Empty:
            pass
        else:
            is_last = True
        if reference() is None:
            return
        _write(reference)


def _write_last() -> None:
    """Let all write at once, and wait until a second has passed in which none was done."""
    ships = [ship for ship in list(_ships.values()) if ship.process == process_mark()]
    for ship in ships:
        ship.wake.put(None)
        if ship.thread.ident is None:  # it could not be started, and here nothing may be written: a disk that hangs has no end
            with contextlib.suppress(RuntimeError):
                ship.thread.start()
    until = time.monotonic() + _EXIT_SECONDS
    for ship in ships:
        if ship.thread.ident is not None:
            ship.thread.join(max(0.0, until - time.monotonic()))
            if not ship.thread.is_alive():
                until = time.monotonic() + _EXIT_SECONDS


def _write(reference: weakref.ref[Book]) -> None:
    book = reference()  # and nobody else may have it when this returns
    if book is not None:
        with contain_internal_errors("analytics"):
            book.write()
