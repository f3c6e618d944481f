"""The threads by which what analytics objects recorded goes to their histories: one for each history."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import Protocol

from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import ForkGate, process_mark

__all__ = ["start_shipping"]

_EXIT_SECONDS = 1.0

_joining = ForkGate()  # held where a book comes to a ship, and where a ship ends since it has none


class Book(Protocol):
    """What has points for a history."""

    def write(self) -> int:
        """Write what it has, and return how many points that took."""


class _Ship:
    """The thread of one history, and whose points it writes."""

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key
        self.intervals: dict[weakref.ref[Book], float] = {}  # of the books that are alive
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.ending: SimpleQueue[_Ship | None] | None = None  # set where the program ends: it hears of each book, then of the end
        self.thread = threading.Thread(target=self._run, name="agentgauge-analytics", daemon=True)
        self._is_started = False

    def add(self, book: Book, interval_seconds: float) -> None:
        intervals, wake = self.intervals, self.wake

        def leave(reference: weakref.ref[Book]) -> None:
            intervals.pop(reference, None)
            wake.put(None)

        intervals[weakref.ref(book, leave)] = interval_seconds
        wake.put(None)
        if not self._is_started:  # nor is it being started, by what a signal handler has interrupted
            self._is_started = True
            try:
                self.thread.start()
            except RuntimeError:
                self._is_started = False
                raise

    def _run(self) -> None:
        due: dict[weakref.ref[Book], float] = {}
        while self.ending is None and not self._is_over():
            intervals = self.intervals.copy()
            due = {reference: due.get(reference) or _next(interval) for reference, interval in intervals.items()}
            for reference in [reference for reference, at in due.items() if at <= time.monotonic()]:
                if self.ending is None:
                    self._write(reference)
                    due[reference] = _next(intervals[reference])
            pause = min(due.values(), default=0.0) - time.monotonic()
            with contextlib.suppress(Empty):
                self.wake.get(timeout=max(0.0, pause))
                while True:
                    self.wake.get_nowait()
        if self.ending is not None:
            for reference in self.intervals.copy():
                self._write(reference)
            self.ending.put(self)

    def _write(self, reference: weakref.ref[Book]) -> None:
        book = reference()  # and nobody else may have it when this returns
        if book is not None:
            try:
                with contain_internal_errors("analytics"):
                    book.write()
            except BaseException:  # noqa: BLE001 - of a history of the program's: the thread has other books
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        if self.ending is not None:
            self.ending.put(None)

    def _is_over(self) -> bool:
        with _joining.lock:
            is_over = not self.intervals
            if is_over and _ships.get(self.key) is self:
                del _ships[self.key]
            return is_over


_ships: dict[tuple[object, ...], _Ship] = {}  # by the history, which its books keep, and the process


def start_shipping(book: Book, history: object, interval_seconds: float) -> None:
    """Write a book's points to its history from time to time, for as long as the book lives, and when the program exits.

    Disks that hang hold up the exit for a second, however many books wait for them.

    Raises:
        RuntimeError: No thread can be started now; the points are written at the exit, if one can be then.
    """
    atexit.unregister(_write_last)
    atexit.register(_write_last)  # now: it is to come before what the program registered earlier, such as the history's end
    with _joining.lock:
        key = (id(history), process_mark())
        _ships.setdefault(key, _Ship(key)).add(book, interval_seconds)


def _write_last() -> None:
    """Let all write at once, and wait until a second has passed in which none was done."""
    ending: SimpleQueue[_Ship | None] = SimpleQueue()
    with _joining.lock:
        at_work = {ship for ship in _ships.values() if ship.key[1] == process_mark()}
        for ship in at_work:
            ship.ending = ending
            ship.wake.put(None)
        _ships.clear()  # whatever is recorded from now on has a thread of its own
    for ship in [*at_work]:
        if ship.thread.ident is None:  # it could not be started, and here nothing may be written: a disk that hangs has no end
            with contextlib.suppress(RuntimeError):
                ship.thread.start()
        if ship.thread.ident is None:
            at_work.discard(ship)
    with contextlib.suppress(Empty):
        while at_work:
            done = ending.get(timeout=_EXIT_SECONDS)
            if done is not None:
                at_work.discard(done)


def _next(interval_seconds: float) -> float:
    """Return when an interval ends: those that are as long end together, so that the thread wakes up once for all."""
    return (time.monotonic() // interval_seconds + 1) * interval_seconds
