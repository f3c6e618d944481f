"""What keeps recovery itself from going on where it does not help: a circuit breaker for each component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Guard", "Permit", "RecoveryFailedError", "guard_of", "is_refusal"]

_WINDOW_ATTEMPTS = 10
_FAILURE_RATIO = 0.8
_OPEN_SECONDS = 300.0


class RecoveryFailedError(Exception):
    """An action was taken and the component is not well; what a breaker is told where nothing was raised."""


class Permit(Protocol):
    """Leave for one attempt."""

    def release(self, error: BaseException | None = None) -> object:
        """Tell how it ended: by None that it helped."""
        ...


class Guard(Protocol):
    """A circuit breaker, as ``agentgauge.breaker.CircuitBreaker`` is one."""

    def acquire(self) -> Permit:
        """Give leave for one attempt.

        Raises:
            CircuitOpenError: There is none now.
        """
        ...


def guard_of(component: str, clock: Callable[[], float]) -> Guard:
    """Make the breaker of a component where no other is given: it opens when eight of the last ten attempts did not help."""
    breaker = load("agentgauge.breaker")  # a program without recovery need not load it
    return cast(
        "Guard",
        breaker.CircuitBreaker(
            f"recovery of {component}",
            failure_ratio=_FAILURE_RATIO,
            window=breaker.CountWindow(_WINDOW_ATTEMPTS),
            minimum_calls=_WINDOW_ATTEMPTS,
            open_seconds=_OPEN_SECONDS,
            half_open_calls=1,
            clock=clock,
        ),
    )


def is_refusal(error: Exception) -> bool:
    """Tell whether a breaker refused."""
    return isinstance(error, load("agentgauge.breaker").CircuitOpenError)
