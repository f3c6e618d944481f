"""Programs whose tools fail or are slow, and others whose tools do so seldom, or may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentgauge import Threshold
from agentgauge.recording.series import SeriesKind
from scenarios.acts import within
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOUR = 60
DURATION = "gen_ai_execute_tool_duration_seconds"
AGENT = "r"
REFUSED = ConnectionRefusedError()


class NotFoundError(Exception):
    """As a tool's own library calls it."""


def use(name: str, error: BaseException | None = None, *, times: int = 1) -> None:
    """Let the agent use a tool so many times, which ends with the error."""
    for _ in range(times):
        with within(SeriesKind.TOOL, name, error, agent=AGENT):
            pass


def wait_for(process: Process, name: str, seconds: float, *, times: int = 1) -> None:
    """Let a tool answer so many times now, this long after it was asked."""
    for _ in range(times):
        with within(SeriesKind.TOOL, name, agent=AGENT, start=process.clock.now - seconds):
            pass


def fails(_process: Process) -> Iterator[None]:
    """For an hour one of five calls of "search" fails, and all of "dead"; of "usual" it is always one of twenty.

    Of "few" four fail in all but for the first, of "left" four of five are cancelled or left, and "idle" failed before.
    """
    use("few", REFUSED)
    use("idle", times=7)
    use("idle", REFUSED, times=9)
    for minute in range(141):
        is_bad = minute <= HOUR
        use("search", times=4 if is_bad else 5)
        use("search", REFUSED, times=1 if is_bad else 0)
        use("dead", times=0 if is_bad else 1)
        use("dead", NotFoundError(), times=1 if is_bad else 0)
        use("usual", times=19)
        use("usual", REFUSED)
        use("few", REFUSED, times=4 if minute == 20 else 0)
        use("left")
        for error in (asyncio.CancelledError(), GeneratorExit()):
            use("left", error, times=2)
        yield


def waits(process: Process) -> Iterator[None]:
    """For an hour one of ten calls of "crawl" takes 45 seconds; those of "search" take 20, and "few" is called five times."""
    wait_for(process, "few", 45)
    for minute in range(121):
        wait_for(process, "crawl", 1, times=9)
        wait_for(process, "crawl", 45 if minute <= HOUR else 1)
        wait_for(process, "search", 20, times=10)
        wait_for(process, "few", 45, times=5 if minute == 20 else 0)
        yield


def may_wait(process: Process) -> Iterator[None]:
    """Each call of "crawl" takes 45 seconds, and may take 100."""
    for _ in range(61):
        wait_for(process, "crawl", 45, times=10)
        yield


CASES: dict[str, list[Target]] = {
    "A tool is reported where more than a tenth of its calls fail, and five do": [Program(fails)],
    "A tool is slow by the limit of the program, half a minute where it states none": [
        Program(waits),
        Program(may_wait, "b", "b:1", {"thresholds": (Threshold(DURATION, 100),)}),
    ],
}
