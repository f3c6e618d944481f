"""Locks that a fork waits for: what they guard must not be cut in two, since the child has no thread to go on with it."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

__all__ = ["LOADING", "ForkGate", "load"]

_FORK_WAIT_SECONDS = 1.0


class ForkGate:
    """A re-entrant lock that forks wait for, for up to a second, and that is new in every child."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold, after_in_parent=self.release, after_in_child=self._renew)

    def acquire(self, timeout: float = -1) -> bool:
        """Take it, as ``threading.RLock`` does."""
        return bool(self._lock.acquire(timeout=timeout))

    def release(self) -> None:
        """Give it back; nothing to do in a child that a signal handler forked meanwhile: its lock is new."""
        if self._lock._is_owned():  # noqa: SLF001 - what threading.Condition asks, too
            self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.release()

    def _renew(self) -> None:
        self._lock: Any = threading.RLock()

    def _hold(self) -> None:
        self._lock.acquire(timeout=_FORK_WAIT_SECONDS)


LOADING = ForkGate()
"""Held by whoever imports late: a child that is forked meanwhile would wait for ever for the module."""


def load(module: str) -> ModuleType:
    """Import a module that only some programs need."""
    with LOADING:
        return import_module(module)
