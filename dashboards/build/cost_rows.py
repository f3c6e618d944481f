"""Panels about what language models cost that more than one board shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.build.panels import Query, series
from dashboards.build.promql import by_agent_and_model, rate

if TYPE_CHECKING:
    from dashboards.build.promql import Select

__all__ = ["NO_COST", "an_hour_by_agent", "an_hour_by_model"]

NO_COST = "no cost is known"


def an_hour_by_agent(select: Select) -> Any:
    """The panel about the pace at which each agent spends."""
    return series(
        "Cost an hour",
        "How many dollars an hour do each agent's own LM calls cost at the present pace?",
        "currencyUSD",
        Query(f"3600 * sum by (gen_ai_agent_name) ({rate(select('agent_cost_usd_total'))})", "{{gen_ai_agent_name}}"),
        is_stacked=True,
        no_value=NO_COST,
    )


def an_hour_by_model() -> Any:
    """The panel about the pace at which each model costs."""
    spent = rate(by_agent_and_model("agent_cost_usd_total"))
    return series(
        "Cost an hour by model",
        "How many dollars an hour does each model cost at the present pace?",
        "currencyUSD",
        Query(f"3600 * sum by (gen_ai_request_model) ({spent})", "{{gen_ai_request_model}}"),
        is_stacked=True,
        no_value=NO_COST,
    )
