"""Programs whose agents are called once an hour, are cancelled for hours, or are called no more after hours of traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.acts import begin
from scenarios.acts_tasks import calls
from virtual_time import DOWN, Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOUR = 60
LAST_CALL = 8 * HOUR
FIRST_CALL_AGAIN = 10 * HOUR + 1


def fails_hourly(_process: Process) -> Iterator[None]:
    """Of "hourly" one call an hour fails, and one succeeds after five and a half hours; "once" failed once.

    "shaken" fails twice an hour, and succeeds in between; "batch" failed ten times at once, and since then all is well again.
    """
    calls("once", well=1)
    calls("batch", well=1)
    for minute in range(341):
        is_full_hour = minute % HOUR == 0
        calls("hourly", badly=1 if is_full_hour else 0, well=1 if minute == 330 else 0)
        calls("once", badly=1 if minute == 101 else 0)
        calls("shaken", badly=2 if is_full_hour else 0, well=1 if minute % HOUR == 30 else 0)
        calls("batch", badly=10 if minute == 21 else 0, well=1 if minute >= 41 else 0)
        yield


def is_cancelled(_process: Process) -> Iterator[None]:
    """For an hour "away" is cancelled, and of "mostly" two of three calls; "rare" and "once" are once an hour.

    But "once" succeeds once in between. Of "some" two of five are cancelled; of "few" three are, but for the first, and three
    succeed; who reads "read" has enough; "failing" fails, which is no cancellation.
    """
    calls("few", well=1, cancelled=1)
    for minute in range(301):
        is_full_hour = minute % HOUR == 0
        is_first_hour = minute <= HOUR
        calls("away", cancelled=1 if is_first_hour else 0)
        calls("rare", cancelled=1 if is_full_hour else 0)
        calls("mostly", well=1, cancelled=2 if is_first_hour else 0)
        calls("some", well=3, cancelled=2)
        calls("read", abandoned=2)
        calls("few", well=3 if minute == 21 else 0, cancelled=3 if minute == 21 else 0)
        calls("once", cancelled=1 if is_full_hour else 0, well=1 if minute == 90 else 0)
        calls("failing", badly=1)
        yield


def is_called_no_more(_process: Process) -> Iterator[None]:
    """After eight hours "r" is called no more, and again two hours later; "steady" all the time, "less" less often from then on.

    "rare" was called every four minutes, "young" for three and a half hours only, and "working" has a call in progress.
    """
    for minute in range(641):
        is_before = minute <= LAST_CALL
        is_full_third = minute % 20 == 0
        calls("t", agent="r", well=1 if is_before or minute >= FIRST_CALL_AGAIN else 0)
        calls("t", agent="steady", well=1)
        calls("t", agent="less", well=1 if is_before else 5 if is_full_third else 0)
        calls("t", agent="rare", well=5 if is_before and is_full_third else 0)
        calls("t", agent="young", well=1 if 270 <= minute <= LAST_CALL else 0)
        calls("t", agent="working", well=1 if is_before else 0)
        if minute == LAST_CALL:
            begin("working", "t")
        yield


def forgets_an_agent(process: Process) -> Iterator[None]:
    """It is started anew after eight hours, and its agent "restarted" is called no more."""
    for minute in range(641):
        if minute == LAST_CALL + 1:
            process.restart()
        calls("t", agent="restarted", well=1 if minute <= LAST_CALL else 0)
        yield


def is_gone(_process: Process) -> Iterator[str | None]:
    """It is gone after eight hours."""
    for _ in range(LAST_CALL + 1):
        calls("t", well=1)
        yield None
    yield DOWN


def is_called_again(_process: Process) -> Iterator[None]:
    """After eight hours it is called no more, and again two hours later."""
    for minute in range(641):
        calls("t", well=1 if minute <= LAST_CALL or minute >= FIRST_CALL_AGAIN else 0)
        yield


CASES: dict[str, list[Target]] = {
    "A task that is called once an hour and always fails is reported, until a call succeeds": [Program(fails_hourly)],
    "Calls that are cancelled from outside are reported where few others are left": [Program(is_cancelled)],
    "Traffic has vanished where an agent with six hours of it is not called any more": [
        Program(is_called_no_more),
        Program(forgets_an_agent, instance="a:2"),
        Program(is_gone, "gone", "g:1"),
    ],
    "Traffic that vanished and came back is no news any more": [Program(is_called_again)],
}
