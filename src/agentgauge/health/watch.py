"""The thread that begins checks when they are due and settles those that are late."""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watch"]

_AFTER_FAULT_SECONDS = 1.0
_LONGEST_SECONDS = 3600.0


class Watch:
    """Takes a step, waits for as long as that says or until it is woken, and takes the next; never runs what users wrote.

    Args:
        step: Takes one step, and returns how many seconds later the next is due; None where there is nothing more to do.

    Attributes:
        thread: To be started by whoever made it.
    """

    def __init__(self, step: Callable[[], float | None]) -> None:
        self._step = step
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="agentgauge-health", daemon=True)

    def wake(self) -> None:
        """Let it take a step now."""
        self._wakes.put(None)

    def _work(self) -> None:
        while True:
            seconds: float | None = _AFTER_FAULT_SECONDS
            with contain_internal_errors("health"):
                seconds = self._step()
            if seconds is None:
                return
            with contextlib.suppress(Empty):
                self._wakes.get(timeout=min(max(seconds, 0.0), _LONGEST_SECONDS))
                while True:
                    self._wakes.get_nowait()
