"""The writer of a history: its transactions, what it does by the way, and what becomes of a damaged file."""

from __future__ import annotations

import math
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentgauge.analytics.history import file
from agentgauge.analytics.history.folding import Folding
from agentgauge.analytics.history.forks import abandon
from agentgauge.analytics.history.gathering import Gathering, series_id
from agentgauge.analytics.history.pruning import Pruning
from agentgauge.errors import HistoryError, report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentgauge.analytics.history.gathering import Sample
    from agentgauge.analytics.history.retention import Retention

__all__ = ["Writer"]

_STEPS_OF_A_BLOCK = 40  # a part of so many of what waits is done by the way in each write
_SERIES_IN_STEP = 500
_PRUNED_AT_ONCE = 4
_POINTS_A_PRUNING = 10_000


class Writer:
    """The one that writes to a file; its caller lets one thread in at a time.

    Args:
        path: The file.
        name: How messages name it.
        retention: For how long each tier is kept.
        max_bytes: What the file may take.
        clock: Seconds since 1970.
        let_go: Closes what reads the file in this process, before it is set aside or opened anew.

    Raises:
        HistoryError: It is no history, another process writes to it, or it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        retention: Retention,
        max_bytes: int,
        clock: Callable[[], float],
        let_go: Callable[[], None],
    ) -> None:
        self._path = path
        self._name = name
        self._retention = retention
        self._max_bytes = max_bytes
        self._clock = clock
        self._let_go = let_go
        self._gathering: Gathering | None = None
        self._folding: Folding | None = None
        self._connection: sqlite3.Connection | None
        self._connection, self._lock = file.open_for_writing(path, max_bytes)
        self._files = file.identity(path)
        self._points_until_pruning = 0
        self._is_writing = False

    def write(self, at: float, samples: list[Sample]) -> None:
        """Keep a sweep, then do some of what is due.

        Raises:
            HistoryError: It was not kept.
            ConfigurationError: A sample is none.
        """

        def keep(connection: sqlite3.Connection) -> None:
            self._gathering = self._gathering or Gathering(connection)
            self._gathering.write(self._name, at, samples)

        self._kept(keep)
        self._maintain_a_little()

    def write_points(self, metric: str, labels: str, points: list[tuple[float, float]]) -> None:
        """Keep points of one series, whose name is spelled.

        Raises:
            HistoryError: They were not kept.
        """

        def keep(connection: sqlite3.Connection) -> None:
            series = series_id(connection, metric, labels, max(points)[0])
            connection.executemany("INSERT OR REPLACE INTO point VALUES (?, ?, ?)", [(series, *point) for point in points])

        self._kept(keep)
        self._points_until_pruning -= len(points)
        with self._kept_whatever_happens():
            if self._points_until_pruning <= 0:
                self._points_until_pruning = _POINTS_A_PRUNING
                self._prune_by_age()
            self._prune_a_little()

    def _kept(self, keep: Callable[[sqlite3.Connection], None]) -> None:
        """Keep what is to be kept; in a new file, where the old one proves damaged or somebody takes it away meanwhile."""
        for is_last in (False, True):
            try:
                with self._transaction() as connection:
                    keep(connection)
            except _DamagedError as error:
                self._begin_anew(error, is_last=is_last)
            else:
                if self._files == file.identity(self._path):
                    return
        raise HistoryError(f"{self._name}: other programs take it, or SQLite's log of it, away while it is written to")

    def maintain(self) -> None:
        """Fold all that is due, forget all that is past its time, and keep to the size.

        Raises:
            HistoryError: It cannot be written.
        """
        try:
            while self._step() or self._is_folding():
                pass
            self._prune_by_age()
            while self._prune_by_size():
                pass
            while self._shrink():
                pass
        except _DamagedError as error:
            self._begin_anew(error, is_last=False)

    def _is_folding(self) -> bool:
        return self._folding is not None and self._folding.is_at_work

    def _maintain_a_little(self) -> None:
        """Do a part of what is due."""
        with self._kept_whatever_happens():
            with self._transaction() as connection:
                gathering = self._gathering or Gathering(connection)
                self._folding = self._folding or Folding(connection)
                waiting = self._folding.due(gathering.block)
            steps = waiting * math.ceil(gathering.series / _SERIES_IN_STEP / _STEPS_OF_A_BLOCK + 1e-9)
            became_whole = [self._step() for _ in range(steps)]
            if any(became_whole):
                self._prune_by_age()
            self._prune_a_little()

    @contextmanager
    def _kept_whatever_happens(self) -> Iterator[None]:
        """Contain what fails after something was kept: whoever wrote it is told so."""
        try:
            yield
        except _DamagedError as error:
            with suppress(HistoryError):
                self._begin_anew(error, is_last=False)
        except Exception as error:  # noqa: BLE001 - as above
            report_internal_error("history_maintenance", error, "could not fold or shorten its history, and tries again")

    def _prune_a_little(self) -> None:
        for _ in range(_PRUNED_AT_ONCE):
            if not self._prune_by_size():
                break
        self._shrink()

    def _step(self) -> bool:
        with self._transaction() as connection:
            gathering = self._gathering = self._gathering or Gathering(connection)
            self._folding = self._folding or Folding(connection)
            return self._folding.step(gathering.block)

    def _pruning(self, connection: sqlite3.Connection) -> Pruning:
        return Pruning(connection, self._retention, self._max_bytes)

    def _prune_by_age(self) -> None:
        with self._transaction() as connection:
            latest = (self._gathering or Gathering(connection)).latest
            now = self._clock()
            self._pruning(connection).by_age(min(now, latest) if latest > -math.inf else now)

    def _prune_by_size(self) -> bool:
        with self._transaction() as connection:
            pruning = self._pruning(connection)
            if not pruning.is_over():
                return False
            if pruning.by_size():
                self._folding = None  # what it is at may be what went
            elif pruning.sweeps_by_size():
                self._gathering = self._folding = None
            else:
                return False
            return True

    def _shrink(self) -> bool:
        with self._transaction() as connection:
            return self._pruning(connection).shrink()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin and end a transaction; whatever fails, what is known of the file is read anew."""
        if self._is_writing:
            # a signal handler, or a conversion of a value: to end what is open would leave half of it on the disk
            raise HistoryError(f"{self._name}: this thread is in the middle of another write: try again after it")
        self._is_writing = True
        try:
            with self._begun() as connection:
                yield connection
        finally:
            self._is_writing = False

    @contextmanager
    def _begun(self) -> Iterator[sqlite3.Connection]:
        if self._files != file.identity(self._path):
            # Whatever took away this process's locks on the file, the next program that closed it took SQLite's log for left
            # behind: it has put into the file what was in it, and what is written to it now nobody will ever see.
            self._let_go()
            self._close()
        if self._connection is None:
            self._reopen()
        connection = self._connection
        assert connection is not None  # noqa: S101 - it was opened a moment ago
        try:
            if connection.in_transaction:  # of a write whose end was interrupted, too
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            self._gathering = self._folding = None
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if file.is_corruption(error):
                raise _DamagedError(str(error)) from error
            if isinstance(error, sqlite3.Error | OSError):
                raise HistoryError(file.explained(self._name, error)) from error
            raise

    def _begin_anew(self, error: Exception, *, is_last: bool) -> None:
        """Set the file aside and begin another."""
        if is_last:
            raise HistoryError(f"{self._name}: it is damaged, and so is the new one ({error})") from error
        self._set_aside(f"damaged ({error})", "corrupt")

    def begin_anew(self, what: str) -> None:
        """Set a healthy file aside, for what was found in it, and begin another.

        Raises:
            HistoryError: It cannot be renamed.
        """
        self._set_aside(what, "ahead")

    def _set_aside(self, what: str, name: str) -> None:
        self._let_go()
        self._close()
        try:
            file.set_aside(self._path, what, name)
        except OSError as refusal:
            raise HistoryError(file.explained(self._name, refusal)) from refusal
        self._reopen()

    def _reopen(self) -> None:
        self._connection = file.reopen_for_writing(self._path, self._max_bytes)
        self._files = file.identity(self._path)

    def _close(self) -> None:
        self._gathering = self._folding = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def abandon(self) -> None:
        """Leave all to the parent, in a forked child."""
        if self._connection is not None:
            abandon(self._connection)
            self._connection = None
        self._lock.release()

    def close(self) -> None:
        """Give the file back, with all that is in SQLite's log, which SQLite would leave there while another reads."""
        if self._connection is not None and self._files == file.identity(self._path):
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint").fetchone()
        self._close()
        self._lock.release()


class _DamagedError(Exception):
    """The file itself is at fault; caught here, always."""
