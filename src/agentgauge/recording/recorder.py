"""The event buffer and its drain: calls are appended as they start, and folded into series later.

The rules that keep it harmless, with their reasons, are decisions 1 and 2 of ARCHITECTURE.md.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from agentgauge import catalogue
from agentgauge.catalogue import analytics, reliability
from agentgauge.recording.admission import Admission
from agentgauge.recording.answers import Answers
from agentgauge.recording.cells import Cells
from agentgauge.recording.members import Members
from agentgauge.recording.points import Exemplar, HistogramPoint
from agentgauge.recording.series import CallSeries, SeriesKind
from agentgauge.recording.spendings import Spendings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentgauge.catalogue import Family
    from agentgauge.recording.answers import Ended
    from agentgauge.recording.points import Labels
    from agentgauge.recording.series import Child

__all__ = ["SOFT_LIMIT", "Buffer", "Record", "Recorder"]

Record = list[Any]
"""One call: target, start, end (None while it runs), and its ending: failure and span context, None for most successes."""

TARGET, START, END, ENDING = range(4)

SOFT_LIMIT = 512  # fewer than the 700 new objects that start a garbage collection: successful calls cause none
HARD_LIMIT = 65_536
_BATCH = 2_048
_PENDING_A_SERIES = 16  # durations that series gather on average before they are counted
_MOST_PENDING = 16_384
_NONE: dict[int, Exemplar] = {}
_CALLS_A_YIELD = 1_024
_YIELD_SECONDS = 0.005  # the interval after which CPython lets another thread run
_RELIEFS_A_SAMPLE = 32  # of so many drains by callers one is timed
_LOCK_TIMEOUT_SECONDS = 1.0
_SERIES_A_NAME = {
    catalogue.TASK_PROTOCOL_FAULTS: len(catalogue.PROTOCOL_FAULTS),
    catalogue.TOKENS: len(catalogue.TOKEN_TYPES),
    catalogue.SUBTREE_TOKENS: 2,
    catalogue.CLIENT_TOKEN_USAGE: 2,
    reliability.BREAKER_CALLS: len(reliability.BREAKER_CALL_KINDS),
    reliability.BREAKER_SLOW_CALLS: 2,
    reliability.BREAKER_BUFFERED: 2,
    reliability.BREAKER_TRANSITIONS: len(reliability.BREAKER_STATES),
    **dict.fromkeys((reliability.HEALTH_CHECKS, reliability.HEALTH_TRANSITIONS), len(reliability.HEALTH_STATUSES)),
    reliability.RECOVERY_ATTEMPTS: 2 * len(reliability.RECOVERY_OUTCOMES),  # of two actions, mostly
    reliability.TASKS_SHED: len(reliability.SHED_REASONS),
    **dict.fromkeys((catalogue.HANDOFFS, catalogue.WASTED_TOKENS, catalogue.WASTED_TIME), len(catalogue.Outcome)),
    analytics.ANOMALY_SCORE: analytics.MOST_MEASURES,
}


class Buffer(deque[Record]):
    """The records of calls that are not folded yet; a type of its own for the sake of ``travel``."""

    __slots__ = ()


class Dependent(Protocol):
    """Something that keeps what a recorder gave it, and must let go of it when the recorder starts anew."""

    def forget(self) -> None:
        """Keep nothing of the recorder's any more."""


class Reporter(Protocol):
    """Something that keeps counts of its own, and states them when somebody reads."""

    def report(self, recorder: Recorder) -> None:
        """Observe what is new, by ``recorder.observe``; must neither wait nor raise."""


