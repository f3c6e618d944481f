"""How full one queue is, and by how much it has grown lately."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["QueueLevel"]

_MARKS_A_WINDOW = 10


class QueueLevel:
    """The depth of a queue, with a few marks of what it was; thread-safe.

    The lock may be entered again by the thread that holds it, from a signal handler or a finalizer.
    """

    def __init__(self, window_seconds: float) -> None:
        """Start empty; growth is over the last ``window_seconds``."""
        self.depth = 0.0
        self._window_seconds = window_seconds
        self._marks: deque[tuple[float, float]] = deque()
        self._lock = threading.RLock()

    def set(self, depth: float, now: float) -> None:
        """Take the depth at ``now``, in seconds."""
        with self._lock:
            self.depth = depth
            if not self._marks or now - self._marks[-1][0] >= self._window_seconds / _MARKS_A_WINDOW:
                self._marks.append((now, depth))
            self._forget(now)

    def growth(self, now: float) -> float:
        """Return by how many items the queue is deeper than a window ago, or than first told; negative where it shrank."""
        with self._lock:
            self._forget(now)
            return self.depth - self._marks[0][1] if self._marks else 0.0

    def _forget(self, now: float) -> None:
        # The mark that is kept in front is the last one from before the window: the depth at its beginning.
        while len(self._marks) > 1 and self._marks[1][0] <= now - self._window_seconds:
            self._marks.popleft()
