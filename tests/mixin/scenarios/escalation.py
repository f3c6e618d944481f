"""Programs of which something critical is reported for a quarter of an hour and longer, and others of which it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import Objective
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import SeriesKind
from agentgauge.targets import Budget
from scenarios.acts import ask, perform, within
from virtual_time import DOWN, Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

ERROR = ValueError()


def is_away(_process: Process) -> Iterator[str | None]:
    """It cannot be reached for half an hour."""
    for minute in range(61):
        yield DOWN if 11 <= minute <= 40 else None


def is_away_for_long(_process: Process) -> Iterator[str | None]:
    """It cannot be reached for forty minutes."""
    for minute in range(71):
        yield DOWN if 11 <= minute <= 50 else None


def is_away_for_a_moment(_process: Process) -> Iterator[str | None]:
    """It cannot be reached for fourteen minutes."""
    for minute in range(41):
        yield DOWN if 11 <= minute <= 24 else None


def fails(_process: Process) -> Iterator[None]:
    """For half an hour all calls of task "t" fail; of "some" one of four fails, which no promise is about."""
    promised = Objective(success_ratio=0.99)
    for minute in range(101):
        is_bad = 11 <= minute <= 40
        perform("r", "t", ERROR if is_bad else None, times=4 if is_bad else 1, objective=promised)
        perform("r", "some", times=3)
        perform("r", "some", ERROR)
        yield


def spends(_process: Process) -> Iterator[None]:
    """It spends a quarter of a dollar each minute and may spend one a day; its agent "r" spends little, and may spend 3 cents."""
    yield
    for _ in range(70):
        ask("large", answer=Answer(cost_usd=0.25))
        with within(SeriesKind.RUN, "work", agent="r"):
            ask("large", answer=Answer(cost_usd=0.001953125))
        yield


CASES: dict[str, list[Target]] = {
    "A critical alert that fires for a quarter of an hour is passed on, and nothing else is": [
        Program(is_away),
        Program(is_away_for_a_moment, instance="short"),
        Program(fails, instance="a:2"),
    ],
    "An alert that is passed on is not passed on again, and one that waits is not passed on": [Program(is_away_for_long)],
    "A budget that is used up is not passed on": [Program(spends, settings={"budgets": [Budget(1), Budget(0.03125, agent="r")]})],
}

BY_HAND = {
    "An alert of somebody else's is not passed on": "it comes from another's rules, which are not here to make it",
}
