"""The state machine of one circuit breaker: what it admits, what it is judged by, and what it has counted.

Successes of a closed circuit are appended to a list, as references to the phase in which they began, and added to the window
many at once: before anything else is, and as soon as they could open the circuit. All else is done under a lock, in which no
code of the user's runs: not the call, not a listener, not a condition, not the clock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from agentgauge.breaker.endings import FAILED_CALL, LATE, SUCCESSFUL, Reading, Tally, kind_of
from agentgauge.breaker.phases import MOST_WAITING, Closed, HalfOpen, Open, Probe, Rider, entered
from agentgauge.breaker.settings import TimeWindow
from agentgauge.breaker.states import CircuitOpenError, CircuitState, Transition
from agentgauge.breaker.windows import FAILED, SLOW, SecondRing, make_window
from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from agentgauge.breaker.phases import Ticket
    from agentgauge.breaker.settings import Settings
    from agentgauge.breaker.windows import CallRing

__all__ = ["Circuit"]


class Circuit:
    """What a ``CircuitBreaker`` stands for.

    Attributes:
        closed: The phase while the circuit is closed, else None: all that a call through a closed circuit reads.
        plain: The same while blocks need not remember in which phase they began, since all under way that do not began in it.
        begun: Once for each block under way that does not: the phase in which it began.
        tally: What it counts.
        pending: Successes that are not counted yet, see ``Tally``.
        append: Adds to them.
        is_timed: Whether calls must tell when they began.
        breaker: The breaker, for as long as it is there.
    """

    __slots__ = (
        "_has_times",
        "_is_folding",
        "_lock",
        "_phase",
        "_telling",
        "_untold",
        "append",
        "begun",
        "breaker",
        "clock",
        "closed",
        "is_timed",
        "listeners",
        "pending",
        "plain",
        "settings",
        "tally",
    )

    breaker: weakref.ref[Any]

    def __init__(self, settings: Settings, *, is_shown: bool) -> None:
        self.settings = settings
        self.clock = settings.clock
        self._has_times = isinstance(settings.window, TimeWindow)
        self.is_timed = self._has_times or settings.slow_call_seconds is not None
        self.listeners: tuple[Callable[[Transition], object], ...] = ()
        self.tally = Tally(settings.name, has_times=self._has_times, is_shown=is_shown)
        self.pending = self.tally.pending
        self.append = self.pending.append
        self.begun: list[Closed] = []
        self._untold: deque[Transition] = deque()
        self._phase: Closed | Open | HalfOpen | None = None
        self.start_anew()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, str]]:
        """Travel as a part of the breaker, with wrappers that are pickled by value."""
        return getattr, (self.breaker(), "_circuit")

    def start_anew(self) -> None:
        """Keep the state alone, as a forked child must, after the tally has: what was under way is the parent's."""
        self._lock = threading.RLock()
        self._telling = threading.Lock()
        self._is_folding = False
        self._untold.clear()
        before = self._phase
        if isinstance(before, Open):
            self._phase = Open(before.until, make_window(self.settings.window), self.settings.minimum_calls)
        else:
            self._phase = self._anew_half_open() if isinstance(before, HalfOpen) else self._anew_closed()
        self._mark_closed()

    # --- what calls do ----------------------------------------------------------------------------------------------------

    def admit(self) -> Ticket:
        """Let a call through.

        Returns:
            What the call holds, for ``settle``.

        Raises:
            CircuitOpenError: It must not be made.
        """
        now = self.clock()
        with self._lock:
            ticket = self._admit(now)
        if self._untold:
            self._tell()
        if isinstance(ticket, CircuitOpenError):
            raise ticket
        return ticket

    def succeed(self, ticket: Ticket, start: float) -> None:
        """Take in a success, as ``settle`` does, at less cost where the call began while the circuit was closed."""
        if not isinstance(ticket, Closed):
            self.settle(ticket, None, start)
            return
        entry: Any = ticket
        if self.is_timed:
            now, limit_seconds = self.clock(), self.settings.slow_call_seconds
            if limit_seconds is not None and now - start > limit_seconds:
                self._settle(ticket, SUCCESSFUL, is_slow=True, now=now)
                return
            if self._has_times:
                entry = ticket, now
        self.append(entry)
        if len(self.pending) >= ticket.limit:
            self.fold()

    def settle(self, ticket: Ticket, error: BaseException | None, start: float, seconds: float | None = None) -> None:
        """Take in how a call ended.

        Args:
            ticket: What ``admit`` gave, or the closed phase in which it began.
            error: What left it, None for a success.
            start: When it began, where the circuit is timed.
            seconds: How long it took, where that is not all the time since.
        """
        kind = SUCCESSFUL if error is None else kind_of(error, self.settings)
        now, limit_seconds = self.clock(), self.settings.slow_call_seconds
        is_slow = limit_seconds is not None and (now - start if seconds is None else seconds) > limit_seconds
        self._settle(ticket, kind, is_slow=is_slow, now=now)

    def fold(self) -> None:
        """Add the successes that wait to the window, and judge the circuit by it."""
        now = self.clock()
        with self._lock:
            self._fold(now)
        if self._untold:
            self._tell()

    # --- what people and readers do ---------------------------------------------------------------------------------------

    def state(self) -> CircuitState:
        """Return the state by the clock."""
        now = self.clock()
        with self._lock:
            phase = self._at(now)
        if self._untold:
            self._tell()
        return phase.state

    def force_open(self) -> None:
        """Let no call through until ``close``."""
        now = self.clock()
        with self._lock:
            self._fold(now)
            phase = self._current
            if phase.state is not CircuitState.FORCED_OPEN:
                self._move(Open(None, phase.window, phase.minimum), "opened by hand")
        if self._untold:
            self._tell()

    def close(self) -> None:
        """Let every call through, and judge anew."""
        now = self.clock()
        with self._lock:
            self._fold(now)
            if self.closed is None:
                self._move(self._anew_closed(), "closed by hand")
        if self._untold:
            self._tell()

    def listen(self, listener: Callable[[Transition], object], *, is_wanted: bool = True) -> None:
        """Tell a listener of what changes from now on, or no more."""
        with self._lock:
            others = [other for other in self.listeners if other != listener]
            self.listeners = (*others, listener) if is_wanted else tuple(others)

    def take(self) -> Reading:
        """Read the circuit, and begin to count anew. Listeners hear of a change with the next call, not from here."""
        now = self.clock()
        with self._lock:
            self._fold(now)
            phase = self._at(now)
            window = phase.window
            if phase is self.closed:
                window.advance(now)
            return Reading(
                phase.state, self.tally.take(), window.total, window.failed, window.slow, window.total >= phase.minimum
            )

    # --- under the lock ---------------------------------------------------------------------------------------------------

    @property
    def _current(self) -> Closed | Open | HalfOpen:
        phase = self._phase
        assert phase is not None  # noqa: S101 - only before the first start
        return phase

    def _at(self, now: float) -> Closed | Open | HalfOpen:
        phase = self._current
        if isinstance(phase, Open) and phase.until is not None and now >= phase.until:
            self._fold(now)  # late ones, all of them
            self._move(self._anew_half_open(), f"{self.settings.open_seconds:g} s are over")
        return self._current

    def _admit(self, now: float) -> Ticket | CircuitOpenError:
        phase = self._at(now)
        settings = self.settings
        if isinstance(phase, Closed):
            return phase
        if isinstance(phase, HalfOpen):
            if self._is_inside_probe(phase):
                return Rider(phase)
            probe = phase.admit(self, now, settings.probe_seconds)
            if probe is not None:
                return probe
            retry_after: float | None = min(settings.open_seconds, phase.until_lost(now, settings.probe_seconds))
        else:
            retry_after = None if phase.until is None else phase.until - now
        self.tally.counts.refused += 1
        return CircuitOpenError(settings.name, phase.state, retry_after)

    def _is_inside_probe(self, phase: HalfOpen) -> bool:
        entry = entered.get()
        while entry is not None:
            ticket = entry[1]
            if isinstance(ticket, Probe) and ticket.phase is phase and not ticket.is_settled:
                return True
            entry = entry[3]
        return False

    def _settle(self, ticket: Ticket, kind: str, *, is_slow: bool, now: float) -> None:
        with self._lock:
            self._fold(now)
            is_first = True
            if isinstance(ticket, Probe):
                is_first, ticket.is_settled = not ticket.is_settled, True
                ticket.phase.live.pop(ticket.number, None)
            if ticket.books is self.tally.books and is_first:
                self._count(ticket, kind, is_slow=is_slow, now=now)
        if self._untold:
            self._tell()

    def _count(self, ticket: Ticket, kind: str, *, is_slow: bool, now: float) -> None:
        phase = ticket if isinstance(ticket, Closed) else ticket.phase
        if phase is not self._phase:
            self.tally.counts.calls[LATE] += 1
            return
        self.tally.counts.calls[kind] += 1
        if kind not in self.tally.counts.slow:
            return  # neutral
        if is_slow:
            self.tally.counts.slow[kind] += 1
        if isinstance(ticket, Rider):
            return
        phase.window.add(FAILED * (kind == FAILED_CALL) + SLOW * is_slow, now)
        if isinstance(phase, Closed):
            self._judge(phase, now)
        elif phase.window.total >= phase.minimum:
            window = phase.window
            if (verdict := self._verdict(window)) is not None:
                self._open(phase, verdict, now)
            else:
                self._move(self._anew_closed(), f"{window.total - window.failed} of {window.total} probes succeeded")

    def _mark_closed(self) -> None:
        self.closed = self.tally.closed = self._phase if isinstance(self._phase, Closed) else None
        self._mark_plain()

    def _mark_plain(self) -> None:
        # Blocks of an earlier phase that are under way will be late: until they have ended, others must be told from them.
        self.plain = None if self.is_timed or self.begun else self.closed

    def _fold(self, now: float) -> None:
        if self.plain is not self.closed:
            self._mark_plain()
        if not self.pending or self._is_folding:  # by a handler that interrupted a fold
            return
        self._is_folding = True
        try:
            closed = self.closed
            successes, times = self.tally.count_pending()
            if closed is None or not successes:
                return
            if isinstance(closed.window, SecondRing):
                closed.window.add_successes_at(times)
            else:
                closed.window.add_successes(successes)
            self._judge(closed, now)
        finally:
            self._is_folding = False

    def _judge(self, closed: Closed, now: float) -> None:
        """Open the circuit where its window says so; else set how many successes may wait: only so many as cannot open it."""
        window = closed.window
        closed.limit = MOST_WAITING
        if not window.failed and not window.slow:
            return
        missing = closed.minimum - window.total
        if missing <= 0 and (verdict := self._verdict(window)) is not None:
            self._open(closed, verdict, now)
        elif self._has_times:
            closed.limit = 1  # good calls that leave the window raise the share of the bad
        elif missing > 0:
            closed.limit = missing

    def _verdict(self, window: CallRing | SecondRing) -> str | None:
        """Tell why a circuit of such a window must open, if it must."""
        settings = self.settings
        if window.failed / window.total >= settings.failure_ratio:
            return f"{window.failed} of {window.total} calls failed"
        if settings.slow_call_seconds is not None and window.slow / window.total >= settings.slow_call_ratio:
            return f"{window.slow} of {window.total} calls took longer than {settings.slow_call_seconds:g} s"
        return None

    def _anew_closed(self) -> Closed:
        return Closed(self.tally.books, make_window(self.settings.window), self.settings.minimum_calls)

    def _anew_half_open(self) -> HalfOpen:
        return HalfOpen(self.tally.books, self.settings.half_open_calls)

    def _open(self, judged: Closed | HalfOpen, verdict: str, now: float) -> None:
        self._move(Open(now + self.settings.open_seconds, judged.window, judged.minimum), verdict)

    def _move(self, phase: Closed | Open | HalfOpen, reason: str) -> None:
        before = self._current.state
        self._phase = phase
        self._mark_closed()
        self.tally.counts.transitions[phase.state] += 1
        if self.listeners:
            self._untold.append(Transition(self.settings.name, before, phase.state, reason, time.time()))

    # --- without the lock -------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Tell listeners of the changes, in their order: one thread at a time, and nobody waits for it."""
        untold, telling = self._untold, self._telling
        while untold and telling.acquire(blocking=False):
            try:
                while untold:
                    transition = untold.popleft()
                    for listener in self.listeners:
                        try:
                            listener(transition)
                        except Exception as fault:  # noqa: BLE001 - the program's, and none of the call's
                            report_internal_error("breaker_listener", fault, "contained the failure of a listener of a breaker")
            finally:
                telling.release()
