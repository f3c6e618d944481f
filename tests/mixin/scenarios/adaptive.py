"""Programs whose agents become slow, fail or spend otherwise than they did for eight hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import SeriesKind
from scenarios.acts import UNREACHABLE, ask, begin, perform, within
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from capture import Target

HOUR = 24
"""In scrapes: there is one each two and a half minutes."""
ALL = range(1, 10 * HOUR + HOUR // 2 + 1)
YOUNG = 5 * HOUR + 1
"""When those begin who are too young to be judged."""
BAD = range(8 * HOUR + 1, 9 * HOUR + 1)
"""The ninth hour."""
PAUSE = range(BAD.start - HOUR - HOUR // 2, BAD.start)
STEP_USD = 0.0390625


def run(process: Process, seconds_by_agent: Mapping[str, float], failing: str = "", failing_seconds: float = 0) -> None:
    """Let agents run side by side at once, each for its seconds, and one also fail after its own."""
    runs = [(seconds, agent, None) for agent, seconds in seconds_by_agent.items()]
    if failing:
        runs.append((failing_seconds, failing, TimeoutError()))
    begun = [(seconds, begin(agent, "work"), error) for seconds, agent, error in sorted(runs, key=lambda each: each[0])]
    began = process.clock.now
    for seconds, operation, error in begun:
        process.clock.advance(began + seconds - process.clock.now)
        operation.end(error)


def slows_down(process: Process) -> Iterator[None]:
    """The runs of "slower" take 10 seconds, and 30 in the ninth hour; those of "pause" too, which had none in the hour before.

    "calm" comes to take 12 seconds, "young" 30 after three hours of 10, "idle" had one run, and of "failed" only what fails does.
    """
    yield
    run(process, {"idle": 10})
    for step in ALL:
        is_late = step >= BAD.start
        seconds: dict[str, float] = {"slower": 30 if step in BAD else 10, "calm": 12 if is_late else 10, "failed": 10}
        if step >= YOUNG:
            seconds["young"] = 30 if is_late else 10
        if step not in PAUSE:
            seconds["pause"] = 30 if step in BAD else 10
        run(process, seconds, "failed", 45 if is_late else 1)
        yield


def fails(_process: Process) -> Iterator[None]:
    """One of four calls of "worse" and of "pause" fails in the ninth hour, and none before it; "pause" had no calls for a while.

    From then on one of twenty-five of "slightly" fails, and one of four of "young", which is three hours old; of "used" always.
    """
    yield
    for step in ALL:
        is_late = step >= BAD.start
        _work("worse", 1 if step in BAD else 0)
        _work("slightly", 1 if is_late else 0, 24 if is_late else 1)
        _work("used", 1)
        if step >= YOUNG:
            _work("young", 1 if is_late else 0)
        if step not in PAUSE:
            _work("pause", 1 if step in BAD else 0)
        yield


def _work(agent: str, failures: int, successes: int = 3) -> None:
    perform(agent, "t", times=successes)
    perform(agent, "t", UNREACHABLE, times=failures)


def spends_more(_process: Process) -> Iterator[None]:
    """It spends ten times as much in the ninth hour."""
    yield
    for step in ALL:
        _spend("more", 10 * STEP_USD if step in BAD else STEP_USD)
        yield


def spends_nothing(_process: Process) -> Iterator[None]:
    """It spends nothing in the ninth hour."""
    yield
    for step in ALL:
        if step not in BAD:
            _spend("none", 16 * STEP_USD)
        yield


def spends_as_ever(_process: Process) -> Iterator[None]:
    """What "steady" spends stays as it is; "tiny" begins to pay a tenth of a cent, "young" ten times as much as before."""
    yield
    for step in ALL:
        is_late = step >= BAD.start
        _spend("steady", 16 * STEP_USD)
        _spend("tiny", STEP_USD / 16 if is_late else 0)
        if step >= YOUNG:
            _spend("young", 10 * STEP_USD if is_late else STEP_USD)
        yield


def _spend(agent: str, usd: float) -> None:
    with within(SeriesKind.RUN, "work", agent=agent):
        ask("large", answer=Answer(cost_usd=usd))


def does_well_at_first(_process: Process) -> Iterator[None]:
    """For four hours it neither fails nor pays; then one of five calls fails, and it pays a dollar each minute."""
    yield
    for step in ALL:
        is_late = step > 4 * HOUR
        _work("half", 1 if is_late else 0, 3 if is_late else 0)
        _spend("half", 2.5 if is_late else 0)  # a call that succeeds, too
        yield


def never_fails(_process: Process) -> Iterator[None]:
    """It never fails, and what it asks is free."""
    yield
    for _ in ALL:
        _spend("never", 0)
        yield


CASES: dict[str, list[Target]] = {
    "Runs that take three times as long as in the hours before are reported until they do not": [Program(slows_down)],
    "An agent that never failed and fails now has a history of zeros, and is reported": [Program(fails)],
    "Spending that is far above or far below that of the hours before is reported": [
        Program(spends_more),
        Program(spends_nothing, "c", "c:1"),
        Program(spends_as_ever, "b", "b:1"),
    ],
    "A band needs six hours of history, and hours in which nothing happened count as zeros": [
        Program(does_well_at_first),
        Program(never_fails, "b", "b:1"),
    ],
}
