"""What one analytics object recorded: its series, what was refused, and what its history has not got yet."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.analytics.own_points import PointWriter, holders, keeper
from agentgauge.analytics.points import FULL_TAIL, Points, Retention, Series
from agentgauge.analytics.shipping import start_shipping
from agentgauge.config import is_disabled
from agentgauge.errors import HistoryError, contain_internal_errors
from agentgauge.fork_gate import ForkGate, process_mark
from agentgauge.recording.members import Members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["DEFAULT_RETENTION", "Batch", "Book", "PointWriter"]

DEFAULT_RETENTION = Retention(max_data_points=10_000)
MOST_METRICS = 1000

_PATIENCE_SECONDS = 1.0
_HARD_TAIL = 64 * FULL_TAIL
_MOST_WAITING_POINTS = 1_000_000
_WARNING_INTERVAL_SECONDS = 60.0
_NAME_LENGTH = 200

_logger = logging.getLogger("agentgauge")

_TAKING = ForkGate()
"""Held for as long as tails are taken in and points copied, never while anything is written; one for all books, so that a fork
finds them whole."""


class Batch(NamedTuple):
    """Points of one metric that wait for the history."""

    metric: str
    times: array[float]
    values: array[float]


class Book:
    """The points of one analytics object.

    Args:
        labels: Of its series in the history.
        history: Where points go too; None for the history of this program, while it keeps one.
        clock: The time, Unix time in seconds.
        most_metrics: How many metrics it takes.
        write_interval_seconds: Between two writes to the history.

    Attributes:
        tails: For those who append: the tail of each metric that ``open()`` was asked for.
        full_tail: How long a tail is when whoever appended asks to ``relieve()`` it.
        most_metrics: How many metrics it takes.
    """

    def __init__(
        self,
        *,
        labels: tuple[tuple[str, str], ...] = (),
        history: PointWriter | None = None,
        clock: Callable[[], float] = time.time,
        most_metrics: int = MOST_METRICS,
        write_interval_seconds: float = 5.0,
    ) -> None:
        self.tails: dict[str, list[float]] = {}
        self.full_tail = FULL_TAIL
        self.clock = clock
        self.retention = DEFAULT_RETENTION
        self.labels = labels
        self._history = history
        self.most_metrics = most_metrics
        self._write_interval_seconds = write_interval_seconds
        self._process: tuple[int, int] | None = None  # that which has the thread
        self._series: dict[str, Series] = {}
        self._refused: dict[str, int] = {}
        self._next_warning: dict[str, float] = {}
        self._to_say: deque[tuple[str, str]] = deque(maxlen=8)
        self._waiting: deque[Batch] = deque()
        self._waiting_points = 0
        self._writing = threading.RLock()  # no gate: forks need not wait for a disk, and what a child finds here is not its own
        if history is None:
            holders.add(self)
        _books.add(self)

    def __deepcopy__(self, _memo: dict[int, object]) -> Book:
        """Copy the points; frameworks copy their agents. The copy records for itself, and into the same history."""
        made = Book(
            labels=self.labels,
            history=self._history,
            clock=self.clock,
            most_metrics=self.most_metrics,
            write_interval_seconds=self._write_interval_seconds,
        )
        made.replace({points.metric: (points.times, points.values) for points in self.all_points()}, self.retention)
        return made

    def __reduce__(self) -> tuple[Callable[..., Book], tuple[object, ...]]:
        """Pickle the points; in another process there is no history, and the clock is the system's."""
        points = {points.metric: (points.times, points.values) for points in self.all_points()}
        return _unpickled, (self.labels, self.most_metrics, self.retention, points)

    # --- taking in --------------------------------------------------------------------------------------------------------

    def open(self, metric: object) -> list[float] | None:
        """Return the tail of a metric, which may be new; None where it is refused."""
        if not isinstance(metric, str) or not metric.strip() or not metric.isprintable() or len(metric) > _NAME_LENGTH:
            self.refuse("bad_name", f"the metric's name is no printable text of at most {_NAME_LENGTH} characters")
            return None
        if is_disabled():
            return None
        metric = str(metric)
        with _TAKING.lock:
            series = self._series.get(metric)
            if series is None and len(self._series) < self.most_metrics:
                series = self._series[metric] = Series()
            if series is not None:
                self.tails[metric] = series.tail
        if series is None:
            self.refuse("too_many_metrics", f"there are {self.most_metrics} metrics already; names must be a bounded set")
            return None
        self._start_shipping()
        return series.tail

    def relieve(self, metric: str) -> None:
        """Take in the tail of a metric, unless another thread is at it; but a tail must not grow for ever."""
        series = self._series.get(metric)
        if series is None or len(series.tail) < FULL_TAIL or _is_taking():
            return
        now = self.now()
        if _TAKING.acquire(_PATIENCE_SECONDS if len(series.tail) >= _HARD_TAIL else 0.0):
            try:
                self._take(metric, series, now)
                self.full_tail = FULL_TAIL
            finally:
                _TAKING.release()
        else:
            self.full_tail = len(series.tail) + FULL_TAIL  # another thread is at it: not all that come need ask in vain
        self._say()

    def _take(self, metric: str, series: Series, now: float) -> None:
        times, values, refused = series.take_tail(self.retention, now)
        if refused:
            self.refuse("not_finite", "a value was NaN or infinite, or a time none of the years 1 to 9999", refused)
        if times and self._target is not None:
            self._waiting.append(Batch(metric, times, values))
            self._waiting_points += len(times)
            while self._waiting_points > _MOST_WAITING_POINTS and len(self._waiting) > 1:
                lost = len(self._waiting.popleft().times)
                self._waiting_points -= lost
                self.refuse("history_behind", "the history takes no points; the oldest that waited for it are dropped", lost)

    def now(self) -> float:
        """Return the time; a clock of the program's that fails is one at which nothing is old."""
        with contain_internal_errors("analytics"):
            now = float(self.clock())
            if not math.isnan(now):
                return now
        return -math.inf

    def refuse(self, reason: str, message: str, count: int = 1) -> None:
        """Count what was not taken, and warn of each kind once a minute at most."""
        self._refused[reason] = self._refused.get(reason, 0) + count
        now = time.monotonic()
        if now >= self._next_warning.get(reason, 0.0):
            self._next_warning[reason] = now + _WARNING_INTERVAL_SECONDS
            self._to_say.append((reason, message))
        self._say()

    def _say(self) -> None:
        """Log what there is to say, but not while something waits for us."""
        while self._to_say and not _is_taking():
            reason, message = self._to_say.popleft()
            with contain_internal_errors("analytics"):
                name = dict(self.labels).get("analytics", "")
                _logger.warning("analytics %r: %s; for a minute, more of this kind (%s) are only counted", name, message, reason)

    # --- giving out -------------------------------------------------------------------------------------------------------

    def metrics(self) -> list[str]:
        """Return the names, in the order in which they came."""
        return list(self._series)

    def refused(self) -> dict[str, int]:
        """Return how many points were not taken, by reason."""
        self._take_all(self.now())
        return dict(self._refused)

    def points(self, metric: str) -> Points | None:
        """Return all that is kept of a metric; None where there is no such metric."""
        now = self.now()
        with _TAKING.lock:
            found = self._points(metric, now) if metric in self._series else None
        self._say()
        return found

    def all_points(self) -> list[Points]:
        """Return all that is kept, as it was at one moment."""
        now = self.now()
        with _TAKING.lock:
            found = [self._points(metric, now) for metric in list(self._series)]
        self._say()
        return found

    def _points(self, metric: str, now: float) -> Points:
        series = self._series[metric]
        self._take(metric, series, now)
        series.cut(self.retention, now)
        return Points(metric, *series.copy())

    def set_retention(self, retention: Retention) -> None:
        """Keep what ``retention`` keeps, from now on."""
        now = self.now()
        with _TAKING.lock:
            self.retention = retention
            for metric in list(self._series):
                self._points(metric, now)
        self._say()

    def replace(self, points: Mapping[str, tuple[array[float], array[float]]], retention: Retention) -> None:
        """Hold these points, and no others; what waits for the history still does."""
        fresh = {metric: self._series.get(metric) or Series() for metric in points}
        now = self.now()
        with _TAKING.lock:
            self._take_all(now)
            for metric, series in fresh.items():
                series.replace(*points[metric])
            self._series, self.retention = fresh, retention
            self.tails = {}
        self._say()

    def _take_all(self, now: float) -> None:
        with _TAKING.lock:
            for metric, series in list(self._series.items()):
                self._take(metric, series, now)
        self._say()

    # --- the history ------------------------------------------------------------------------------------------------------

    @property
    def _target(self) -> PointWriter | None:
        return keeper() if self._history is None else self._history

    def write(self) -> int:
        """Write to the history what it has not got.

        Returns:
            How many points it took; everything that was recorded before this was called is on the disk then.

        Raises:
            HistoryError: Some are not; they wait for the next time.
        """
        target = self._target
        if target is None:
            return 0
        if self._writing._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - as in _is_taking()
            raise HistoryError("this thread is in the middle of another write, and its points are not on the disk yet")
        written = 0
        now = self.now()
        with self._writing:
            with _TAKING.lock:
                self._take_all(now)
                batches = list(self._waiting)
                self._waiting.clear()
                self._waiting_points = 0
            untried: dict[str, list[Batch]] = {}
            refused: dict[str, list[Batch]] = {}
            wrong: HistoryError | None = None
            for batch in batches:
                untried.setdefault(batch.metric, []).append(batch)
            try:
                while untried:
                    metric, parts = next(iter(untried.items()))
                    times, values = _joined(parts)
                    refused[metric] = parts
                    del untried[metric]
                    try:
                        target.write_points(metric, self.labels, times, values)
                    except HistoryError as error:  # so do all others, most likely: where they do not, they are the first to come
                        wrong = wrong or error
                        break
                    except Exception as error:  # noqa: BLE001 - what is amiss with one metric holds up no other
                        wrong = wrong or _explained(metric, error)
                    else:
                        del refused[metric]
                        written += len(times)
            finally:
                self._wait_again([batch for parts in (*untried.values(), *refused.values()) for batch in parts])
        if wrong is not None:
            raise wrong
        return written

    def _wait_again(self, batches: Iterable[Batch]) -> None:
        with _TAKING.lock:
            for batch in reversed([*batches]):
                self._waiting.appendleft(batch)
                self._waiting_points += len(batch.times)

    def _start_shipping(self) -> None:
        if self._history is None or self._process == process_mark():
            return
        self._process = process_mark()
        with contain_internal_errors("analytics"):  # flush() does the same
            start_shipping(self, self._history, self._write_interval_seconds)

    def leave_to_parent(self) -> None:
        """Forget what waits for the history: it is for the process that recorded it to write."""
        self._writing = threading.RLock()
        self.tails = {}  # the next point of each metric asks for its tail, and starts the thread that this process has not
        self._take_all(self.now())
        self._waiting.clear()
        self._waiting_points = 0


def _is_taking() -> bool:
    """Tell whether this thread holds the gate: then a signal handler came in between, and must not go on in the middle."""
    return bool(_TAKING.lock._is_owned())  # noqa: SLF001 - what threading.Condition asks, too


def _explained(metric: str, error: Exception) -> HistoryError:
    told = HistoryError(f"the history did not take the points of {metric!r}: {error}")
    told.__cause__ = error
    return told


def _joined(batches: Iterable[Batch]) -> tuple[array[float], array[float]]:
    times, values = array("d"), array("d")
    for batch in batches:
        times += batch.times
        values += batch.values
    return times, values


def _unpickled(
    labels: tuple[tuple[str, str], ...],
    most_metrics: int,
    retention: Retention,
    points: Mapping[str, tuple[array[float], array[float]]],
) -> Book:
    made = Book(labels=labels, most_metrics=most_metrics)
    made.replace(points, retention)
    return made


_books: Members[Book] = Members()


def _leave_to_parent() -> None:
    for book in _books:
        with contain_internal_errors("analytics"):
            book.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)  # after the gates are new
