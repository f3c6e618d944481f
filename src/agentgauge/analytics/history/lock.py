"""Who writes to a history: one process, by a lock on a file beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from agentgauge.errors import HistoryError
from agentgauge.fork_gate import process_mark

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WriterLock"]

_MARK = b"agentgauge history, written by process "


class WriterLock:
    """Held by the one writer of a history until it is given back, or its process ends, however it does.

    SQLite's own lock is held for one transaction at a time, and two that alternate would each fold what the other gathers.
    The lock's file stays: were it removed, a third could lock a new one while a second waits for the old.

    Args:
        path: The history; the lock lies beside it.

    Raises:
        HistoryError: Somebody else holds it, or it cannot be had.
    """

    def __init__(self, path: Path) -> None:
        self._path = self.path_of(path)
        self._file = -1
        self._mark = process_mark()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HistoryError(
                f"{path} cannot be written: {error.strerror}: {self._path}: let this program write in that folder, or give"
                " another path"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._file, 200, 0).removeprefix(_MARK).strip().decode(errors="replace") or "another"
            self.release()
            raise HistoryError(
                f"{path} is being written by process {owner}: one process writes to a history; open it with is_read_only=True to"
                " read it, or give this process a file of its own"
            ) from error
        except OSError as error:
            self.release()
            raise HistoryError(f"{path}: no file can be locked there ({error.strerror}): give a path on a local disk") from error
        with contextlib.suppress(OSError):  # on a full disk the lock holds without its text
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, _MARK + b"%d\n" % os.getpid(), 0)

    @staticmethod
    def path_of(path: Path) -> Path:
        """Return where the lock of a history lies."""
        return path.with_name(path.name + ".lock")

    @classmethod
    def was_here(cls, path: Path) -> bool:
        """Tell whether a history was ever written there."""
        try:
            return cls.path_of(path).read_bytes().startswith(_MARK)
        except OSError:
            return False

    def release(self) -> None:
        """Give it back; in a forked child, what the child has of it: the parent goes on holding it."""
        held, self._file = self._file, -1
        if held >= 0:
            with contextlib.suppress(OSError):
                if self._mark == process_mark():  # a child that has it, too, may not have got to closing it
                    fcntl.flock(held, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):
                os.close(held)

    def __del__(self) -> None:
        """Give it back with the history that was never closed."""
        self.release()
