"""Times and durations as people type them: ``90s``, ``24h``, ``7d``, ``2026-05-04T12:00:00+02:00``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from agentgauge.errors import ConfigurationError

__all__ = ["as_duration", "as_time"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d|w)")
_LONGEST_SECONDS = 3660 * 86400.0
_EXAMPLES = "90s, 15m, 24h, 7d or 1h30m"


def as_duration(option: str, text: str) -> float:
    """Read a duration.

    Args:
        option: Whose value it is, as the message begins.
        text: Such as ``24h`` or ``1h30m``.

    Returns:
        Seconds, above zero.

    Raises:
        ConfigurationError: It is none; the message says what would be one.
    """
    given = text.strip().lower()
    if re.fullmatch(rf"(?:{_PART.pattern})+", given):
        seconds = sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(given))
        if 0 < seconds <= _LONGEST_SECONDS:
            return seconds
        raise ConfigurationError(f"{option} {text!r}: give a duration above 0 and up to ten years, such as {_EXAMPLES}")
    unit = " with a unit" if re.fullmatch(r"\d+(\.\d+)?", given) else ""
    raise ConfigurationError(f"{option} {text!r} is no duration: give one{unit}, such as {_EXAMPLES}")


def as_time(option: str, text: str, *, now: float, before: float | None = None) -> float:
    """Read a time: ISO 8601 with its zone, ``now``, or a duration, which is one that long ago.

    Args:
        option: Whose value it is, as the message begins.
        text: Such as ``24h`` or ``2026-05-04T12:00:00+02:00``.
        now: What ``now`` is, Unix time in seconds.
        before: What a duration is taken from; now unless given.

    Returns:
        Unix time in seconds.

    Raises:
        ConfigurationError: It is none, or has no zone.
    """
    given = text.strip()
    if given.lower() == "now":
        return now
    if re.match(r"-\d", given):
        as_duration(option, given[1:])  # or the advice would be none
        raise ConfigurationError(f"{option} {text!r}: a duration is that long ago and has no sign, say {option} {given[1:]}")
    if re.match(r"\d{4}-\d\d", given):
        return _instant(option, given)
    if re.fullmatch(r"\d{9,11}(\.\d+)?", given):  # as `date +%s` says it
        return float(given)
    try:
        ago = as_duration(option, given)
    except ConfigurationError as error:
        if re.fullmatch(r"[\d.]+[a-z]*([\d.]+[a-z]+)*", given.lower()):
            raise
        raise ConfigurationError(
            f"{option} {text!r} is no time: give a duration such as {_EXAMPLES}, or a time with its zone such as "
            "2026-05-04T12:00:00Z"
        ) from error
    return (now if before is None else before) - ago


def _instant(option: str, text: str) -> float:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} {text!r} is no time: write it as 2026-05-04T12:00:00Z") from None
    try:
        if instant.tzinfo is not None:
            return instant.astimezone(UTC).timestamp()
        local = instant.astimezone().isoformat()
    except (ValueError, OverflowError):  # in UTC, or here, it is none of the years 1 to 9999
        raise ConfigurationError(f"{option} {text!r} is no time: it is none of the years 1 to 9999") from None
    raise ConfigurationError(f"{option} {text!r} has no zone: write {instant.isoformat()}Z for UTC, or {local}")
