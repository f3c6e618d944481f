"""For how long the history keeps what it was given, and how finely."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentgauge.errors import ConfigurationError

__all__ = ["Retention"]

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long each tier is kept, in seconds; a coarser tier is kept at least as long as a finer one.

    Attributes:
        raw_seconds: Every sweep as it was written.
        minute_seconds: Least, greatest, mean, count and last of each minute.
        quarter_seconds: The same of each quarter of an hour.
        hour_seconds: The same of each hour.
        points_seconds: What ``write_points`` took, as it was given.
    """

    raw_seconds: float = 2 * _DAY
    minute_seconds: float = 7 * _DAY
    quarter_seconds: float = 60 * _DAY
    hour_seconds: float = 400 * _DAY
    points_seconds: float = 400 * _DAY

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"{field.name}={value!r}: give a number of seconds above 0, such as {field.default}")
        if not self.raw_seconds <= self.minute_seconds <= self.quarter_seconds <= self.hour_seconds:
            raise ConfigurationError(f"{self}: keep a coarser tier at least as long as the finer ones")
