"""The board "Tools": what agents call, how often that fails, how long it takes, and who turns in circles."""

from __future__ import annotations

from typing import Any

from dashboards.build import tool_rows
from dashboards.build.board import TOOL, Board
from dashboards.build.panels import Column, Query, comparison, latency, link_to, number, series, table_of
from dashboards.build.promql import FAILED, JUDGED_CALLS, by_agent, by_agent_and_tool, in_range, mean, quantile, rate, share
from dashboards.build.tool_rows import CALLS

__all__ = ["BOARD"]

_NAME, _LEGEND = "gen_ai_tool_name", "{{gen_ai_tool_name}}"
_REPEATED = "agent_repeated_tool_calls_total"
_ALL = by_agent_and_tool(CALLS + "_count")
_JUDGED = by_agent_and_tool(CALLS + "_count", JUDGED_CALLS)
_FAILED = by_agent_and_tool(CALLS + "_count", FAILED)


def _ranged(selector: str) -> str:
    return f"increase({selector}[$__range])"


def _overview() -> list[Any]:
    return [
        number(
            "Tools in use",
            "How many different tools were called in the time range?",
            "short",
            f"count({in_range(_ALL, _NAME)} > 0)",
            no_value="none",
            width=6,
        ),
        number("Tool calls", "How many tool calls ended in the time range?", "short", in_range(_ALL), no_value="none", width=6),
        number(
            "Tool calls failed",
            "How many tool calls failed in the time range, those that were cancelled left out?",
            "short",
            f"{in_range(_FAILED)} or 0 * {in_range(_ALL)}",
            no_value="no tool call",
            steps={1: "orange"},
            width=6,
        ),
        number(
            "Calls repeated",
            "How many tool calls of the time range were made before in the same run with the same arguments?",
            "short",
            in_range(by_agent_and_tool(_REPEATED)),
            no_value="none",
            steps={1: "orange"},
            width=6,
        ),
    ]


def _tools() -> list[Any]:
    buckets = by_agent_and_tool(CALLS + "_bucket")
    p95 = f"histogram_quantile(0.95, sum by ({_NAME}, le) ({_ranged(buckets)})) >= 0"
    return [
        comparison(
            "Tools",
            "Which tools are called most, fail most, take longest, and are called again for nothing?",
            (_NAME,),
            (
                Column("Calls", "short", in_range(_ALL, _NAME) + " > 0"),
                Column("Failed", "percentunit", share(_ranged(_FAILED), _ranged(_JUDGED), _NAME)),
                Column("Duration (p95)", "s", p95),
                Column("Repeated", "short", in_range(by_agent_and_tool(_REPEATED), _NAME) + " > 0"),
            ),
            no_value="no tool call",
        ),
        *tool_rows.calls(by_agent_and_tool),
        series(
            "Failed share of tool calls",
            "Which share of each tool's calls fails, those that were cancelled left out?",
            "percentunit",
            Query(share(rate(_FAILED), rate(_JUDGED), _NAME), _LEGEND),
            no_value="no tool call",
        ),
        latency(
            "Duration of a tool call",
            "How long does a call of each tool take, in the middle and on average?",
            Query(quantile(0.5, buckets, _NAME), _LEGEND + " p50"),
            Query(mean(CALLS, by_agent_and_tool, _NAME), _LEGEND + " mean"),
            no_value="no tool call",
        ),
        tool_rows.repeated(by_agent_and_tool),
    ]


def _callers() -> list[Any]:
    agent = "gen_ai_agent_name"
    return [
        table_of(
            "Errors of tools",
            "Which errors did tools end in, in the time range, and in whose hands?",
            "short",
            f"sum by ({agent}, {_NAME}, error_type) ({_ranged(_FAILED)}) > 0",
            (agent, _NAME, "error_type"),
            width=12,
            no_value="no error",
            links={agent: link_to("agentgauge-agents", "Look at this agent", agent=agent)},
        ),
        series(
            "Tool calls of a run",
            "How many tools does a run of each agent call, on average and among the 5 % with most?",
            "short",
            Query(mean("gen_ai_invoke_agent_tool_calls", by_agent, agent), "{{gen_ai_agent_name}} mean"),
            Query(quantile(0.95, by_agent("gen_ai_invoke_agent_tool_calls_bucket"), agent), "{{gen_ai_agent_name}} p95"),
            width=12,
            no_value="no run",
        ),
    ]


BOARD = Board(
    "tools",
    "Tools",
    "What agents call, how often that fails, how long it takes, and who turns in circles.",
    (("Overview", _overview), ("Tools", _tools), ("Callers", _callers)),
    (TOOL,),
)
