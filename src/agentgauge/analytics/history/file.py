"""The file of a history: whether it is one, how it is opened, and where a broken one goes."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import time
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar

from agentgauge.analytics.history.asking import AskingConnection
from agentgauge.analytics.history.columns import DamageError
from agentgauge.analytics.history.lock import WriterLock
from agentgauge.analytics.history.schema import APPLICATION_ID, VERSION, create_or_migrate
from agentgauge.errors import HistoryError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MOST_LOG_BYTES",
    "explained",
    "file_bytes",
    "identity",
    "is_corruption",
    "open_for_reading",
    "open_for_writing",
    "set_aside",
    "stamp",
]

_logger = logging.getLogger("agentgauge")
_Kind = TypeVar("_Kind", bound=sqlite3.Connection)

_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID_AT = 68  # in the header, https://www.sqlite.org/fileformat2.html#application_id
_BUSY_SECONDS = 5.0
_SYNCHRONOUS = "FULL"  # what is acknowledged survives a loss of power, too: one fsync a sweep
_PAGE_BYTES = 4096
MOST_LOG_BYTES = 1000 * _PAGE_BYTES
"""Of SQLite's log, before it is emptied."""
_BESIDE = ("", "-wal", "-shm", "-journal")
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REASONS = {
    sqlite3.SQLITE_FULL: "there is no space left on the disk: free some, or choose a smaller max_bytes",
    sqlite3.SQLITE_READONLY: "this program may not write to it, its folder or its disk: give it that right, or another path",
    sqlite3.SQLITE_CANTOPEN: "it, or what SQLite keeps beside it, cannot be opened: look at its permissions, and its folder's",
    sqlite3.SQLITE_IOERR: "the disk gave an error, or a limit on the size of files was reached",
    sqlite3.SQLITE_BUSY: "another process holds it locked",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no history",
}


class _Standing(Enum):
    NEW = auto()
    HISTORY = auto()
    DAMAGED = auto()
    FOREIGN = auto()


def _code_of(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the high bits are details


def is_corruption(error: BaseException) -> bool:
    """Tell whether the file itself is at fault: SQLite says so, or what was read from it cannot be decoded.

    A ``ValueError`` is no sign of that: what a caller gave may raise it, and the file is healthy.
    """
    is_broken = isinstance(error, sqlite3.DatabaseError) and _code_of(error) in _CORRUPT
    is_no_text = isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error)  # of Python's, without a code
    return is_broken or is_no_text or isinstance(error, DamageError)


def explained(path: str, error: BaseException) -> str:
    """Return what a person is told of a fault of SQLite's."""
    reason = _REASONS[sqlite3.SQLITE_CORRUPT] if is_corruption(error) else "it cannot be used"
    if isinstance(error, PermissionError):
        reason = "this program may not read it, or not look into its folder: give it that right"
    return f"{path}: {_REASONS.get(_code_of(error), reason)} ({error})"


def _uri(path: Path, query: str) -> str:
    return f"{path.absolute().as_uri()}?{query}"


def _connect(path: Path, query: str, kind: type[_Kind]) -> _Kind:
    return sqlite3.connect(
        _uri(path, query),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_SECONDS,
        cached_statements=64,
        factory=kind,
    )


def _standing(path: Path) -> _Standing:
    """Tell what lies there, and leave no trace of having looked.

    SQLite itself looks: a file that this process has open in it loses its locks when anybody else closes it (howtocorrupt, 2.2).
    """
    try:
        if path.stat().st_size == 0:
            return _Standing.NEW
    except FileNotFoundError:
        return _Standing.NEW
    with contextlib.closing(_connect(path, "mode=ro&immutable=1", sqlite3.Connection)) as connection:
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application == APPLICATION_ID:
                return _Standing.HISTORY
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            if not is_corruption(error):
                raise
        else:
            return _Standing.FOREIGN if application or tables else _Standing.NEW
    with path.open("rb") as file:  # nobody has it open in SQLite, which cannot read it
        head = file.read(100)
    is_ours = head[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4] == struct.pack(">I", APPLICATION_ID)
    is_torn = not head.startswith(_MAGIC) and b"\0" in head and WriterLock.was_here(path)
    return _Standing.DAMAGED if is_ours or is_torn else _Standing.FOREIGN


def _refuse_foreign(path: Path) -> None:
    raise HistoryError(f"{path} is no history of agentgauge, and is left as it is: give another path")


