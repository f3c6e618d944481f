"""A program with a week of traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.acts_tasks import calls
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

DAY = 6 * 24
LAST_CALL = 7 * DAY - 1


def rests(_process: Process) -> Iterator[None]:
    """On the first day of the week nobody calls "rest", from then on every ten minutes; "busy" all the time, until both stop.

    The last call was ten minutes before the week was over.
    """
    calls("t", agent="rest", well=1)
    for interval in range(171 * 6 + 1):
        calls("t", agent="rest", well=10 if DAY <= interval <= LAST_CALL else 0)
        calls("t", agent="busy", well=10 if interval <= LAST_CALL else 0)
        yield


CASES: dict[str, list[Target]] = {
    "A quiet Sunday is no vanished traffic, a busy one that becomes quiet is": [Program(rests)],
}
