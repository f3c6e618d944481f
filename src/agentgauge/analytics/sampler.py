"""The thread that writes what a registry shows to the local history, and keeps in memory what cannot be written."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.analytics.own_points import hand_over, keep, leave
from agentgauge.analytics.sweeps import RegistryReader
from agentgauge.analytics.waiting import LEAP_SECONDS, Ahead, Leaps, Waiting
from agentgauge.catalogue.analytics import (
    HISTORY_LAST_WRITE,
    HISTORY_MEMORY_ONLY,
    HISTORY_SERIES,
    HISTORY_SIZE,
    HISTORY_SWEEPS,
    SWEEP_OUTCOMES,
)
from agentgauge.errors import AgentgaugeError, HistoryError, contain_internal_errors, report_internal_error
from agentgauge.fork_gate import ForkGate, ForkOrder, process_mark
from agentgauge.recording.cells import ABSENT
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry

    from agentgauge.analytics.own_points import Store
    from agentgauge.analytics.sweeps import Sweep
    from agentgauge.recording.recorder import Recorder

__all__ = ["Sampler"]

_logger = logging.getLogger(__name__)

_STOP_SECONDS = 1.0
_FLUSH_SECONDS = 0.5  # of one interval, for sweeps that were kept: the host is to notice nothing
_LOG_INTERVAL_SECONDS = 60.0
_LOG_WAIT_SECONDS = 1.0
_TOLERANCE = 0.01  # of the interval, as Prometheus has it: times that are as far apart as they should take less room
_CATCHING_UP = "what was kept is being written"
_LEAPT = "the clock of this machine leapt ahead by more than a day: what comes waits ten minutes for it to be set right"
_AHEAD = (
    "its newest sweep is more than a day ahead of the clock of this machine: what comes waits ten minutes for it to be set right"
)
_OVERTAKEN = "with sweeps of a time to come, more than a day ahead of the clock of this machine"
_FAILURES_A_REOPENING = 4

_GAUGES = (HISTORY_MEMORY_ONLY, HISTORY_SERIES, HISTORY_SIZE, HISTORY_LAST_WRITE)

# A child that is forked while another thread is in SQLite finds locks of the library taken for ever, its own use of it included.
_writing = ForkGate()
# a child that is forked while a line is written could never take the lock of the log's file
_logging = ForkGate(order=ForkOrder.LOGGING)
_running: set[Sampler] = set()  # a child keeps what it inherits: to close a connection of its parent's could harm the file


class Sampler:
    """Writes the series of a registry to a history every ``interval_seconds``, from ``start()`` until ``stop()``.

    A sweep that cannot be written is kept in memory, the oldest go first where that is too much, and all are written in their
    order when that can be done again. Sweeps fall on multiples of the interval, beside the first and the last one.

    Args:
        path: The file, for messages and for its size.
        open_store: Opens the history; called again where the file has gone or stays unwritable. It raises ``HistoryError``.
        registry: What is read.
        interval_seconds: From one sweep to the next.
        labels: Labels that every series gets, such as ``job``.
        store: The history where it is open already; None where another process has it, and the sampler is to wait for it.
        clock: Unix time in seconds.
        monotonic: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        path: str,
        open_store: Callable[[], Store],
        registry: CollectorRegistry,
        interval_seconds: float = 15.0,
        *,
        labels: Mapping[str, str] | None = None,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.interval_seconds = interval_seconds
        self._open_store = open_store
        self._reader = RegistryReader(registry, labels)
        self._labels = {name: value for name, value in (labels or {}).items() if value}
        self._clock = clock
        self._monotonic = monotonic
        self._mark = process_mark()
        self._wake: SimpleQueue[None] = SimpleQueue()  # not an Event, whose set() could wait for itself in a signal handler
        self._thread: threading.Thread | None = None
        self._is_threaded = False  # whose end gives the file back
        self._is_last = False
        self._stating = threading.RLock()  # so that no page shows what was taken away meanwhile
        self._is_shown = False
        self._recorder = default_recorder()
        self._store = store
        self._file = _identity(path) if store is not None else None
        self._failures = 0
        self._kept = Waiting()
        self._leaps = Leaps()
        self._ahead = Ahead()
        self._newest: float | None = None  # of the file's sweeps; None where that is not known yet
        self._last_at = self._believed_at = float("-inf")
        self._next_line = float("-inf")
        self._is_troubled = store is None
        self._facts: dict[object, float] = {}

    # --- the thread -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Show its own series, take the first sweep, and go on in a thread; that it cannot start is no error."""
        _running.add(self)
        with self._stating:
            self._is_shown = True
        self._recorder.reporters.add(self)
        for outcome in SWEEP_OUTCOMES:
            self._count(outcome, 0)
        thread = threading.Thread(target=self._run, name="agentgauge-history", daemon=True)
        self._is_threaded = True
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._is_threaded = False
            return
        self._thread = thread
        keep(self)
        atexit.register(self.stop)

    def stop(self) -> None:
        """Take a last sweep, and give the file back; more than once is fine.

        A write that hangs is waited for a second; whenever it ends, the thread gives the file back. There is nothing to do in
        a forked child: the thread and the file are its parent's.
        """
        if self._mark != process_mark():
            return
        atexit.unregister(self.stop)
        self._wake.put(None)
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                self._log(logging.WARNING, f"the history {self.path} hangs: its last sweeps may not be on disk")
        leave(self)
        if not self._is_threaded:
            self._end()
        self._recorder.reporters.discard(self)
        with self._stating:
            self._is_shown = False
            for family in _GAUGES:
                self._recorder.observe(family, (), ABSENT)

    def _run(self) -> None:
        while not self._is_last:
            with contain_internal_errors("history"):
                self.sweep()
            hand_over()
            try:
                self._wake.get(timeout=self._pause_seconds())
            except Empty:
                pass
            else:
                self._is_last = True
                with contain_internal_errors("history"):
                    self.sweep()
                hand_over()
        self._end()

    def _end(self) -> None:
        """Give the file back, and say so where what is in memory ends with this program."""
        if lost := self._kept.clear():
            self._count("dropped", lost)
            self._log(
                logging.WARNING,
                f"the history {self.path} could not be written until the end: {lost} {'sweep' if lost == 1 else 'sweeps'}"
                " that only memory had went with the program",
            )
        self._close()
        _running.discard(self)

    def _pause_seconds(self) -> float:
        interval = self.interval_seconds
        pause = interval - self._clock() % interval
        return pause if pause > _TOLERANCE * interval else pause + interval  # woken a moment too early: that was the sweep

    # --- one sweep --------------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Read the registry once, and write what was read and what waits; the thread does it, and tests.

        Raises:
            Exception: What a collector of the registry raised.
        """
        now = self._clock()
        why_not = self._doubt(now)
        due = now // self.interval_seconds * self.interval_seconds
        is_in_time = now - due <= _TOLERANCE * self.interval_seconds and due > self._last_at
        sweep = self._reader.read(due if is_in_time else now)
        if sweep.at <= self._last_at:
            self._count("dropped")
            if now < self._last_at:
                self._complain("the clock of this machine went back, and what comes is dropped until it is where it was")
            return
        self._last_at = sweep.at
        if not why_not:
            self._believed_at = sweep.at
        self._facts[HISTORY_SERIES] = float(len(sweep.series))
        with _writing.lock:  # no code of the program's runs in here
            why_not = why_not or self._write_kept() or self._write(sweep)
        if why_not:
            self._count("kept")
            if gone := self._kept.append(sweep):
                self._count("dropped", gone)
        self._facts[HISTORY_MEMORY_ONLY] = float(why_not not in ("", _CATCHING_UP))
        if why_not not in ("", _CATCHING_UP):
            kept = len(self._kept)
            self._complain(
                f"{why_not}; {kept} {'sweep is' if kept == 1 else 'sweeps are'} kept in memory until it can be written"
            )
        elif self._is_troubled and not why_not:
            self._is_troubled = False
            self._log(logging.INFO, f"the history {self.path} is written again")
        self._facts[HISTORY_SIZE] = float(_size(self.path))

    def _doubt(self, now: float) -> str:
        """Return what is wrong with the time; forget what waits under a time that is taken back."""
        is_new = self._newest is None or now - self._newest > LEAP_SECONDS  # else it comes back to where the file is
        if self._leaps.is_doubted(now, self._monotonic()) and is_new:
            return _LEAPT
        if now < self._last_at and self._believed_at < self._last_at:
            self._count("dropped", self._kept.forget_after(self._believed_at))
            self._last_at = self._believed_at
        if self._last_at - now > LEAP_SECONDS:  # it was wrong, or is wrong now: which, is seen from what comes
            self._count("dropped", self._kept.forget_after(now))
            self._last_at = self._believed_at = -math.inf
        return ""

    def _write_kept(self) -> str:
        """Open the file, and write what was kept, in its order and for a while; return what is wrong."""
        until = self._monotonic() + (math.inf if self._is_last else _FLUSH_SECONDS)
        while not (why_not := self._opened()) and self._kept:  # opening may drop some
            if why_not := self._write(self._kept.oldest):
                break
            self._kept.forget_oldest()
            if self._monotonic() >= until and self._kept:
                return _CATCHING_UP
        return why_not

    def _write(self, sweep: Sweep) -> str:
        """Write one sweep; return what is wrong, nothing where it is on disk, or can never be."""
        store = self._store
        assert store is not None  # noqa: S101 - it was opened a moment ago
        try:
            store.write(sweep.at, sweep.samples())
        except HistoryError as error:
            if self._is_too_late(sweep):
                self._count("dropped")
                self._complain(str(error))
                return ""
            self._failures += 1
            if self._failures % _FAILURES_A_REOPENING == 0:
                self._close()
            return str(error)
        except Exception as error:  # noqa: BLE001 - no sweep that nobody can write may hold up all that come after it
            report_internal_error("history", error)
            self._count("dropped")
            return ""
        self._failures = 0
        self._newest = max(sweep.at, self._newest or -math.inf)
        self._facts[HISTORY_LAST_WRITE] = self._clock()
        self._count("written")
        return ""

    def _is_too_late(self, sweep: Sweep) -> bool:
        """Tell whether a sweep can never be written, since the history has a later one: the clock went back, perhaps long ago."""
        with contextlib.suppress(AgentgaugeError):
            last = None if self._store is None else self._store.last_sweep()
            return last is not None and sweep.at <= last
        return False

    def _opened(self) -> str:
        """Open the file where it is not open, or is not the one that was; return what is wrong."""
        if self._store is not None and _identity(self.path) != self._file:
            self._close()  # somebody has moved or removed it: what is written there would be lost
        try:
            if self._store is None:
                self._store = self._open_store()
                self._file = _identity(self.path)
            elif self._newest is not None:
                return self._overtaken(self._store, self._newest)
            last = self._store.last_sweep()
            self._newest = -math.inf if last is None else last
            if why_not := self._overtaken(self._store, self._newest):
                return why_not
        except AgentgaugeError as error:
            return str(error)
        # What another process wrote is of another program's run: two at one time would be one series that jumps.
        self._count("dropped", self._kept.forget_until(self._newest))
        return ""

    def _overtaken(self, store: Store, newest: float) -> str:
        """Wait where the file's sweeps are far ahead, and begin a new file where they stay so; return whether to wait."""
        now = self._clock()
        if self._ahead.is_doubted(newest, now, self._monotonic()):
            return _AHEAD
        if newest - now > LEAP_SECONDS:
            store.begin_anew(_OVERTAKEN)
            newest, self._file = -math.inf, _identity(self.path)
            self._newest = newest
        self._count("dropped", self._kept.forget_until(newest - LEAP_SECONDS))  # the clock was wrong, and is set right
        return ""

    def _close(self) -> None:
        self._newest = None
        store, self._store = self._store, None
        if store is not None:
            with contain_internal_errors("history"), contextlib.suppress(HistoryError):
                store.close()

    def write_points(
        self, metric: str, labels: Iterable[tuple[str, str]], times: Iterable[float], values: Iterable[float]
    ) -> None:
        """Write points that somebody recorded of this program, of any time, with the labels that every series gets.

        Raises:
            HistoryError: They are not on disk; the next sweep opens the file again, where that is what they want.
        """
        store = self.store
        if store is None or _identity(self.path) != self._file:
            raise HistoryError(f"{self.path} cannot be written now: try again after the next sweep")
        store.write_points(metric, self._labels | dict(labels), times, values)

    # --- what cannot be written -------------------------------------------------------------------------------------------

    def _complain(self, problem: str) -> None:
        """Log it, once a minute at most."""
        self._is_troubled = True
        if (now := self._monotonic()) >= self._next_line:
            self._next_line = now + _LOG_INTERVAL_SECONDS
            self._log(logging.WARNING, f"the history {self.path} cannot be written: {problem}")

    @property
    def store(self) -> Store | None:
        """The history, while it is open: whoever reads it in this process reads it there."""
        return None if self._mark != process_mark() else self._store

    @staticmethod
    def _log(level: int, text: str) -> None:
        try:
            _logging.acquire(_LOG_WAIT_SECONDS)
            with contextlib.suppress(Exception):  # a logging handler of the program's may raise
                _logger.log(level, "%s", text)
        finally:
            _logging.release()

    # --- its own series ---------------------------------------------------------------------------------------------------

    def _count(self, outcome: str, number: int = 1) -> None:
        self._recorder.observe(HISTORY_SWEEPS, (("outcome", outcome),), number)

    def report(self, recorder: Recorder) -> None:
        """State the gauges, before each page."""
        if self._mark != process_mark():
            return
        with self._stating:
            if self._is_shown:
                for family in _GAUGES:
                    if family in self._facts:
                        recorder.observe(family, (), self._facts[family])


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib is slow to load
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: str) -> int:
    """Return what the file and its log take, in bytes."""
    size = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            size += os.path.getsize(path + suffix)  # noqa: PTH202 - as above
    return size
