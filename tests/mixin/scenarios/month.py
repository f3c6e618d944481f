"""A program that spends the same in each hour of nine weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.targets import Budget
from scenarios.day import spend
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOURS = 1480
USD_BY_AGENT = {"r": 18.75, "long": 22.125, "enough": 26.25}


def spends_evenly(_process: Process) -> Iterator[None]:
    """Each agent spends 0.75 USD a day, from January to March 1970; "r" may spend 18.75, "long" 22.13, "enough" 26.25."""
    yield
    for _ in range(HOURS):
        for agent in USD_BY_AGENT:
            spend(agent, 1 / 32)
        yield


_BUDGETS = {"budgets": [Budget(usd, "month", agent) for agent, usd in USD_BY_AGENT.items()]}
CASES: dict[str, list[Target]] = {
    "A budget for a month is whole again on the first of the next, whatever the month's length": [
        Program(spends_evenly, settings=_BUDGETS)
    ],
}
