"""How long a delivery may still take."""

from __future__ import annotations

import io
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

__all__ = ["Deadline", "PacedReader", "lane_ends_at"]

lane_ends_at: ContextVar[float | None] = ContextVar("agentgauge_lane_ends_at", default=None)
"""When the lane will leave the handler behind that it calls now, by ``time.monotonic``."""

_SHARE = 0.9  # of the lane's time: what is left is for the answer to come back


class Deadline:
    """The time of one delivery: its own limit, or that of the lane it is called in where that is sooner.

    Args:
        seconds: The delivery's own limit.
    """

    def __init__(self, seconds: float) -> None:
        now = time.monotonic()
        lane_end = lane_ends_at.get()
        self._ends_at = now + (seconds if lane_end is None else min(seconds, (lane_end - now) * _SHARE))

    def left(self) -> float:
        """Return how many seconds are left, 0 where none are."""
        return max(0.0, self._ends_at - time.monotonic())

    def timeout(self) -> float:
        """Return what a socket may wait for; never 0, which would mean not to wait at all.

        Raises:
            TimeoutError: No time is left.
        """
        if (left := self.left()) <= 0:
            raise TimeoutError("the time for the delivery is up")
        return left


class PacedReader(io.RawIOBase):
    """Reads from a socket until the deadline, however slowly bytes drip: a socket's own limit is for each of them."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """Tell that it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, or comes in time."""
        self._sock.settimeout(self._deadline.timeout())
        return self._sock.recv_into(buffer)
