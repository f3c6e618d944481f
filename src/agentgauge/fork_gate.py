"""Locks that a fork waits for: what they guard must not be cut in two, since the child has no thread to go on with it."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["LOADING", "ForkGate", "load"]

_FORK_WAIT_SECONDS = 1.0


class ForkGate:
    """A re-entrant lock that forks wait for, for up to a second, and that is new in every child.

    Attributes:
        lock: To hold in a ``with``. No signal handler can come between its being taken and the block, as it could in an
            ``__enter__`` of ours; and a block that a child was forked in gives back what it took, not what is new.
    """

    lock: Any

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold, after_in_parent=self.release, after_in_child=self._renew)

    def acquire(self, timeout: float = -1) -> bool:
        """Take it, as ``threading.RLock`` does, for those who cannot wait for ever."""
        return bool(self.lock.acquire(timeout=timeout))

    def release(self) -> None:
        """Give it back, where this thread holds it."""
        if self.lock._is_owned():  # noqa: SLF001 - what threading.Condition asks, too
            self.lock.release()

    def _renew(self) -> None:
        self.lock = threading.RLock()

    def _hold(self) -> None:
        self.lock.acquire(timeout=_FORK_WAIT_SECONDS)


LOADING = ForkGate()
"""Held by whoever imports late: a child that is forked meanwhile would wait for ever for the module."""


def load(module: str) -> ModuleType:
    """Import a module that only some programs need."""
    with LOADING.lock:
        return import_module(module)
