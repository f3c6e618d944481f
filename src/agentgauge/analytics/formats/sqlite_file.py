"""A saved document as an SQLite database that any tool reads: tables ``about``, ``metrics`` and ``points``."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.formats.saved import FORMAT, VERSION
from agentgauge.errors import HistoryError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SQLITE_MAGIC", "from_sqlite", "refuse_others", "to_sqlite"]

SQLITE_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID = 0x41474147  # "AGAG"
_APPLICATION_ID_AT = 68  # in the header, https://www.sqlite.org/fileformat2.html#application_id
_SCHEMA = """
CREATE TABLE about (field TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE metrics (metric_id INTEGER PRIMARY KEY, metric TEXT NOT NULL UNIQUE);
CREATE TABLE points (metric_id INTEGER NOT NULL REFERENCES metrics, time REAL NOT NULL, value REAL NOT NULL);
"""
_TABLES = {statement.strip() for statement in _SCHEMA.split(";") if statement.strip()}


def to_sqlite(document: dict[str, Any]) -> bytes:
    """Write a document; times are Unix seconds."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION}; {_SCHEMA}")
        about = {field: document[field] for field in ("format", "version", "name", "saved_at")} | document["retention"]
        database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        database.executemany("INSERT INTO metrics VALUES (?, ?)", enumerate(document["metrics"], 1))
        for number, points in enumerate(document["metrics"].values(), 1):
            rows = zip(points["times"], points["values"], strict=True)
            database.executemany(f"INSERT INTO points VALUES ({number}, ?, ?)", rows)  # noqa: S608 - a number of ours
        database.commit()
        return database.serialize()


def refuse_others(path: Path) -> None:
    """Refuse a database that ``save()`` did not write before anything but SQLite opens it.

    This process may have it open: a history that is being written, a database of the program's. Whoever closes such a file takes
    all its locks with it, and other programs would delete SQLite's log while it is written to. Source: How To Corrupt An SQLite
    Database File, 2.2.

    Raises:
        HistoryError: It is a database, and another.
    """
    if not path.is_file():
        return
    with (
        suppress(sqlite3.Error),  # it is none, or cannot be read, which whoever opens it is told
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database,
    ):
        (application,) = database.execute("PRAGMA application_id").fetchone()
        if path.stat().st_size:  # an empty file is an empty database, too
            _require_ours(application, str(path))


def _require_ours(application: int, path: str) -> None:
    if application == load("agentgauge.analytics.history.schema").APPLICATION_ID:
        raise HistoryError(
            f"{path}: it is a history, which start(history_file=...) writes, and not what save() writes: see what is in it with "
            f"agentgauge report --source {shlex.quote(path)}, or open it with History(path, is_read_only=True)"
        )
    if application != _APPLICATION_ID:
        raise HistoryError(f"{path}: it is an SQLite database that save() did not write")


def from_sqlite(content: bytes, path: str) -> Any:
    """Read a document.

    Raises:
        HistoryError: The database is damaged, or is another.
    """
    if len(content) > _APPLICATION_ID_AT:  # compressed, it was not seen before
        _require_ours(int.from_bytes(content[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4]), path)
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(content)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                return {"format": FORMAT, "version": version}
            check = database.execute("PRAGMA integrity_check(1)").fetchone()
            if check != ("ok",):
                raise HistoryError(f"{path}: the database is damaged: {check[0]}")
            return _document(database, path)
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: the database is damaged, maybe cut off: {error}") from None


def _document(database: sqlite3.Connection, path: str) -> dict[str, Any]:
    there = {statement for (statement,) in database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if there != _TABLES:  # a view, a trigger or a column that somebody else computes is not for us to run
        raise HistoryError(f"{path}: it has other tables than save() writes")
    about = dict(database.execute("SELECT field, value FROM about"))
    metrics = dict(database.execute("SELECT metric_id, metric FROM metrics ORDER BY metric_id"))
    read: dict[Any, dict[str, list[Any]]] = {metric: {"times": [], "values": []} for metric in metrics.values()}
    for number, at, value in database.execute("SELECT metric_id, time, value FROM points ORDER BY rowid"):
        if number not in metrics:
            raise HistoryError(f"{path}: the field 'points.metric_id' is {number!r}, but no metric has it")
        points = read[metrics[number]]
        points["times"].append(at)
        points["values"].append(value)
    retention = {field: about.pop(field, None) for field in ("period_seconds", "max_data_points")}
    return {**about, "format": about.get("format", FORMAT), "retention": retention, "metrics": read}