def set_aside(path: Path, what: str, name: str = "corrupt") -> None:
    """Rename a file that is no good, and what SQLite keeps beside it; say so in the log."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.{name}-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{name}-{stamp}-{number}")
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    _logger.error("agentgauge found the history %s %s: it is kept as %s, and a new one is begun", path, what, aside)


def open_for_writing(path: Path, max_bytes: int) -> tuple[sqlite3.Connection, WriterLock]:
    """Open a history, begin one, or set a damaged one aside and begin another.

    Raises:
        HistoryError: Another process writes to it, it is something else, or it cannot be opened.
    """
    try:
        if _standing(path) is _Standing.FOREIGN:
            _refuse_foreign(path)
        was_torn = _standing(path) is _Standing.DAMAGED  # before our own lock says that a history was here
    except (sqlite3.Error, OSError) as error:
        raise HistoryError(explained(str(path), error)) from error
    lock = WriterLock(path)
    try:
        if was_torn:
            set_aside(path, "damaged (its header is broken)")
        return reopen_for_writing(path, max_bytes), lock
    except BaseException:
        lock.release()
        raise


def reopen_for_writing(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open it for who has the lock."""
    for is_last in (False, True):
        connection = None
        try:
            connection = _connect(path, "mode=rwc", sqlite3.Connection)
            _prepare(connection, path, max_bytes)
            return connection
        except (sqlite3.Error, DamageError, OSError) as error:
            if connection is not None:
                _close(connection)
            if is_last or not is_corruption(error):
                raise HistoryError(explained(str(path), error)) from error
            set_aside(path, f"damaged ({error})")
        except BaseException:
            if connection is not None:
                _close(connection)
            raise
    raise AssertionError


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:  # its tables were still in its log when we looked first
        _refuse_foreign(path)
    if not os.access(path, os.W_OK):  # SQLite opens without a word what it may not write
        raise HistoryError(f"{path}: {_REASONS[sqlite3.SQLITE_READONLY]}")
    if not tables:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # parts are made to fill one
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    create_or_migrate(connection, str(path))  # before there is a log: whoever looks at the file alone sees whose it is
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise HistoryError(
            f"{path}: SQLite can keep no write-ahead log there (a network's file system?): give a path on a local disk"
        )
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()  # a file that a person vacuumed may have another
    log_pages = max(16, min(MOST_LOG_BYTES, max_bytes // 8) // page_bytes)
    connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {log_pages}")
    connection.execute(f"PRAGMA journal_size_limit = {log_pages * page_bytes}")
    _, logged, moved = connection.execute("PRAGMA wal_checkpoint").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if logged == moved and path.stat().st_size < pages * page_bytes:
        raise DamageError(f"it has {path.stat().st_size} bytes where {pages * page_bytes} belong")
    for table in ("block", "sweep", "member", "series", "chunk", "part", "point"):
        connection.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1").fetchone()  # noqa: S608 - our own names


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def open_for_reading(path: Path) -> tuple[AskingConnection, object]:
    """Open what somebody else may be writing, or has left behind.

    Returns:
        The connection, and None; or, where SQLite was told that nobody writes, the ``stamp()`` that the file has until somebody
        does.

    Raises:
        HistoryError: There is none, it is something else, of another version, or cannot be opened.
    """
    try:
        if not path.exists():
            raise HistoryError(f"there is no history at {path}: give the path of one")
        if _standing(path) in (_Standing.FOREIGN, _Standing.NEW):
            _refuse_foreign(path)
        return _read_only(path)
    except (sqlite3.Error, OSError) as error:
        raise HistoryError(explained(str(path), error)) from error


def identity(path: Path) -> object:
    """Return which file lies there, and which log of SQLite's; whoever has them open writes to no others, whatever lies there."""
    found: list[tuple[int, int] | None] = []
    for name in (str(path), f"{path}-wal"):
        try:
            status = os.stat(name)  # noqa: PTH116 - twice in each write
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found


def stamp(path: Path) -> object:
    """Return what of a file and its log changes when somebody writes."""
    found = []
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = path.with_name(path.name + suffix).stat()
            found.append((suffix, status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def _read_only(path: Path) -> tuple[AskingConnection, object]:
    connection = _connect(path, "mode=ro", AskingConnection)
    seen = None
    try:
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:
            if _code_of(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # What SQLite shares with a writer is not there, and cannot be made: its folder, or the file system, may only be read.
            # Without a log nobody has it open to write, and the file alone is all there is: that is what `immutable` says.
            log = path.with_name(path.name + "-wal")
            seen = stamp(path)
            if log.exists() and log.stat().st_size:
                raise HistoryError(
                    f"{path} was left with a log ({log.name}), which SQLite reads only where it can write: copy both to a folder"
                    " where you may, and read the copy"
                ) from error
            connection.close()
            connection = _connect(path, "mode=ro&immutable=1", AskingConnection)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        _require_version(path, version)
    except BaseException:
        _close(connection)
        raise
    return connection, seen


def _require_version(path: Path, version: int) -> None:
    if version != VERSION:
        age, way = (
            ("a later", "upgrade")
            if version > VERSION
            else ("an earlier", "open it once for writing, which brings it up to date")
        )
        raise HistoryError(f"{path} was written by {age} agentgauge (its version is {version}, this one reads {VERSION}): {way}")


def file_bytes(path: Path) -> int:
    """Return what it takes on disk, its log included."""
    total = 0
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            total += path.with_name(path.name + suffix).stat().st_size
    return total
