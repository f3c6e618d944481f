"""What a circuit is between two changes of its state, and what a call holds of it while it runs.

Each phase is an object of its own, so that what a call brings back is known for late by whose it was.
"""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING

from agentgauge.breaker.states import CircuitState
from agentgauge.breaker.windows import CallRing

if TYPE_CHECKING:
    from agentgauge.breaker.circuit import Circuit
    from agentgauge.breaker.windows import SecondRing

__all__ = ["MOST_WAITING", "Closed", "Entry", "HalfOpen", "Open", "Probe", "Rider", "Ticket", "entered"]

MOST_WAITING = 512  # fewer than the 700 new objects that start a garbage collection


class Closed:
    """Every call goes through; the phase itself is what a call holds.

    Attributes:
        books: Those of the process: after a fork the calls of the parent are none of the child's.
        window: The calls by which the circuit is judged.
        minimum: How many they must be.
        limit: How many successes may wait to be added to the window.
    """

    __slots__ = ("books", "limit", "minimum", "window")
    state = CircuitState.CLOSED

    def __init__(self, books: object, window: CallRing | SecondRing, minimum: int) -> None:
        self.books = books
        self.window = window
        self.minimum = minimum
        self.limit = MOST_WAITING


class Open:
    """No call goes through.

    Attributes:
        until: When others are to be tried, on the circuit's clock; None for not before somebody closes it.
        window: What it was judged by.
        minimum: How many calls those had to be.
    """

    __slots__ = ("minimum", "state", "until", "window")

    def __init__(self, until: float | None, window: CallRing | SecondRing, minimum: int) -> None:
        self.until = until
        self.window = window
        self.minimum = minimum
        self.state = CircuitState.FORCED_OPEN if until is None else CircuitState.OPEN


class HalfOpen:
    """A few calls go through, and decide.

    Attributes:
        books: See ``Closed``.
        window: What came of those that have ended.
        minimum: How many of them decide, and may be under way at a time.
        live: When each of those under way began, by its number.
        dropped: The numbers of those that nobody will ever end; filled by the garbage collector, which must take no lock.
    """

    __slots__ = ("_last", "books", "dropped", "live", "minimum", "window")
    state = CircuitState.HALF_OPEN

    def __init__(self, books: object, calls: int) -> None:
        self.books = books
        self.window = CallRing(calls)
        self.minimum = calls
        self.live: dict[int, float] = {}
        self.dropped: deque[int] = deque()
        self._last = 0

    def admit(self, circuit: Circuit, now: float, probe_seconds: float) -> Probe | None:
        """Give a slot, where one is left; those of lost probes are given anew."""
        while self.dropped:
            self.live.pop(self.dropped.popleft(), None)
        if len(self.live) + self.window.total >= self.minimum:
            for number in [number for number, began in self.live.items() if now - began >= probe_seconds]:
                del self.live[number]
        if len(self.live) + self.window.total >= self.minimum:
            return None
        self._last += 1
        self.live[self._last] = now
        return Probe(circuit, self, self._last)

    def until_lost(self, now: float, probe_seconds: float) -> float:
        """Return after how long the oldest probe under way gives its slot up."""
        return max(0.0, min(self.live.values(), default=now) + probe_seconds - now)


class Probe:
    """One of the calls that decide whether a circuit closes; one that is thrown away gives its slot back."""

    __slots__ = ("books", "circuit", "is_settled", "number", "phase")

    def __init__(self, circuit: Circuit, phase: HalfOpen, number: int) -> None:
        self.circuit = circuit
        self.phase = phase
        self.books = phase.books
        self.number = number
        self.is_settled = False

    def __del__(self) -> None:
        if not self.is_settled:
            self.phase.dropped.append(self.number)


class Rider:
    """A call inside a probe of the same circuit: a part of that, which decides nothing itself."""

    __slots__ = ("books", "phase")

    def __init__(self, phase: HalfOpen) -> None:
        self.phase = phase
        self.books = phase.books


Ticket = Closed | Probe | Rider

Entry = tuple["Circuit", Ticket, float, "Entry | None"]
"""A block that was entered: its circuit, what it holds, when it began, and what was entered before it."""

entered: ContextVar[Entry | None] = ContextVar("agentgauge_breakers_entered", default=None)
