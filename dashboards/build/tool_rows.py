"""The row about tools: how often agents call them, how that ends, how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.build.panels import Query, latency, series
from dashboards.build.promql import FAILED, quantile, rate

if TYPE_CHECKING:
    from dashboards.build.promql import Select

__all__ = ["CALLS", "TOOL", "TOOL_LEGEND", "calls", "repeated"]

CALLS = "gen_ai_execute_tool_duration_seconds"
TOOL = "gen_ai_agent_name, gen_ai_tool_name"
TOOL_LEGEND = "{{gen_ai_agent_name}} {{gen_ai_tool_name}}"


def calls(select: Select) -> list[Any]:
    """Three panels about the tool calls that ``select`` chooses."""
    return [
        series(
            "Tool calls",
            "How often does each agent call each tool?",
            "ops",
            Query(f"sum by ({TOOL}) ({rate(select(CALLS + '_count'))})", TOOL_LEGEND),
            no_value="no tool call",
        ),
        series(
            "Failed tool calls",
            "Which tools fail, how often, and with which type of error?",
            "ops",
            Query(
                f"sum by (gen_ai_tool_name, error_type) ({rate(select(CALLS + '_count', FAILED))})",
                "{{gen_ai_tool_name}} {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of tool calls (p95)",
            "How long do the slowest 5 % of each tool's calls take at least?",
            Query(quantile(0.95, select(CALLS + "_bucket"), TOOL), TOOL_LEGEND),
            no_value="no tool call",
        ),
    ]


def repeated(select: Select) -> Any:
    """The panel about calls that were made before in the same run."""
    return series(
        "Repeated tool calls",
        "Which agents call a tool again with the same arguments in the same run, as one does that turns in circles?",
        "ops",
        Query(f"sum by ({TOOL}) ({rate(select('agent_repeated_tool_calls_total'))})", TOOL_LEGEND),
        no_value="none",
    )
