"""A program that uses up for an hour what its objectives allow, or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import Objective
from scenarios.acts_tasks import calls
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

NINETY_NINE = Objective(success_ratio=0.99)
NINETY = Objective(success_ratio=0.9)
EIGHTY = Objective(success_ratio=0.8)


def burns(_process: Process) -> Iterator[None]:
    """For an hour after two half the calls of "t" fail, and all of "eighty"; after that, "t" fails no more.

    14.4 budgets of "ninety" are more than all calls, and so are 6 of "eighty"; "free" has no objective. Of "few" four calls fail,
    which are too few; of "rare" two, which are no traffic. Those of "cancelled" say nothing about the agent; "idle" has none.
    """
    for name in ("few", "rare", "idle"):
        calls(name, well=1, objective=NINETY_NINE)
    for minute in range(231):
        is_after_two_hours = minute > 120
        badly = 5 if is_after_two_hours and minute <= 185 else 0
        calls("t", well=10 - badly, badly=badly, objective=NINETY_NINE)
        calls("ninety", well=10 - badly, badly=badly, objective=NINETY)
        calls("eighty", well=0 if is_after_two_hours else 10, badly=10 if is_after_two_hours else 0, objective=EIGHTY)
        calls("free", well=10 - badly, badly=badly)
        calls("few", badly=1 if 179 <= minute <= 182 else 0)
        calls("rare", badly=1 if minute in {131, 182} else 0)
        calls("cancelled", well=10, cancelled=10, objective=NINETY_NINE)
        yield


CASES: dict[str, list[Target]] = {
    "An hour in which half the calls fail burns fast at 99 %; windows that no objective of 90 % can fill are left out": [
        Program(burns),
    ],
}
BY_HAND = {
    "An objective that is no share between 0 and 1 is none, and a counter that is no number spoils no sum": (
        "No program promises anything of that kind, which Objective refuses, and none counts to what is no number."
    ),
}
