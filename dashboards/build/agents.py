"""The board "Agent": one agent, or several, looked at closely."""

from __future__ import annotations

from typing import Any

from dashboards.build import cost_rows, lm_rows, queue_rows, task_rows, tool_rows
from dashboards.build.board import Board
from dashboards.build.panels import number, table_of
from dashboards.build.promql import ALERTS_FIRING, by_agent, in_range
from dashboards.build.task_rows import NO_OBJECTIVE, objective

__all__ = ["BOARD"]


def _overview() -> list[Any]:
    return [
        *task_rows.counts(),
        number(
            "Alerts firing",
            "How many of agentgauge's alerts about these agents fire now? Needs the shipped rules in this Prometheus.",
            "short",
            f"count({_about_agents()}) or 0 * count({_watchdog()})",
            no_value="rules not loaded",
            steps={1: "red"},
        ),
        number(
            "Cost",
            "How many dollars did the agents' own LM calls cost in the time range?",
            "currencyUSD",
            in_range(by_agent("agent_cost_usd_total")),
            no_value="no cost is known",
        ),
    ]


def _about_agents() -> str:
    return ALERTS_FIRING.removesuffix("}") + ',gen_ai_agent_name=~"$agent"}'


def _watchdog() -> str:
    return 'ALERTS{alertname="AgentgaugeWatchdog",alertstate="firing"}'


def _models() -> list[Any]:
    panels = (
        lm_rows.tokens_by_agent(by_agent),
        cost_rows.an_hour_by_agent(by_agent),
        lm_rows.calls_of_a_run(),
        lm_rows.parse_failures(),
    )
    return [panel.span(6) for panel in panels]


def _targets() -> list[Any]:
    columns = ("gen_ai_agent_name", "agent_task")
    return [
        table_of(
            "Objectives: success",
            "Which share of each task's calls is promised to succeed?",
            "percentunit",
            objective("agent_objective_success_ratio"),
            columns,
            width=12,
            no_value=NO_OBJECTIVE,
        ),
        table_of(
            "Objectives: duration",
            "Which duration may at most 5 % of each task's calls exceed?",
            "s",
            objective("agent_objective_latency_seconds"),
            columns,
            width=12,
            no_value=NO_OBJECTIVE,
        ),
    ]


BOARD = Board(
    "agents",
    "Agents: drill-down",
    "What each agent does, how well, how fast, what it uses, and what it says about itself.",
    (
        ("Overview", _overview),
        ("Tasks", task_rows.tasks),
        ("Language models", _models),
        ("Tools", lambda: tool_rows.calls(by_agent)),
        ("Queues and states", queue_rows.queues),
        ("Targets", _targets),
    ),
)
