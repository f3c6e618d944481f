"""When each component is checked next; time comes from outside, so that it can be tried without waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.health.status import Schedule

__all__ = ["Timetable"]


@dataclass(slots=True)
class _Entry:
    schedule: Schedule
    due: float
    is_running: bool = False


class Timetable:
    """Never two checks of one component at once; what was missed, as by a machine that slept, is not made up for.

    Args:
        random: Gives a number from 0 up to 1, by which a check comes later.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._entries: dict[str, _Entry] = {}

    def add(self, name: str, schedule: Schedule, now: float) -> None:
        """Let a component be due now."""
        self._entries[name] = _Entry(schedule, now)

    def remove(self, name: str) -> None:
        """Let it be due no more; nothing to do where it is not there."""
        self._entries.pop(name, None)

    def due(self, now: float) -> list[str]:
        """Return what is to be checked now, the longest due first, and take it for begun."""
        ready = [(entry.due, name) for name, entry in self._entries.items() if not entry.is_running and entry.due <= now]
        for _, name in ready:
            entry = self._entries[name]
            interval = entry.schedule.interval_seconds
            entry.due = now + interval * (1 + entry.schedule.jitter_ratio * self._random())
            entry.is_running = True
        return [name for _, name in sorted(ready)]

    def ended(self, name: str) -> None:
        """Let the next check of it begin when it is due, which may have been already."""
        if name in self._entries:
            self._entries[name].is_running = False

    def next_due(self) -> float | None:
        """Return when something is due next; None while nothing is, or all that is runs still."""
        return min((entry.due for entry in self._entries.values() if not entry.is_running), default=None)
