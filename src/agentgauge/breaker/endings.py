"""How calls through a circuit breaker end, and what is counted of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.breaker.states import CircuitOpenError
from agentgauge.catalogue import Outcome
from agentgauge.catalogue.reliability import BREAKER_CALL_KINDS, BREAKER_STATES
from agentgauge.errors import report_internal_error
from agentgauge.recording.outcome import failure_of

if TYPE_CHECKING:
    from agentgauge.breaker.phases import Closed
    from agentgauge.breaker.settings import Condition, Settings
    from agentgauge.breaker.states import CircuitState

__all__ = ["FAILED_CALL", "LATE", "SUCCESSFUL", "Counts", "Reading", "Tally", "kind_of"]

SUCCESSFUL, FAILED_CALL, IGNORED, CANCELLED, LATE = BREAKER_CALL_KINDS
_NEUTRAL = (Outcome.CANCELLED, Outcome.ABANDONED)


@dataclass(slots=True)
class Counts:
    """What a circuit has counted since somebody took it: ended calls and slow ones by kind, changes by state, refused calls."""

    calls: dict[str, int]
    slow: dict[str, int]
    transitions: dict[str, int]
    refused: int = 0

    @property
    def has_any(self) -> bool:
        """Whether anything was counted."""
        return any((*self.calls.values(), *self.slow.values(), *self.transitions.values(), self.refused))


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit as it stands.

    Attributes:
        state: Its state.
        counts: What it has counted since the reading before.
        total: How many calls are in its window.
        failed: How many of them failed.
        slow: How many of them were slow.
        is_judged: Whether they are enough to be judged by.
    """

    state: CircuitState
    counts: Counts
    total: int
    failed: int
    slow: int
    is_judged: bool


class Tally:
    """What one circuit counts: all that outlives its breaker, so that nothing of the program's hangs on it.

    Attributes:
        books: Those of the process: what began before a fork is counted in the parent.
        closed: The phase while the circuit is closed, else None.
        pending: Successes that are not counted yet: their phases, or pairs of them and the times of their ends.
        counts: What is counted.
        name: The breaker's.
        is_shown: Whether it is to be series.
    """

    __slots__ = ("_has_times", "books", "closed", "counts", "is_shown", "name", "pending")

    def __init__(self, name: str, *, has_times: bool, is_shown: bool) -> None:
        self.name = name
        self.is_shown = is_shown
        self._has_times = has_times
        self.pending: list[Any] = []
        self.closed: Closed | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """Count from zero, as a forked child must."""
        self.books = object()
        self.pending.clear()
        self.counts = _no_counts()

    def take(self) -> Counts:
        """Return what was counted since the last time."""
        counts, self.counts = self.counts, _no_counts()
        return counts

    def count_pending(self) -> tuple[int, list[float]]:
        """Count the successes that wait.

        Returns:
            How many of them are of the phase that goes on, and when those ended, where that matters.
        """
        books, closed, pending = self.books, self.closed, self.pending
        batch = pending[:]
        times: list[float] = []
        if self._has_times:
            times = [at for phase, at in batch if phase is closed]
            others = [phase for phase, _ in batch if phase is not closed]
        else:
            others = [] if batch.count(closed) == len(batch) else [phase for phase in batch if phase is not closed]
        late = sum(phase.books is books for phase in others)
        count = len(batch)
        successes = count - len(others)
        # No call among these, so that no signal handler comes in between.
        if books is not self.books:  # one forked before, and this is its child
            return 0, []
        del pending[:count]
        self.counts.calls[SUCCESSFUL] += successes
        self.counts.calls[LATE] += late
        return successes, times


def _no_counts() -> Counts:
    return Counts(dict.fromkeys(BREAKER_CALL_KINDS, 0), {SUCCESSFUL: 0, FAILED_CALL: 0}, dict.fromkeys(BREAKER_STATES, 0))


def kind_of(error: BaseException, settings: Settings) -> str:
    """Tell what an error that left a call says of what was called; neutral is what says nothing."""
    if failure_of(error).outcome in _NEUTRAL:
        return CANCELLED
    if isinstance(error, CircuitOpenError) and error.breaker_name == settings.name:
        return IGNORED  # the breaker's own word
    if _is_any(error, settings.ignored):
        return IGNORED
    return FAILED_CALL if _is_any(error, settings.recorded) else SUCCESSFUL


def _is_any(error: BaseException, conditions: tuple[Condition, ...]) -> bool:
    for condition in conditions:
        if isinstance(condition, type):
            if isinstance(error, condition):
                return True
            continue
        try:
            if condition(error):
                return True
        except Exception as fault:  # noqa: BLE001 - the program's: the error is not meant then
            report_internal_error("breaker_condition", fault, "could not ask a condition of a circuit breaker")
    return False
