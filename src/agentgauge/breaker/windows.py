"""The calls by which a circuit is judged: the last so many, or those of the last so many seconds.

Both keep sums beside what they add up, as resilience4j's sliding windows do: to look at one costs the same however long it is.
Not for several threads at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agentgauge.breaker.settings import CountWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.breaker.settings import TimeWindow

__all__ = ["FAILED", "SLOW", "CallRing", "SecondRing", "make_window"]

FAILED, SLOW = 1, 2
"""What may be said of a call; a call of which neither is said is one byte of zero."""

_KINDS = FAILED | SLOW


class CallRing:
    """The last calls, one byte each."""

    __slots__ = ("_calls", "_next", "failed", "slow", "total")

    def __init__(self, size: int) -> None:
        self._calls = bytearray(size)
        self._next = 0
        self.total = 0
        self.failed = 0
        self.slow = 0

    def add(self, marks: int, at: float) -> None:  # noqa: ARG002 - a window of time asks for it
        """Take in a call that ended."""
        size, place = len(self._calls), self._next
        before = self._calls[place]
        self._calls[place] = marks
        self._next = (place + 1) % size
        self.total = self.total + 1 if self.total < size else size
        self.failed += (marks & FAILED) - (before & FAILED)
        self.slow += (marks & SLOW) // SLOW - (before & SLOW) // SLOW

    def add_successes(self, count: int) -> None:
        """Take in so many calls that ended well, at once: what they push out is counted, not gone through."""
        size = len(self._calls)
        place = self._next
        self._next = (place + count) % size
        self.total = min(self.total + count, size)
        if not self.failed and not self.slow:
            return
        if count >= size:
            self._forget(0, size)
        elif place + count <= size:
            self._forget(place, place + count)
        else:
            self._forget(place, size)
            self._forget(0, place + count - size)

    def _forget(self, start: int, end: int) -> None:
        part = self._calls[start:end]
        both = part.count(_KINDS)
        self.failed -= part.count(FAILED) + both
        self.slow -= part.count(SLOW) + both
        self._calls[start:end] = bytes(end - start)

    def advance(self, at: float) -> None:
        """Do nothing: calls leave this window when others come."""


class SecondRing:
    """The calls that ended in the last seconds, added up by the second; seconds without calls take no place."""

    __slots__ = ("_seconds", "_size", "failed", "slow", "total")

    def __init__(self, size: int) -> None:
        self._size = size
        self._seconds: deque[list[int]] = deque()  # number, total, failed, slow; the newest last
        self.total = 0
        self.failed = 0
        self.slow = 0

    def add(self, marks: int, at: float) -> None:
        """Take in a call that ended at a time in seconds."""
        self._add_many(int(at // 1), 1, marks & FAILED, (marks & SLOW) // SLOW)

    def add_successes_at(self, times: Sequence[float]) -> None:
        """Take in calls that ended well, at these times."""
        numbers = [int(at // 1) for at in times]
        for number in sorted(set(numbers)):
            self._add_many(number, numbers.count(number), 0, 0)

    def _add_many(self, number: int, total: int, failed: int, slow: int) -> None:
        self.advance(number)
        seconds = self._seconds
        # One that another thread overtook joins the newest: it is late by a moment, not by a second of its own.
        if not seconds or seconds[-1][0] < number:
            seconds.append([number, 0, 0, 0])
        newest = seconds[-1]
        newest[1] += total
        newest[2] += failed
        newest[3] += slow
        self.total += total
        self.failed += failed
        self.slow += slow

    def advance(self, at: float) -> None:
        """Let go of the seconds that are over."""
        seconds = self._seconds
        last_over = int(at // 1) - self._size
        while seconds and seconds[0][0] <= last_over:
            _, total, failed, slow = seconds.popleft()
            self.total -= total
            self.failed -= failed
            self.slow -= slow


def make_window(setting: CountWindow | TimeWindow) -> CallRing | SecondRing:
    """Return an empty window of the kind that is set."""
    return CallRing(setting.calls) if isinstance(setting, CountWindow) else SecondRing(setting.seconds)
