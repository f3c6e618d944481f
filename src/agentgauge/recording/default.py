"""The one global there is: the recorder of decorated functions, shown in prometheus_client's own registry.

prometheus_client is loaded at the first decoration: a program that imports agentgauge and does without it does not pay for it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import load
from agentgauge.recording.fork_guard import guard
from agentgauge.recording.recorder import Recorder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from agentgauge.recording.collector import RecorderCollector

__all__ = ["default_recorder", "show_default_recorder"]

_recorder = Recorder()
_lock = threading.Lock()
_is_at_home = False
_collector: RecorderCollector | None = None
_shown_in: weakref.WeakSet[CollectorRegistry] = weakref.WeakSet()


def _renew_lock_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_in_child)


def default_recorder() -> Recorder:
    """Return the recorder of decorated functions; the first call registers it in ``prometheus_client.REGISTRY``."""
    global _is_at_home  # noqa: PLW0603 - registered once in the life of the process
    if not _is_at_home:
        with contain_internal_errors("register"):
            show_default_recorder(load("prometheus_client").REGISTRY)
        _is_at_home = True
    return _recorder


def show_default_recorder(registry: CollectorRegistry) -> None:
    """Register the recorder of decorated functions in ``registry``, once and for good."""
    global _collector  # noqa: PLW0603 - made once in the life of the process
    late = load("agentgauge.recording.collector")  # it needs prometheus_client
    guard(registry)
    with _lock:
        _collector = _collector or late.RecorderCollector(_recorder)
        if registry not in _shown_in:
            registry.register(_collector)
            _shown_in.add(registry)
