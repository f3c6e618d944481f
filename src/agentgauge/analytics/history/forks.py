"""Histories and forks: a child never uses, nor closes, a connection of its parent's."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from agentgauge.fork_gate import ForkOrder, before_fork

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["abandon", "watch", "watched"]

_WAIT_SECONDS = 1.0


class _Forked(Protocol):
    @property
    def path(self) -> Path:
        """The file."""

    def let_go(self) -> None:
        """Close what reads it."""

    @property
    def locks(self) -> tuple[Any, ...]:
        """What is held while SQLite runs: forks wait, since SQLite has locks of its own that no child could take."""

    def after_fork(self) -> None:
        """Begin anew in a child."""


_watched: dict[int, weakref.ref[_Forked]] = {}
_joining = threading.RLock()
"""Held by a fork before it waits for all others: a history that was opened meanwhile would be none of those that it waits for."""


class _Held(threading.local):
    """What the thread that forks holds; two may fork at once."""

    def __init__(self) -> None:
        self.locks: list[Any] = []


_held = _Held()
_stuck: weakref.WeakSet[Any] = weakref.WeakSet()
"""Locks that a fork has waited for in vain: it was the last that waited, until one finds them free. What they guard hangs."""
_abandoned: list[sqlite3.Connection] = []


def watch(history: _Forked) -> None:
    """Let forks wait for a history, before it is opened, and tell it in the child."""
    key = id(history)
    with _joining:
        _watched[key] = weakref.ref(history, lambda _: _watched.pop(key, None))


def abandon(connection: sqlite3.Connection) -> None:
    """Never close a connection of the parent's: closing would write to what the parent has open."""
    _abandoned.append(connection)
    with contextlib.suppress(ImportError, AttributeError):  # the list is emptied at exit: only a reference too many outlives that
        import ctypes  # noqa: PLC0415 - children alone need it

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def watched() -> list[_Forked]:
    """Return all histories that this process has."""
    return [history for reference in list(_watched.values()) if (history := reference()) is not None]


def _before() -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    if _joining.acquire(timeout=_WAIT_SECONDS):
        _held.locks.append(_joining)
    for history in watched():
        for lock in history.locks:
            wait_seconds = 0.0 if lock in _stuck else max(0.0, deadline - time.monotonic())
            if lock.acquire(timeout=wait_seconds):
                _held.locks.append(lock)
                _stuck.discard(lock)
            elif wait_seconds:
                _stuck.add(lock)


def _after_in_parent() -> None:
    while _held.locks:
        _held.locks.pop().release()


def _after_in_child() -> None:
    global _joining  # noqa: PLW0603 - another thread of the parent's may have it
    _joining = threading.RLock()
    _held.locks.clear()
    _stuck.clear()
    for history in watched():
        history.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_in_parent, after_in_child=_after_in_child)
    before_fork(_before, ForkOrder.HISTORY)
