"""What a manager is given, checked before anything starts; each raises ``ConfigurationError`` that names the fix."""

from __future__ import annotations

import math
from datetime import timedelta

from agentgauge.errors import ConfigurationError
from agentgauge.targets import Threshold

__all__ = ["as_seconds", "require_count", "require_seconds", "require_threshold"]

_LONGEST_SECONDS = 86_400.0


def require_threshold(value: object) -> Threshold:
    """Return a threshold."""
    if not isinstance(value, Threshold):
        raise ConfigurationError(f"{value!r} is no Threshold; write Threshold('system_memory_utilization_ratio', 0.9)")
    return value


def as_seconds(duration: object) -> float:
    """Return a duration in seconds."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"duration={duration!r}: give a positive number of seconds, or a timedelta")
    return float(seconds)


def require_seconds(name: str, value: object) -> None:
    """Refuse what is no interval."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _LONGEST_SECONDS:
        raise ConfigurationError(
            f"{name}={value!r}: give a number of seconds above 0 and up to {_LONGEST_SECONDS:.0f}, such as 15"
        )


def require_count(name: str, value: object) -> None:
    """Refuse what is no number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: give a whole number from 1 on, such as 1000")
