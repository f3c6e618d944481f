"""The thread that drains the recorder when nothing scrapes, so that the buffer stays short and gauges stay near."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from agentgauge.recording.recorder import Recorder

__all__ = ["Drainer"]

_STOP_TIMEOUT_SECONDS = 2.0


class Drainer:
    """Drains ``recorder`` every ``interval_seconds``; nothing is wrong without it, only later.

    It is woken through a ``SimpleQueue``, whose ``put`` is safe in a signal handler where an ``Event`` can deadlock.
    """

    def __init__(self, recorder: Recorder, interval_seconds: float) -> None:
        self._recorder = recorder
        self._interval_seconds = interval_seconds
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; that it cannot start is no error."""
        thread = threading.Thread(target=self._run, name="agentgauge-drain", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            return
        self._thread = thread

    def stop(self) -> None:
        """End the thread, after one last drain."""
        if self._thread is not None:
            self._wake.put(None)
            self._thread.join(_STOP_TIMEOUT_SECONDS)
            self._thread = None
        with contain_internal_errors("drain"):
            self._recorder.drain()

    def _run(self) -> None:
        while True:
            try:
                self._wake.get(timeout=self._interval_seconds)
            except Empty:
                with contain_internal_errors("drain"):
                    self._recorder.drain()
            else:
                return
