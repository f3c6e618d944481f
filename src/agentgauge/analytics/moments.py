"""Times, periods and windows as people give them, as Unix seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import TYPE_CHECKING

from agentgauge.analytics.points import EARLIEST, LATEST
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Moment", "Window", "iso", "period_seconds", "unix_seconds", "window_seconds"]

Moment = datetime | float
"""A time with its zone, or Unix time in seconds."""

Window = timedelta | float | tuple[Moment, Moment] | None
"""The last while, a timedelta or in seconds; from one time on and before another; None for all."""

_NO_ZONE = "it has no time zone: give datetime.now(UTC), or .replace(tzinfo=...) where you know the zone"


def unix_seconds(setting: str, value: object) -> float:
    """Return a time as Unix time in seconds.

    Raises:
        ConfigurationError: It is none: a datetime without a zone may mean any of 38 times.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ConfigurationError(f"{setting}={value!r}: {_NO_ZONE}")
        return value.timestamp()
    seconds = _number(value)
    if seconds is None or not EARLIEST <= seconds <= LATEST:
        hint = "; this looks like milliseconds: divide it by 1000" if seconds is not None and LATEST < seconds < math.inf else ""
        raise ConfigurationError(
            f"{setting}={_shown(value)}: give a datetime with a time zone, or Unix time in seconds of the years 1 to 9999{hint}"
        )
    return seconds


def period_seconds(setting: str, value: object) -> float:
    """Return a period in seconds.

    Raises:
        ConfigurationError: It is none that is above 0.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else _number(value)
    if seconds is None or not 0 < seconds < math.inf:
        raise ConfigurationError(f"{setting}={_shown(value)}: give a timedelta, or seconds, above 0, such as timedelta(hours=24)")
    return seconds


def window_seconds(window: Window, clock: Callable[[], float]) -> tuple[float, float]:
    """Return a window's beginning, and its end, which is not in it; that of the last while is endless.

    Raises:
        ConfigurationError: It is no window.
    """
    if window is None:
        return -math.inf, math.inf
    if isinstance(window, tuple):
        if len(window) != 2:  # noqa: PLR2004 - a beginning and an end
            raise ConfigurationError(f"time_window={window!r}: give a beginning and an end")
        since, until = unix_seconds("time_window[0]", window[0]), unix_seconds("time_window[1]", window[1])
        if since >= until:
            raise ConfigurationError(f"time_window={window!r}: give a beginning before its end")
        return since, until
    return clock() - period_seconds("time_window", window), math.inf


def iso(seconds: float) -> str | None:
    """Return a time in UTC as ISO 8601 has it; None where it is endless."""
    return datetime.fromtimestamp(min(max(seconds, EARLIEST), LATEST), UTC).isoformat() if math.isfinite(seconds) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):  # numpy's numbers are some
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:  # noqa: BLE001 - a conversion of the program's may raise anything
        return type(value).__name__