class Recorder:
    """Records calls at the price of one list and one append, and folds them into series when somebody drains.

    ``append`` and ``clock`` are read anew at every call, so that a forked child and a test can exchange what is behind them.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter, wall_clock: Callable[[], float] = time.time) -> None:
        """Start empty.

        Args:
            clock: Seconds on a clock that never goes back, from any origin.
            wall_clock: Unix time in seconds, asked once: start times are shown with one fixed offset.
        """
        self.series_limit = 1000
        self.dependents: Members[Dependent] = Members()
        self.reporters: Members[Reporter] = Members()
        self.spendings = Spendings()
        self.answers = Answers()
        self.buffer = Buffer()
        self.reset(clock=clock, wall_clock=wall_clock)
        _recorders.add(self)

    def reset(self, *, clock: Callable[[], float] | None = None, wall_clock: Callable[[], float] = time.time) -> None:
        """Forget everything, as a forked child must; calls that are open now are never counted."""
        if clock is not None:
            self.clock = clock
            self.wall_offset = wall_clock() - clock()
        self.books = object()  # another one tells what was interrupted by a handler that forked that this is its child
        self.buffer.clear()  # and kept: a wrapper that has travelled here holds it
        self.append = self.buffer.append
        self.open: deque[Record] = deque()
        lock: Any = threading.RLock()
        self.lock = lock
        self._is_held_here: Callable[[], bool] = lock._is_owned  # noqa: SLF001 - what threading.Condition asks, too
        self.admission = Admission(self)
        self.series = self.admission.series
        self.cells = Cells()
        self.observations: deque[tuple[Family, Labels, float]] = deque()
        self.spendings.clear()
        self.answers.clear()
        self._counting = threading.RLock()  # for what callers count without the drain's lock
        self.folded = 0
        self._is_draining = False
        self._touched: list[CallSeries] = []
        self._pending = 0
        self._recorded = 0
        self.dropped = 0
        self.high_water = 0
        self._reliefs = 0
        for part in catalogue.OVERHEAD_PARTS:
            self.note_overhead(part, 0.0)
        self._folded_since_rescan = 0
        self._left_to_rescan = 0
        self.counted_by_run: set[tuple[Family, str]] = set()  # agents that have made such calls
        for kind in SeriesKind:
            self.observe(catalogue.SERIES_OVERFLOWED, (("kind", kind.value),), 0)
        for dependent in self.dependents:
            dependent.forget()

    # --- what is no call ---------------------------------------------------------------------------------------------------

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """Set a gauge, add to a counter, or observe in a histogram; for what happens far less often than calls."""
        self.observations.append((family, labels, value))
        if len(self.observations) > SOFT_LIMIT:
            self._hold_and(self._fold_observations, 0)

    def note_answer(self, ended: Ended) -> None:
        """Take note of an LM call that ended; a drain counts what it used."""
        self.answers.append(ended)
        if len(self.answers) > SOFT_LIMIT:
            self._hold_and(self._fold_answers, 0)

    # --- draining ---------------------------------------------------------------------------------------------------------

    def relieve(self) -> None:
        """Drain on behalf of a caller that has appended a record and finds the buffer long.

        Below the hard limit it waits only where another thread is at it, for one call in so many and a moment: that thread was
        interrupted by this one, and goes on when this one gives way.
        """
        length = len(self.buffer)
        seconds = 0.0
        if length > HARD_LIMIT:
            seconds = _LOCK_TIMEOUT_SECONDS
        elif self._is_draining:
            if length % _CALLS_A_YIELD:
                return
            seconds = _YIELD_SECONDS
        self._reliefs += 1
        fold = self._fold_batch if self._reliefs % _RELIEFS_A_SAMPLE else self._fold_batch_timed
        if not self._hold_and(fold, seconds) and length > 2 * HARD_LIMIT:
            try:
                self.buffer.pop()
                with self._counting:
                    self.dropped += 1
            except IndexError:
                pass

    def drain(self) -> None:
        """Fold every finished call into its series, a batch of 2,048 records under one hold of the lock."""
        self._repeat(self._fold_answers, len(self.answers))
        self.spendings.settle(self)  # which may load a price table: nothing that goes on
        began = time.thread_time()
        for fold, count in ((self._fold_batch, len(self.buffer)), (self._rescan, len(self.open)), (self._settle, 1)):
            self._repeat(fold, count)
        if (spent := time.thread_time() - began) > 0:  # the clock of a child that a handler forked meanwhile began anew
            self.note_overhead("folding", spent)
        self._repeat(self._fold_observations, len(self.observations))

    def _repeat(self, fold: Callable[[], None], count: int) -> None:
        for _ in range(0, count, _BATCH):
            if not self._hold_and(fold):
                break

    def note_overhead(self, part: str, cpu_seconds: float) -> None:
        """Count CPU time that agentgauge spent, under one of ``catalogue.OVERHEAD_PARTS``."""
        self.observe(catalogue.OVERHEAD, (("part", part),), cpu_seconds)

    def _hold_and(self, action: Callable[[], None], seconds: float = _LOCK_TIMEOUT_SECONDS) -> bool:
        """Run ``action`` while holding the drain; False where another holds it, or this thread itself, further up."""
        lock, is_held_here = self.lock, self._is_held_here
        # A thread that is interrupted while it drains (signal handler, GC callback) must not wait for itself.
        if is_held_here():
            return False
        try:
            is_waiting = seconds and not sys.is_finalizing()  # a thread that is gone never lets go
            # Said before it is so: this thread is likely to be interrupted as soon as it has the lock. Said in vain, where
            # another has just let go, it costs no more than a later drain.
            self._is_draining = True
            if not (lock.acquire(timeout=seconds) if is_waiting else lock.acquire(blocking=False)):
                return False
            action()
            return True
        finally:
            # A signal handler may raise anywhere, in the first of these too.
            try:
                if is_held_here():
                    self._is_draining = False
                    lock.release()
            finally:
                if is_held_here():
                    self._is_draining = False
                    lock.release()

    @property
    def recorded(self) -> int:
        """How many calls came: those folded, those dropped and those in progress."""
        # A drain that is under way holds some records in its hands; a counter must not go down for that.
        with self._counting:
            self._recorded = max(self._recorded, self.folded + len(self.open) + len(self.buffer) + self.dropped)
            return self._recorded

    def open_records(self) -> list[Record]:
        """Return the calls that were in progress at the last drain."""
        records: list[Record] = []

        def copy() -> None:
            records.extend(self.open)

        if not self._hold_and(copy):
            copy()
        return records

    def snapshot(self, children: list[Child]) -> list[HistogramPoint]:
        """Copy some children of a histogram, each whole: its count and its sum are of the same calls."""
        points: list[HistogramPoint] = []

        def copy() -> None:
            points.extend(
                HistogramPoint(
                    child.label_text,
                    child.labels,
                    child.counts[:],
                    child.sum,
                    {
                        index: Exemplar(context.trace_id, context.span_id, duration, end + self.wall_offset)
                        for index, (context, duration, end) in child.exemplars.items()
                    }
                    if child.exemplars
                    else _NONE,
                )
                for child in children
            )

        if not self._hold_and(copy):
            copy()
        return points

    def _fold_batch_timed(self) -> None:
        began = time.thread_time()
        self._fold_batch()
        self.note_overhead("folding", (time.thread_time() - began) * _RELIEFS_A_SAMPLE)

    def _fold_batch(self) -> None:
        """Fold up to one batch from the buffer; keep the unfinished apart, where they are the calls in progress."""
        self.high_water = max(self.high_water, len(self.buffer))
        # Amortised: calls that end while they are kept apart are found after half as many others were folded. First, while
        # those are not among them that have just begun.
        if not self._left_to_rescan and 2 * self._folded_since_rescan >= len(self.open):
            self._folded_since_rescan = 0
            self._left_to_rescan = len(self.open)
        if self._left_to_rescan:
            self._left_to_rescan = max(0, self._left_to_rescan - self._take(self.open))
        self._folded_since_rescan += self._take(self.buffer)
        if self._pending > min(_PENDING_A_SERIES * len(self._touched), _MOST_PENDING):
            self._settle()
        if self.observations:
            self._fold_observations()

    def _rescan(self) -> None:
        """Fold what has ended of the calls in progress, up to one batch of them."""
        self._take(self.open)

    def _take(self, source: deque[Record]) -> int:
        """Take up to one batch of records from ``source``; return how many there were."""
        pop = source.popleft
        keep = self.open.append
        touch = self._touched.append
        count = min(len(source), _BATCH)
        kept = popped = 0
        books = self.books
        try:
            for popped in range(1, count + 1):  # noqa: B007 - read where the loop ended
                target, start, end, ending = record = pop()
                if end is None:
                    keep(record)
                    kept += 1
                elif ending is not None:
                    self._fold(record)
                else:  # what nearly every call is: all of a series are counted at once
                    series = target.series
                    durations = series.durations
                    if not durations:
                        touch(series)
                    durations.append(end - start)
                    if end > series.last_success:  # noqa: PLR1730 - max() costs a call
                        series.last_success = end
                    if target.run is not None:
                        self._fold_into(target.run, end - start, end)
        except IndexError:
            if books is self.books:
                raise
        finally:  # a signal handler may raise in the middle
            if books is self.books:
                self.folded += popped - kept
        self._pending += count
        return count

    def _settle(self) -> None:
        """Count what series have gathered."""
        self._pending = 0
        touched = self._touched
        while touched:
            touched[-1].settle()
            touched.pop()

    def _fold(self, record: Record) -> None:
        target, start, end, ending = record
        failure, span_context = ending
        duration = end - start
        for series in (target.series, target.run):
            if series is None:
                break
            if failure is None:
                child = series.success
                self._fold_into(series, duration, end)
            else:
                child, is_overflow = series.fold_failure(duration, failure)
                if is_overflow:
                    self.observe(catalogue.SERIES_OVERFLOWED, (("kind", catalogue.ERROR_TYPE),), 1)
            if span_context is not None:
                child.exemplars[bisect_left(series.bounds, duration)] = span_context, duration, end

    def _fold_into(self, series: CallSeries, duration: float, end: float) -> None:
        """Fold a success, as ``_take`` does."""
        if not series.durations:
            self._touched.append(series)
        series.durations.append(duration)
        series.last_success = max(series.last_success, end)

    def _fold_observations(self) -> None:
        observations = self.observations
        # Twice a batch: every record of one may add two observations, and they must not pile up.
        for _ in range(min(len(self.observations), 2 * _BATCH)):
            if observations is not self.observations:  # a handler forked, and this is its child
                return
            family, labels, value = observations.popleft()  # one at a time: a signal handler that raises costs one at most
            self._fold_values(family, labels, (value,))

    def _fold_answers(self) -> None:
        self.answers.take(_BATCH, self.spendings, self._fold_values)

    def _fold_values(self, family: Family, labels: Labels, values: Sequence[float]) -> None:
        limit = self.series_limit * _SERIES_A_NAME.get(family, 1) if family.is_open else None
        if not self.cells.fold(family, labels, values, limit):
            self.cells.fold(catalogue.SERIES_OVERFLOWED, (("kind", family.name),), (len(values),))


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    for recorder in list(_recorders):
        recorder.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
