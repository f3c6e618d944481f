"""Programs that spend for half a day otherwise than before, and for a day and a quarter evenly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import SeriesKind
from agentgauge.targets import Budget
from scenarios.acts import ask, within
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture import Target

HOUR = 24
"""In scrapes: there is one each two and a half minutes."""
BAD = range(8 * HOUR, 10 * HOUR)
YOUNG = 5 * HOUR
HALF_A_DAY, THIRTY_HOURS = range(1, 12 * HOUR + HOUR // 2 + 1), range(1, 29 * HOUR + 1)
STARTED_ANEW = 10 * HOUR
STEP_USD = 0.01953125  # 11.25 USD a day, in binary fractions: sums of them are exact
BUDGET_USD = 7.8125


def spend(agent: str, usd: float) -> None:
    """Let an agent ask a model once, for so much; "" is nobody."""
    if not agent:
        ask("large", answer=Answer(cost_usd=usd))
        return
    with within(SeriesKind.RUN, "work", agent=agent):
        ask("large", answer=Answer(cost_usd=usd))


def spends_much(_process: Process) -> Iterator[None]:
    """One of two agents, the other of which has no name, spends twelve times as much from the eighth to the tenth hour."""
    yield
    for step in HALF_A_DAY:
        spend("r", 12 * STEP_USD if step in BAD else STEP_USD)
        spend("", STEP_USD)
        yield


def _otherwise(before_usd: float, bad_usd: float, after_usd: float, about: str, began: int = 0) -> Callable[..., Iterator[None]]:
    """Let a program spend so much a scrape: before the eighth hour, until the tenth, and after that."""

    def work(_process: Process) -> Iterator[None]:
        yield
        for step in HALF_A_DAY:
            if step >= began:
                spend("r", before_usd if step < BAD.start else bad_usd if step in BAD else after_usd)
            yield

    work.__doc__ = about
    return work


from_nothing = _otherwise(0, 8 * STEP_USD, 0, "It spends nothing but from the eighth to the tenth hour.")
young = _otherwise(STEP_USD, 32 * STEP_USD, 0, "It spends much when it is three hours old.", YOUNG)
cents = _otherwise(STEP_USD / 8, STEP_USD, 0, "It spends eight times as much as before, and these are cents.")
twice = _otherwise(8 * STEP_USD, 16 * STEP_USD, 16 * STEP_USD, "It spends twice as much from the eighth hour on.")


def spends_evenly(_process: Process) -> Iterator[None]:
    """Each agent spends 11.25 USD a day; "r" may spend 7.81, "late" 11.33, "enough" 78, and "free" has no budget."""
    yield
    for _ in THIRTY_HOURS:
        for agent in ("r", "late", "free", "enough"):
            spend(agent, STEP_USD)
        yield


def starts_anew(process: Process) -> Iterator[None]:
    """The whole job may spend 7.81 USD a day: here an agent, and calls that are nobody's; it is started anew after ten hours."""
    yield
    for step in THIRTY_HOURS:
        if step == STARTED_ANEW:
            process.restart()
        spend("x", STEP_USD / 2)
        spend("", STEP_USD / 4)
        yield


def spends_too(_process: Process) -> Iterator[None]:
    """It belongs to the same job."""
    yield
    for _ in THIRTY_HOURS:
        spend("y", STEP_USD / 4)
        yield


_AGENTS = {"budgets": [Budget(usd, agent=agent) for agent, usd in (("r", BUDGET_USD), ("late", 11.328125), ("enough", 78.125))]}
_JOB = {"budgets": [Budget(BUDGET_USD)]}
CASES: dict[str, list[Target]] = {
    "Spending is reported where it is three times that of an average hour, over a dollar, and there is history": [
        Program(spends_much),
        Program(from_nothing, "zero", "z:1"),
        Program(young, "young", "y:1"),
        Program(cents, "small", "s:1"),
        Program(twice, "double", "d:1"),
    ],
    "A budget for a day is reported when it is used up, before that when it soon will be, and is whole again at midnight UTC": [
        Program(spends_evenly, settings=_AGENTS),
        Program(starts_anew, "b", "b:1", _JOB),
        Program(spends_too, "b", "b:2", _JOB),
    ],
}
