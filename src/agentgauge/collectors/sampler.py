"""The thread that looks at what a scrape alone would come too late for."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Sampler"]

_INTERVAL_SECONDS = 0.5
_JOIN_SECONDS = 1.0


class Sampler:
    """Calls a function twice a second, with the moment at which it was due, until it is closed or the program ends.

    Args:
        look: What to call; it gets the moment by ``clock``.
        clock: Seconds that never go back.
    """

    def __init__(self, look: Callable[[float], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._look = look
        self._clock = clock
        self._wake: SimpleQueue[None] = SimpleQueue()  # its put is safe in a signal handler, where an Event can deadlock
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; that it cannot start is no error."""
        thread = threading.Thread(target=self._run, name="agentgauge-sampler", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            return
        self._thread = thread

    def close(self) -> None:
        """End the thread."""
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            due = self._clock() + _INTERVAL_SECONDS  # anew each time: what was missed is not made up for
            try:
                self._wake.get(timeout=_INTERVAL_SECONDS)
            except Empty:
                with contain_internal_errors("sampler"):
                    self._look(due)
            else:
                return
