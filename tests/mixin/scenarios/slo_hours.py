"""Programs that use up what their objectives allow slowly, or by calls that take longer than promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import Objective
from scenarios.acts import perform
from scenarios.acts_tasks import ERROR, calls
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOUR = 60
NINETY_NINE = Objective(success_ratio=0.99)
NINETY = Objective(success_ratio=0.9)
EIGHTY = Objective(success_ratio=0.8)
SECOND_LONG = Objective(latency_seconds=1)
TOO_LONG_SECONDS = 1.25


def burns_slowly(_process: Process) -> Iterator[None]:
    """From the second hour to the fourth 4 % of the calls of "t" and "good" fail: 1 % may of "t", 10 % of "good".

    Later, less is called. Of "few" four calls fail, and as many succeed.
    """
    calls("few", well=1, objective=NINETY_NINE)
    for minute in range(881):
        is_bad = HOUR < minute <= 4 * HOUR
        well = 24 if is_bad else 25 if minute <= HOUR else 1
        calls("t", well=well, badly=1 if is_bad else 0, objective=NINETY_NINE)
        calls("good", well=well, badly=1 if is_bad else 0, objective=NINETY)
        is_one_of_few = HOUR < minute <= HOUR + 4
        calls("few", well=1 if is_one_of_few else 0, badly=1 if is_one_of_few else 0)
        yield


def is_too_slow(process: Process) -> Iterator[None]:
    """In the second hour nine of ten calls of "t" take longer than promised, of "slow" for three hours one of five.

    Of "allowed" it is one of twenty; the calls of "failing" take as long, but a failure is no slow call; nothing is promised
    about how long "free" takes. Later, less is called.
    """

    def work(task: str, times: int, slow: int, *, objective: Objective = SECOND_LONG, error: BaseException | None = None) -> None:
        perform("r", task, error, times=slow, seconds=TOO_LONG_SECONDS, clock=process.clock, objective=objective)
        perform("r", task, error, times=times - slow, objective=objective)

    for name in ("t", "slow", "allowed"):
        work(name, 1, 0)
    work("failing", 1, 0, error=ERROR)
    work("free", 1, 0, objective=NINETY_NINE)
    yield
    for minute in range(1, 881):
        is_second_hour = HOUR < minute <= 2 * HOUR
        is_over = minute > 4 * HOUR
        times = 1 if is_over else 10
        work("t", times, 9 if is_second_hour else 0)
        work("slow", times, 2 if minute > HOUR and not is_over else 0)
        work("allowed", 0 if is_over else 20, 0 if is_over else 1)
        work("failing", times, times, error=ERROR)
        work("free", times, 9 if is_second_hour else 0, objective=NINETY_NINE)
        yield


def has_budget_left(_process: Process) -> Iterator[None]:
    """No call of "good" fails, of "half" one of ten, of which two may, of "spent" one of five, of which half of one may."""
    calls("idle", well=1, objective=NINETY_NINE)
    for _ in range(121):
        calls("good", well=1, objective=NINETY_NINE)
        calls("half", well=9, badly=1, objective=EIGHTY)
        calls("spent", well=4, badly=1, objective=NINETY)
        yield


CASES: dict[str, list[Target]] = {
    "A steady 4 % of failures burns slowly at 99 %, and ends hours after they do": [Program(burns_slowly)],
    "Nine of ten calls that are slower than promised burn fast, one of five slowly, one of twenty as allowed": [
        Program(is_too_slow),
    ],
    "What is left of the budget is all of it without failures, half, or less than nothing": [Program(has_budget_left)],
}
BY_HAND = {
    "A counter that is no number does not keep a slow burn from being seen": "No program counts to what is no number.",
    "A task without a series of its failures has all of its budget": "A program shows failures as zeros from the first call on.",
}
