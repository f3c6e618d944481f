"""The history: one file, one writer, any number of readers."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
from array import array
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentgauge.analytics.frames import Fold, Frame, Grid, sane
from agentgauge.analytics.history import file
from agentgauge.analytics.history.columns import DamageError, decoding, unpack_times
from agentgauge.analytics.history.forks import abandon, watch, watched
from agentgauge.analytics.history.gathering import labels_of, spelled, unspelled
from agentgauge.analytics.history.given import numbers_given, times_of
from agentgauge.analytics.history.reading import Plan, folded_points, merged
from agentgauge.analytics.history.retention import Retention
from agentgauge.analytics.history.roster import Roster
from agentgauge.analytics.history.writer import Writer
from agentgauge.errors import ConfigurationError, HistoryError, SourceError
from agentgauge.fork_gate import process_mark
from agentgauge.requirements import require_clock, require_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from agentgauge.analytics.history.asking import AskingConnection


__all__ = ["History"]

_LEAST_BYTES = 1024 * 1024
_MAX_BYTES = 512 * 1024 * 1024
_MOST_PLANS = 8
_SWEPT = ("SELECT min(since), max(until) FROM block WHERE is_whole AND width = 0", "SELECT min(at), max(at) FROM sweep")


class History:
    """A ``Source`` in a SQLite file, which one process writes and any number read, meanwhile and later.

    Threads may share it. A forked child may go on reading; it cannot write.

    Args:
        path: The file; begun where there is none. What SQLite keeps beside it, and the lock of the writer, have its name and an
            ending.
        retention: For how long each tier is kept.
        max_bytes: What it may take on disk, from 1 MiB on; the oldest sweeps go first, then finer tiers. No write fails for it.
        is_read_only: Read what another process writes, or wrote.
        clock: Seconds since 1970; the earlier of it and the last sweep tells what is past its time, since either may leap ahead.

    Attributes:
        name: The path, as it was given.

    Raises:
        HistoryError: It is no history, another process writes to it, or it cannot be opened.
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        retention: Retention | None = None,
        max_bytes: int = _MAX_BYTES,
        is_read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path) or "\0" in str(path):
            raise ConfigurationError(f"path={path!r}: give the path of a file, such as 'agents.history'")
        require_count("max_bytes", max_bytes, str(_MAX_BYTES), least=_LEAST_BYTES)
        require_clock("clock", clock)
        self.name = str(path)
        self._path = Path(path).absolute()
        self.retention = retention or Retention()
        self.max_bytes = max_bytes
        self.is_read_only = is_read_only
        self._clock = clock
        self._is_closed = False
        self._reader: AskingConnection | None = None
        self._stamp: object = None
        self._files: object = None
        self._writer: Writer | None = None
        self._plans: dict[tuple[Grid, Fold], Plan] = {}
        self._roster = Roster()
        self._planned_of: tuple[sqlite3.Connection, int] | None = None
        self._renew_locks()
        mark = process_mark()
        watch(self)  # a child that is forked while another thread opens one could never use SQLite
        if is_read_only:
            self._open_reader()
        else:
            with self._writing:
                self._writer = Writer(
                    self.path, self.name, retention=self.retention, max_bytes=max_bytes, clock=clock, let_go=self._let_all_go
                )
        if mark != process_mark():  # by a signal handler in the middle: what was opened is the parent's
            self.after_fork()

    def _renew_locks(self) -> None:
        self._writing = threading.RLock()
        self._asking = threading.RLock()  # one thread has the reader at a time, and forks need not wait for it
        self._reading = threading.RLock()

    @property
    def locks(self) -> tuple[Any, ...]:
        """What forks wait for."""
        return (self._writing, self._reading)

    def after_fork(self) -> None:
        """Leave the parent's connections alone, in a child."""
        if self._reader is not None:
            abandon(self._reader)
        if self._writer is not None:
            self._writer.abandon()
        self._reader = self._writer = None
        self._forget_all()
        self._renew_locks()

    # writing

    def write(self, at: float, samples: Iterable[tuple[str, tuple[tuple[str, str], ...], float]]) -> None:
        """Keep one sweep of all series there are: one that it lacks, or that is NaN in it, is missing from then on.

        When it returns, the sweep is on disk. One at the very time of an earlier one replaces it; one earlier than the last is
        sorted in, if what is at its time is not folded yet.

        Args:
            at: When it was taken, Unix time in seconds.
            samples: Name, labels and value of each.

        Raises:
            HistoryError: It was not kept: no space, no permission, or a time too far before the last.
            ConfigurationError: A sample is none, or the time. Nothing of the sweep was kept.
        """
        swept = list(samples)  # runs code of the caller's: before there is a lock
        (time_of_sweep,) = times_of("at", [at])
        with self._writing:
            self._writer_at_hand().write(time_of_sweep, swept)

    def write_points(
        self, metric: str, labels: Mapping[str, str] | Iterable[tuple[str, str]], times: Iterable[float], values: Iterable[float]
    ) -> None:
        """Keep values of one series at any times, in any order; of two at one time the later is kept.

        NaN says that it is missing from then on. Where sweeps have the series, too, both count; the last is the sweep's, where
        there is one.

        Raises:
            HistoryError: They were not kept.
            ConfigurationError: A name, a label, a time or a value is none, or there are more times than values, or fewer.
        """
        at, numbers = times_of("times", times), numbers_given("values", values)
        if len(at) != len(numbers):
            raise ConfigurationError(f"{metric}: {len(at)} times for {len(numbers)} values: give a time for each")
        try:
            named = spelled(metric), labels_of(labels)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"metric={metric!r}, labels={labels!r}: give a name, and labels by name: {error}") from error
        if not at:
            return
        with self._writing:
            self._writer_at_hand().write_points(*named, list(zip(at, numbers, strict=True)))

    def begin_anew(self, what: str) -> None:
        """Keep the file as ``FILE.ahead-TIME``, with a message in the log, and begin a new one.

        Args:
            what: As what it was found, for the message.

        Raises:
            HistoryError: It cannot be renamed.
        """
        with self._writing:
            self._writer_at_hand().begin_anew(what)

    def maintain(self) -> None:
        """Fold all that is due, forget all that is past its time, and keep to the size; ``write`` does it by the way, bit by bit.

        Raises:
            HistoryError: It cannot be written.
        """
        with self._writing:
            self._writer_at_hand().maintain()

    def _writer_at_hand(self) -> Writer:
        if self._writer is not None:
            return self._writer
        if self._is_closed:
            raise HistoryError(f"{self.name} is closed")
        if self.is_read_only:
            raise HistoryError(f"{self.name} is open for reading: open it without is_read_only=True to write")
        raise HistoryError(f"{self.name} belongs to the process that this one was forked from: give this one a file of its own")

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def _let_all_go(self) -> None:
        """Close all that reads the file in this process: else SQLite would take what it knows of its log for that of another."""
        for history in watched():
            if history.path == self.path:
                history.let_go()

    def let_go(self) -> None:
        """Close what reads it; the next question opens it anew."""
        with self._asking, self._reading:
            if self._reader is not None:
                with suppress(sqlite3.Error):
                    self._reader.close()
            self._reader = None
            self._forget_all()

    def _open_reader(self) -> AskingConnection:
        with self._reading:
            self._reader, self._stamp = file.open_for_reading(self.path)
            self._reader.lock = self._reading
            self._files = file.identity(self.path)
        return self._reader

    # reading

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return the series of a metric that have these labels, and maybe others, and a sample in the window.

        The finest tier answers that is left for each part of the window.

        Raises:
            SourceError: It is damaged, closed, or cannot be read.
        """
        wanted = frozenset((name, value) for name, value in (labels or {}).items() if value != "")
        found = []
        with self._snapshot() as connection:
            self._forget_what_changed(connection)
            plan = None
            has_points = connection.execute("SELECT 1 FROM point LIMIT 1").fetchone() is not None
            for series, own in self._roster.series_of(connection, metric, wanted):
                plan = plan or self._plan(connection, grid, fold)
                values = plan.fold(series)
                points = folded_points(connection, series, grid, fold) if has_points else None
                if points is not None:
                    values = self._merged(connection, series, grid, fold, values, points)
                values = sane(values)
                if any(value == value for value in values):  # noqa: PLR0124 - no NaN
                    found.append(Frame(metric, dict(own), grid, values))
        return found

    def _plan(self, connection: sqlite3.Connection, grid: Grid, fold: Fold) -> Plan:
        """Return where frames come from; the same as before, if nobody has written since."""
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        if (grid, fold) not in self._plans:
            self._plans[grid, fold] = Plan(connection, grid, fold)
        return self._plans[grid, fold]

    def _forget_what_changed(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA data_version").fetchone()  # within the snapshot: of what it sees
        if self._planned_of != (connection, version):
            self._plans = {}
            self._roster.catch_up(connection)
            self._planned_of = (connection, version)

    def _forget_all(self) -> None:
        self._plans = {}
        self._roster = Roster()
        self._planned_of = None

    def _merged(
        self, connection: sqlite3.Connection, series: int, grid: Grid, fold: Fold, values: array[float], points: array[float]
    ) -> array[float]:
        sizes = None
        if fold is Fold.MEAN:
            counted = folded_points(connection, series, grid, Fold.COUNT)
            sizes = (self._plan(connection, grid, Fold.COUNT).fold(series), counted if counted is not None else array("d"))
        return merged(values, points, fold, sizes)

    def points(
        self, metric: str, labels: Mapping[str, str], since: float = -math.inf, until: float = math.inf
    ) -> tuple[array[float], array[float]]:
        """Return the times, in order, and values that ``write_points`` was given of one series, in ``[since, until]``.

        Raises:
            SourceError: It cannot be read.
        """
        with self._snapshot() as connection:
            rows = connection.execute(
                "SELECT at, value FROM point JOIN series ON series.id = point.series WHERE metric = ? AND labels = ?"
                " AND at BETWEEN ? AND ? ORDER BY at",
                (spelled(metric), labels_of(labels), since, until),
            ).fetchall()
        return array("d", [at for at, _ in rows]), array("d", [math.nan if value is None else value for _, value in rows])

    def metrics(self) -> list[str]:
        """Return the names of all its samples, in order.

        Raises:
            SourceError: It cannot be read.
        """
        with self._snapshot() as connection:
            rows = connection.execute("SELECT DISTINCT metric FROM series").fetchall()
            with decoding("the name of a metric"):
                return sorted(unspelled(metric) for (metric,) in rows)

    def metrics_with(self, label: str) -> list[str]:
        """Return the names of the samples that have a label of this name, in order.

        Raises:
            SourceError: It cannot be read.
        """
        with self._snapshot() as connection:
            rows = connection.execute("SELECT metric, labels FROM series WHERE instr(labels, ?)", (json.dumps(label),)).fetchall()
            with decoding("the labels of a metric"):
                return sorted({unspelled(metric) for metric, labels in rows if label in json.loads(labels)})

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the first and last sample that it has, Unix time in seconds; None where it has none.

        Where only a tier is left, the first is where its first bucket begins. Points that lie in the future are no part of it.

        Raises:
            SourceError: It cannot be read.
        """
        with self._snapshot() as connection:
            times: list[float | None] = [at for query in _SWEPT for at in connection.execute(query).fetchone()]
            times += connection.execute("SELECT min(at), max(at) FROM point WHERE at <= ?", (self._clock(),)).fetchone()
            known = [at for at in times if at is not None]
            first = min(known, default=math.inf)
            tiers = connection.execute("SELECT width, ends FROM block WHERE is_whole AND width > 0 AND since < ?", (first,))
            ends = [(end, width) for width, stored in tiers for end in unpack_times(stored)]
            known += [end - width for end, width in ends if end <= first]
            known += [end for end, _ in ends if not math.isfinite(first)]
        return (min(known), max(known)) if known else None

    def last_sweep(self) -> float | None:
        """Return the time of the last sweep, Unix time in seconds; None where there is none.

        Raises:
            SourceError: It cannot be read.
        """
        with self._snapshot() as connection:
            found = [connection.execute(query).fetchone()[1] for query in _SWEPT]
        return max((at for at in found if at is not None), default=None)

    def file_bytes(self) -> int:
        """Return what it takes on disk, its log included."""
        return file.file_bytes(self.path)

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read as of one moment."""
        with self._asking:
            try:
                if self._is_closed:
                    raise SourceError(f"{self.name} is closed")
                if self._files != file.identity(self.path) or (self._stamp is not None and self._stamp != file.stamp(self.path)):
                    self.let_go()  # it lies there no more, or what SQLite took for a file that nobody writes was written
                connection = self._reader or self._open_reader()
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
            except HistoryError as error:
                raise SourceError(str(error)) from error
            except (sqlite3.Error, DamageError, OSError) as error:
                raise SourceError(file.explained(self.name, error)) from error

    # closing

    def close(self) -> None:
        """Give the file back; what was written is in it. More than once is fine."""
        with self._writing, self._asking:
            self._is_closed = True
            self.let_go()
            if self._writer is not None:
                self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        """Enter a block at whose end it is closed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()
