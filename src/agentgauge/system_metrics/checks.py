"""What a manager is given, checked before anything starts; each raises ``ConfigurationError`` that names the fix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from agentgauge.errors import ConfigurationError
from agentgauge.targets import Threshold

__all__ = [
    "AN_EXAMPLE",
    "as_seconds",
    "as_threshold",
    "require_labels",
    "require_metric",
    "require_names",
    "require_threshold",
]

AN_EXAMPLE = "Threshold('system_memory_utilization_ratio', 0.9)"


def require_names(name: str, value: object) -> tuple[str, ...] | None:
    """Return names of collectors, or None where the settings say which."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}={value!r}: give a tuple of names, such as ('host', 'process')")
    return tuple(value)


def require_metric(value: object) -> str:
    """Return the name of a metric."""
    if not isinstance(value, str):
        raise ConfigurationError(f"metric={value!r}: give its name, such as 'system_memory_utilization_ratio'")
    return value


def require_labels(value: object) -> dict[str, str]:
    """Return labels by name; None is none."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"labels={value!r}: give a dict, such as {{'system_filesystem_mountpoint': '/'}}")
    return dict(value or {})


def require_threshold(value: object) -> Threshold:
    """Return a threshold."""
    if not isinstance(value, Threshold):
        raise ConfigurationError(f"{value!r} is no Threshold; write {AN_EXAMPLE}")
    return value


def as_threshold(
    threshold: Threshold | str, value: float | None, arguments: tuple[Any, ...], settings: dict[str, Any]
) -> Threshold:
    """Return a threshold that is given as such, or as a metric with what else makes one."""
    if isinstance(threshold, Threshold):
        if value is not None or arguments or settings:
            raise ConfigurationError("set_threshold(): give a Threshold, or a metric with its value and settings, not both")
        return threshold
    if value is None:
        raise ConfigurationError(
            f"set_threshold({threshold!r}): give the limit, too, as in set_threshold('system_memory_utilization_ratio', 0.9)"
        )
    try:
        return Threshold(threshold, value, *arguments, **settings)
    except TypeError as error:
        raise ConfigurationError(f"set_threshold(): {error}; its settings are those of Threshold") from None


def as_seconds(duration: object) -> float:
    """Return a duration in seconds."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"duration={duration!r}: give a positive number of seconds, or a timedelta")
    return float(seconds)
