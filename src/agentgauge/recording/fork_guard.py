"""The locks of prometheus_client's registries, renewed in a forked child.

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

_registries: weakref.WeakSet[CollectorRegistry] = weakref.WeakSet()


def guard(registry: CollectorRegistry) -> None:
    """Give ``registry`` a new lock in every forked child, whoever holds it in the parent."""
    _registries.add(registry)


def _renew_in_child() -> None:
    for registry in list(_registries):
        if hasattr(registry, "_lock"):
            registry._lock = threading.Lock()  # noqa: SLF001 - nothing public renews it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
