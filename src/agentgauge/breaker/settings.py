"""What a circuit breaker is told: its windows and limits, and which errors count."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_clock, require_count, require_name, require_ratio, require_seconds

__all__ = ["Condition", "CountWindow", "Settings", "TimeWindow", "conditions"]

Condition = type[BaseException] | Callable[[BaseException], bool]
"""Which errors are meant: a type of exception, or a function that tells."""

_MOST_CALLS = 1_000_000


@dataclass(frozen=True, slots=True)
class CountWindow:
    """Judge a circuit by its last calls.

    Attributes:
        calls: How many of them, up to 1,000,000.
    """

    calls: int = 100

    def __post_init__(self) -> None:
        """Refuse what is no number of calls."""
        require_count("calls", self.calls, "100")
        if self.calls > _MOST_CALLS:
            raise ConfigurationError(f"calls={self.calls!r}: give at most {_MOST_CALLS}, or a TimeWindow")


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Judge a circuit by the calls that ended in the last seconds.

    Attributes:
        seconds: How many, a whole number: calls are added up by the second, and leave the window with their second.
    """

    seconds: int = 60

    def __post_init__(self) -> None:
        """Refuse what is no number of whole seconds."""
        require_count("seconds", self.seconds, "60")
        require_seconds("seconds", self.seconds, "60")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a circuit breaker is told; what each means stands at ``CircuitBreaker``."""

    name: str
    failure_ratio: float
    slow_call_ratio: float
    slow_call_seconds: float | None
    window: CountWindow | TimeWindow
    minimum_calls: int
    open_seconds: float
    half_open_calls: int
    probe_seconds: float
    ignored: tuple[Condition, ...]
    recorded: tuple[Condition, ...]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        require_name("name", self.name, "search")
        require_ratio("failure_ratio", self.failure_ratio)
        require_ratio("slow_call_ratio", self.slow_call_ratio)
        if self.slow_call_seconds is not None:
            require_seconds("slow_call_seconds", self.slow_call_seconds, "5")
        if not isinstance(self.window, CountWindow | TimeWindow):
            raise ConfigurationError(f"window={self.window!r}: give CountWindow(100) or TimeWindow(60)")
        require_count("minimum_calls", self.minimum_calls, "10")
        if isinstance(self.window, CountWindow) and self.minimum_calls > self.window.calls:
            raise ConfigurationError(
                f"minimum_calls={self.minimum_calls}: {self.window!r} never holds so many; give at most {self.window.calls}"
            )
        require_seconds("open_seconds", self.open_seconds, "30")
        require_count("half_open_calls", self.half_open_calls, "3")
        if self.half_open_calls > _MOST_CALLS:
            raise ConfigurationError(f"half_open_calls={self.half_open_calls!r}: give at most {_MOST_CALLS}, such as 3")
        require_seconds("probe_seconds", self.probe_seconds, "60")
        require_clock("clock", self.clock)
        if not self.recorded:
            raise ConfigurationError("recorded=(): no error would ever count; give types of exceptions, such as (Exception,)")


def conditions(setting: str, given: Condition | Iterable[Condition]) -> tuple[Condition, ...]:
    """Return the conditions of a setting, which may be a single one."""
    is_one = isinstance(given, type | str | bytes) or not isinstance(given, Iterable)  # a text is one mistake, not its letters
    items: tuple[Condition, ...] = (given,) if is_one else tuple(given)  # type: ignore[arg-type, assignment]
    for item in items:
        is_type = isinstance(item, type)
        fits = issubclass(item, BaseException) if isinstance(item, type) else callable(item)
        if not fits or (not is_type and inspect.iscoroutinefunction(item)):
            raise ConfigurationError(
                f"{setting}={item!r}: give types of exceptions, or plain functions that tell by an exception whether it is meant"
            )
    return items
