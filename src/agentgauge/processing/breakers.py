"""What a processing interface asks of a circuit breaker; ``agentgauge.breaker.CircuitBreaker`` is one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Breaker", "Permit"]


class Permit(Protocol):
    """The leave for one call."""

    def release(self, error: BaseException | None = None) -> None:
        """Say once how the call ended: None for success."""
        ...


@runtime_checkable
class Breaker(Protocol):
    """Lets calls through, or refuses them."""

    def acquire(self) -> Permit:
        """Return the leave for one call, or raise an error that may say ``retry_after_seconds``."""
        ...
