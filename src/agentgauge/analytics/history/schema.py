"""The tables of a history, and how an older file comes to have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.errors import HistoryError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["APPLICATION_ID", "VERSION", "create_or_migrate"]

APPLICATION_ID = 0x61674831
"""What the header of a history says it is ("agH1"), as SQLite has it for this."""

# Version 1. A block is a stretch of time of one tier: `width` is 0 for sweeps as they came, else the seconds of its buckets.
# Until it is whole, its sweeps are rows of `sweep`, whose numbers lie in `part`, 500 series to each; `member` says which has
# which place. A whole block has rows in `chunk`, one a series. The ids of `part` and `chunk` are made of two numbers, so that
# what is written together lies together, and is found without an index: part << 40 | sweep, block << 32 | series.
_FIRST = (
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY AUTOINCREMENT, metric TEXT NOT NULL, labels TEXT NOT NULL, UNIQUE (metric, labels)
    )""",
    """CREATE TABLE block (
        id INTEGER PRIMARY KEY AUTOINCREMENT, width INTEGER NOT NULL, is_whole INTEGER NOT NULL DEFAULT 0,
        since REAL, until REAL, ends BLOB
    )""",
    "CREATE TABLE chunk (id INTEGER PRIMARY KEY, last BLOB NOT NULL, least BLOB, greatest BLOB, mean BLOB, count BLOB)",
    "CREATE TABLE sweep (id INTEGER PRIMARY KEY, block INTEGER NOT NULL, at REAL NOT NULL UNIQUE)",
    "CREATE TABLE part (id INTEGER PRIMARY KEY, numbers BLOB NOT NULL)",
    """CREATE TABLE member (
        block INTEGER NOT NULL, place INTEGER NOT NULL, series BLOB NOT NULL, PRIMARY KEY (block, place)
    ) WITHOUT ROWID""",
)
# Version 2: values of any time, and when a series was last seen, so that it can be forgotten.
_SECOND = (
    "CREATE TABLE point (series INTEGER NOT NULL, at REAL NOT NULL, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID",
    "CREATE INDEX point_at ON point (at)",
    "ALTER TABLE series ADD COLUMN seen REAL NOT NULL DEFAULT 0",
    "UPDATE series SET seen = coalesce((SELECT max(until) FROM block), (SELECT max(at) FROM sweep), 0)",
)
_MIGRATIONS = (_FIRST, _SECOND)

VERSION = len(_MIGRATIONS)


def create_or_migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring a new or older file to this version, wholly or not at all.

    Raises:
        HistoryError: It was written by a later version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise HistoryError(
            f"{path} was written by a later agentgauge (its version is {version}, this one knows {VERSION}): upgrade"
        )
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in _MIGRATIONS[version:]:
            for statement in script:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
