"""The one global there is: the recorder of decorated functions, shown in prometheus_client's own registry."""

from __future__ import annotations

import os
import threading

from prometheus_client import REGISTRY

from agentgauge.errors import contain_internal_errors
from agentgauge.recording.collector import RecorderCollector
from agentgauge.recording.fork_guard import guard
from agentgauge.recording.recorder import Recorder

__all__ = ["default_collector", "default_recorder"]

_recorder = Recorder()
_collector = RecorderCollector(_recorder)
_lock = threading.Lock()
_is_registered = False
guard(REGISTRY)


def _renew_lock_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_in_child)


def default_recorder() -> Recorder:
    """Return the recorder of decorated functions; the first call registers it in ``prometheus_client.REGISTRY``."""
    global _is_registered  # noqa: PLW0603 - registered once in the life of the process
    if not _is_registered:
        with _lock:
            if not _is_registered:
                with contain_internal_errors("register"):
                    REGISTRY.register(_collector)
                _is_registered = True
    return _recorder


def default_collector() -> RecorderCollector:
    """Return the collector through which any registry can show the default recorder."""
    return _collector
