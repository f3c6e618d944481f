"""Every board that ships, in the order in which one reads them."""

from __future__ import annotations

from dashboards.build import agents, analytics, cost, fleet, llm, machine, reliability, slo, team, tools

__all__ = ["BOARDS"]

BOARDS = (
    fleet.BOARD,
    agents.BOARD,
    team.BOARD,
    llm.BOARD,
    tools.BOARD,
    cost.BOARD,
    slo.BOARD,
    reliability.BOARD,
    analytics.BOARD,
    machine.BOARD,
)
