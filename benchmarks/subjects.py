"""What is timed: functions that do nothing, how often they are called, and what our decorator recorded of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import TASK
from agentgauge.recording.default import default_recorder
from agentgauge.recording.series import SeriesKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["OurSeries", "fail", "fail_async", "loop", "loop_async", "within", "work", "work_async"]


def work(value: int) -> int:
    """Do nothing."""
    return value


async def work_async(value: int) -> int:
    """Do nothing, asynchronously."""
    return value


def fail(value: int) -> int:
    """Do nothing but fail."""
    raise ValueError(value)


async def fail_async(value: int) -> int:
    """Do nothing but fail, asynchronously."""
    raise ValueError(value)


class OurSeries:
    """What the decorated functions recorded, counted anew after each drain."""

    def __init__(self, task: str = "work") -> None:
        self._label = (TASK, task)
        self._seen = 0

    def settle(self) -> int:
        """Drain; return how many calls of the task the series hold since the last time."""
        recorder = default_recorder()
        recorder.drain()
        total = sum(
            sum(child.counts)
            for series in recorder.series[SeriesKind.TASK].values()
            if self._label in series.labels
            for child in series.children()
        )
        total, self._seen = total - self._seen, total
        return total


def loop(function: Callable[[int], int]) -> Callable[[int], None]:
    """Call ``function`` many times; that it fails is no matter."""

    def run(calls: int) -> None:
        for value in range(calls):
            try:  # noqa: SIM105 - costs nothing where nothing is raised
                function(value)
            except ValueError:
                pass

    return run


def loop_async(function: Callable[[int], Any]) -> Callable[[int], None]:
    """Await ``function`` many times in one event loop; that it fails is no matter."""

    async def calls_of(calls: int) -> None:
        for value in range(calls):
            try:  # noqa: SIM105 - see loop
                await function(value)
            except ValueError:
                pass

    return lambda calls: asyncio.run(calls_of(calls))


def within(context: Callable[[], AbstractContextManager[Any]], run: Callable[[int], None]) -> Callable[[int], None]:
    """Make all the calls inside one ``with`` block."""

    def run_within(calls: int) -> None:
        with context():
            run(calls)

    return run_within
