"""The states of a circuit breaker, what is told when they change, and what a refused call gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentgauge.errors import AgentgaugeError

__all__ = ["CircuitOpenError", "CircuitState", "Transition"]


class CircuitState(StrEnum):
    """Which calls a circuit breaker lets through: all, none, a few to see how they do, or none until somebody closes it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"


@dataclass(frozen=True, slots=True)
class Transition:
    """A circuit breaker changed its state.

    Attributes:
        breaker_name: Whose state it is.
        before: The state that ended.
        after: The state that began.
        reason: Why, in words: ``"6 of 10 calls failed"``.
        at: When, in Unix time.
    """

    breaker_name: str
    before: CircuitState
    after: CircuitState
    reason: str
    at: float


class CircuitOpenError(AgentgaugeError):
    """A circuit breaker refused a call; nothing was called.

    Attributes:
        breaker_name: Which breaker it was.
        state: The state that it was in.
        retry_after_seconds: After how long it may let a call through; None where nobody can tell, since it stays open until
            somebody closes it. While probes are under way it is at most so long.
    """

    __module__ = "agentgauge.breaker"  # where programs have it from: series and spans show it as the type of an error

    def __init__(self, breaker_name: str, state: CircuitState, retry_after_seconds: float | None) -> None:
        until = "until it is closed by hand" if retry_after_seconds is None else f"try again in {retry_after_seconds:.3g} s"
        what = "is testing with other calls" if state is CircuitState.HALF_OPEN else f"is {state.replace('_', ' ')}"
        super().__init__(f"circuit breaker {breaker_name!r} {what}: {until}")
        self.breaker_name = breaker_name
        self.state = state
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[type[CircuitOpenError], tuple[str, CircuitState, float | None]]:
        """Travel to other processes with all that it says."""
        return type(self), (self.breaker_name, self.state, self.retry_after_seconds)
