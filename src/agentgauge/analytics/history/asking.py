"""The connection that reads: locked for no longer than one statement runs, so that forks need not wait for an analysis."""

from __future__ import annotations

import sqlite3
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["AskingConnection"]


class _Cursor(sqlite3.Cursor):
    """A cursor whose statement has ended, with all that SQLite locks for it, before anybody looks at what it found."""

    def execute(self, *statement: Any) -> _Cursor:
        with self._lock:
            super().execute(*statement)
            self._rows = super().fetchall()
            self.close()  # now, since SQLite is at work once more
        return self

    @property
    def _lock(self) -> AbstractContextManager[object]:
        return cast("AskingConnection", self.connection).lock

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # of the rows, which nobody goes on with otherwise
        return iter(self.fetchall())


class AskingConnection(sqlite3.Connection):
    """A connection for statements that read; one thread at a time asks it, as its caller sees to.

    Attributes:
        lock: Held while SQLite runs, and never between two statements.
    """

    lock: AbstractContextManager[object] = nullcontext()

    def execute(self, *statement: Any) -> Any:
        """Return what a statement found; that of CPython 3.11 and later would use a cursor of its own."""
        return self.cursor().execute(*statement)

    def cursor(self, _factory: Any = None) -> Any:
        """Return a cursor, as ``execute()`` of the connection asks for."""
        return super().cursor(_Cursor)
