"""Sweeps that wait in memory until the history can be written, and until their time is believed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgauge.analytics.sweeps import Series, Sweep

__all__ = ["LEAP_SECONDS", "Ahead", "Leaps", "Waiting"]

_MOST = 720  # three hours at 15 s
_MOST_BYTES = 32 * 1024 * 1024
_VALUE_BYTES = 8
_NAME_BYTES = 600  # of the name and labels of a series, roughly
LEAP_SECONDS = 86_400.0
"""Who is so far from where time should be has a wrong clock, or had one."""

_BELIEF_SECONDS = 600.0  # a clock that was set wrongly is mostly set right within minutes


class Waiting:
    """A queue that forgets its oldest where it is too long."""

    def __init__(self) -> None:
        self._sweeps: deque[tuple[Sweep, int]] = deque()
        self._bytes = 0
        self._series: list[Series] = []

    def __len__(self) -> int:
        return len(self._sweeps)

    @property
    def oldest(self) -> Sweep:
        """The one that is to be written next."""
        return self._sweeps[0][0]

    def forget_oldest(self) -> None:
        """Take it out: it is written, or never will be."""
        _, size = self._sweeps.popleft()
        self._bytes -= size

    def forget_after(self, at: float) -> int:
        """Forget all that are later than a time; return how many."""
        before = len(self)
        while self._sweeps and self._sweeps[-1][0].at > at:
            _, size = self._sweeps.pop()
            self._bytes -= size
        return before - len(self)

    def forget_until(self, at: float) -> int:
        """Forget all that are not later than a time; return how many."""
        before = len(self)
        while self._sweeps and self.oldest.at <= at:
            self.forget_oldest()
        return before - len(self)

    def append(self, sweep: Sweep) -> int:
        """Let another one wait; return how many had to go for it."""
        before = set(map(id, self._series))
        new = sum(id(series) not in before for series in sweep.series)
        self._series = sweep.series
        size = len(sweep.series) * 2 * _VALUE_BYTES + new * _NAME_BYTES
        self._sweeps.append((sweep, size))
        self._bytes += size
        gone = 0
        while len(self) > _MOST or (self._bytes > _MOST_BYTES and len(self) > 1):
            self.forget_oldest()
            gone += 1
        return gone

    def clear(self) -> int:
        """Forget all; return how many."""
        gone = len(self)
        self._sweeps.clear()
        self._bytes = 0
        return gone


class Ahead:
    """Doubts a history whose newest sweep lies far ahead of the clock: either was wrong, and nothing can be written until then.

    The clock is believed once it has been so for ten minutes: one that starts in 1970 is mostly set right sooner.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def is_doubted(self, newest: float, now: float, monotonic: float) -> bool:
        """Tell whether what comes has to wait.

        Args:
            newest: The time of the newest sweep, Unix time in seconds.
            now: The clock's.
            monotonic: Seconds on a clock that never goes back.
        """
        if newest - now <= LEAP_SECONDS:
            self._since = None
            return False
        if self._since is None:
            self._since = monotonic
        return monotonic - self._since < _BELIEF_SECONDS


class Leaps:
    """Doubts a clock that leaps ahead: what is written under a time that is yet to come lets nothing be written until then.

    It is believed once it has stayed there for ten minutes: a machine that slept leaps, too.
    """

    def __init__(self) -> None:
        self._believed: tuple[float, float] | None = None
        self._doubted_since: float | None = None

    def is_doubted(self, now: float, monotonic: float) -> bool:
        """Tell whether this is no time to write under.

        Args:
            now: Unix time in seconds.
            monotonic: Seconds on a clock that never goes back.
        """
        if self._believed is not None and now - self._believed[0] - (monotonic - self._believed[1]) > LEAP_SECONDS:
            if self._doubted_since is None:
                self._doubted_since = monotonic
            if monotonic - self._doubted_since < _BELIEF_SECONDS:
                return True
        self._believed, self._doubted_since = (now, monotonic), None
        return False
