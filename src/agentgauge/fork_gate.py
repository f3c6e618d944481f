"""Forks: locks that they wait for, since the child has no thread to go on with what they guard, and how to notice one."""

from __future__ import annotations

import os
import threading
from enum import Enum
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["LOADING", "ForkGate", "ForkOrder", "before_fork", "load", "process_mark"]

_FORK_WAIT_SECONDS = 1.0
_IMPORT_SECONDS = 10.0  # an import ends by itself, after seconds where the machine is busy; a driver may never

_forks = 0  # between the first process that loaded this and the one that asks


def process_mark() -> tuple[int, int]:
    """Tell this process from its ancestors: in another pid namespace a child may have the very id of its parent.

    Returns:
        How many forks it is away from where this was first loaded, and its id, for forks that Python does not know of.
    """
    return _forks, os.getpid()


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - there is one of each process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)  # first of all: what others do there may ask


class ForkOrder(Enum):
    """What a fork takes before what: whoever has a lock may wait for later ones, so who has a later one may not wait for it."""

    STARTING = 0
    WORKING = 1
    HISTORY = 2
    LOGGING = 3


_holds: dict[ForkOrder, list[Callable[[], None]]] = {order: [] for order in ForkOrder}


def before_fork(hold: Callable[[], None], order: ForkOrder) -> None:
    """Call ``hold`` before each fork, in its order; of those of one order the last to be given is called first."""
    _holds[order].insert(0, hold)


def _hold_all_of(order: ForkOrder) -> None:
    interruption = None
    for hold in _holds[order].copy():
        try:
            hold()
        except BaseException as raised:  # noqa: BLE001 - of a signal handler: the others are to be held even so
            interruption = raised
    if interruption is not None:
        raise interruption


if hasattr(os, "register_at_fork"):
    for _order in reversed(ForkOrder):  # a hook for each: of one that a signal handler raises into nothing is held
        os.register_at_fork(before=partial(_hold_all_of, _order))


class ForkGate:
    """A re-entrant lock that forks wait for, for a second unless told otherwise, and that is new in every child.

    A fork that waited in vain is the last that waits, until one finds the lock free: what it guards hangs, in a driver perhaps.

    Args:
        wait_seconds: For how long forks wait, at least a second.
        order: When a fork takes it.

    Attributes:
        lock: To hold in a ``with``. No signal handler can come between its being taken and the block, as it could in an
            ``__enter__`` of ours; and a block that a child was forked in gives back what it took, not what is new.
    """

    lock: Any

    def __init__(self, wait_seconds: float = 0.0, order: ForkOrder = ForkOrder.WORKING) -> None:
        self._wait_seconds = wait_seconds
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_parent=self.release, after_in_child=self._renew)
            before_fork(self._hold, order)  # last: another thread may fork in between, and what it holds it must give back

    def acquire(self, timeout: float = -1) -> bool:
        """Take it, as ``threading.RLock`` does, for those who cannot wait for ever."""
        return bool(self.lock.acquire(timeout=timeout))

    def release(self) -> None:
        """Give it back, where this thread holds it."""
        if self.lock._is_owned():  # noqa: SLF001 - what threading.Condition asks, too
            self.lock.release()

    def _renew(self) -> None:
        self.lock = threading.RLock()
        self._is_stuck = False

    def _hold(self) -> None:
        wait_seconds = 0.0 if self._is_stuck else max(self._wait_seconds, _FORK_WAIT_SECONDS)
        self._is_stuck = not self.lock.acquire(timeout=wait_seconds)


LOADING = ForkGate(_IMPORT_SECONDS)
"""Held by whoever imports late: a child that is forked meanwhile would wait for ever for the module."""


def load(module: str) -> ModuleType:
    """Import a module that only some programs need."""
    with LOADING.lock:
        return import_module(module)
