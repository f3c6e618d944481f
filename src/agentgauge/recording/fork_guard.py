"""The locks of prometheus_client's registries, held through a fork.

A child whose copy of such a lock belongs to a thread that it does not have would wait for ever at its first scrape.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["guard"]

_WAIT_SECONDS = 1.0

_registries: weakref.WeakSet[CollectorRegistry] = weakref.WeakSet()
_held_by_thread: dict[int, list[threading.Lock]] = {}


def guard(registry: CollectorRegistry) -> None:
    """Let no fork come while ``registry`` is locked; goes on without where that takes more than a second."""
    _registries.add(registry)


def _hold() -> None:
    locks = [lock for registry in list(_registries) if (lock := getattr(registry, "_lock", None)) is not None]
    held = _held_by_thread.setdefault(threading.get_ident(), [])  # kept at once: a signal handler may raise in between
    for lock in locks:
        if lock.acquire(timeout=_WAIT_SECONDS):
            held.append(lock)


def _let_go() -> None:
    for lock in _held_by_thread.pop(threading.get_ident(), ()):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)
