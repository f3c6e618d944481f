"""What settings must be; each function raises ``ConfigurationError`` that names the setting and the fix."""

from __future__ import annotations

from agentgauge.errors import ConfigurationError

__all__ = ["require_clock", "require_count", "require_name", "require_ratio", "require_seconds"]

_LONGEST_SECONDS = 86_400.0


def require_name(setting: str, value: object, example: str) -> None:
    """Refuse what is no name: a text that is not empty and can be printed."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{setting}={value!r}: give a name such as {example!r}")


def require_seconds(setting: str, value: object, example: str = "15", *, may_be_zero: bool = False) -> None:
    """Refuse what is no duration of up to a day, in seconds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (0 if may_be_zero else 1e-9) <= value <= _LONGEST_SECONDS:  # type: ignore[operator]  # it is a number
        least = "from 0" if may_be_zero else "above 0"
        raise ConfigurationError(
            f"{setting}={value!r}: give a number of seconds {least} and up to {_LONGEST_SECONDS:.0f}, such as {example}"
        )


def require_count(setting: str, value: object, example: str = "1000", *, least: int = 1) -> None:
    """Refuse what is no number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{setting}={value!r}: give a whole number from {least} on, such as {example}")


def require_ratio(setting: str, value: object, example: str = "0.5") -> None:
    """Refuse what is no share above 0 and up to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise ConfigurationError(f"{setting}={value!r}: give a share above 0 and up to 1, such as {example}")


def require_clock(setting: str, value: object) -> None:
    """Refuse what tells no time."""
    if not callable(value):
        raise ConfigurationError(
            f"{setting}={value!r}: give a function that returns seconds, such as time.monotonic, or leave it out"
        )
