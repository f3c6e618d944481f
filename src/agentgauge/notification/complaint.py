"""What the log says of a destination that could not be told."""

from __future__ import annotations

import contextlib
import logging
import time

from agentgauge.fork_gate import ForkGate, ForkOrder

__all__ = ["Complaint"]

_logger = logging.getLogger("agentgauge.notification")
_INTERVAL_SECONDS = 60.0
_WAIT_SECONDS = 1.0
# a child that is forked while a line is written could never take the lock of the log's file
_logging = ForkGate(order=ForkOrder.LOGGING)


class Complaint:
    """Logs a line for one destination, once a minute at most."""

    def __init__(self) -> None:
        self._next = float("-inf")

    def make(self, text: str) -> None:
        """Log it, without a traceback: what failed is elsewhere."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + _INTERVAL_SECONDS
        try:
            _logging.acquire(_WAIT_SECONDS)
            with contextlib.suppress(Exception):  # a logging handler of the program's may raise
                _logger.warning("alerts could not be told and are tried again: %s", text)
        finally:
            _logging.release()
