"""What the tasks of agents come to within a minute: so many calls by each outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scenarios.acts import perform

if TYPE_CHECKING:
    from agentgauge import Objective

ERROR = ValueError()
CANCELLED = asyncio.CancelledError()
ABANDONED = GeneratorExit()


def calls(
    task: str,
    *,
    agent: str = "r",
    well: int = 0,
    badly: int = 0,
    timeout: int = 0,
    cancelled: int = 0,
    abandoned: int = 0,
    objective: Objective | None = None,
) -> None:
    """Let an agent do a task so many times by each outcome; without any, nothing is known of it."""
    perform(agent, task, times=well, objective=objective)
    perform(agent, task, ERROR, times=badly, objective=objective)
    perform(agent, task, TimeoutError(), times=timeout, objective=objective)
    perform(agent, task, CANCELLED, times=cancelled, objective=objective)
    perform(agent, task, ABANDONED, times=abandoned, objective=objective)
