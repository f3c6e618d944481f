"""The board "Fleet": whether all is well, and where to look if it is not."""

from __future__ import annotations

from typing import Any

from dashboards.build import cost_rows, task_rows
from dashboards.build.board import Board
from dashboards.build.panels import Column, Query, comparison, latency, link_to, number, series, table_of
from dashboards.build.promql import (
    ALERTS_FIRING,
    BAD,
    GOOD,
    JUDGED,
    by_agent,
    by_target,
    in_range,
    ours,
    quantile,
    rate,
    share,
)

__all__ = ["BOARD"]

_AGENT, _LEGEND = "gen_ai_agent_name", "{{gen_ai_agent_name}}"
_NAMED = 'gen_ai_agent_name!=""'
_CALLS = "agent_task_duration_seconds"
_TO_AGENT = link_to("agentgauge-agents", "Look at this agent", agent=_AGENT)
_TO_MACHINE = link_to("agentgauge-machine", "Look at this program's machine", instance="instance")
_SERIES_TO_AGENT = {**_TO_AGENT, "url": _TO_AGENT["url"].replace("__data.fields", "__field.labels")}


def _overview() -> list[Any]:
    watchdog = 'ALERTS{alertname="AgentgaugeWatchdog",alertstate="firing"}'
    return [
        number(
            "Programs",
            "How many programs with agentgauge answer the scrapes?",
            "short",
            f"count({by_target('agentgauge_build_info')})",
            no_value="none",
        ),
        number(
            "Agents",
            "How many agents have run, or run now, in these programs?",
            "short",
            f"count(group by ({_AGENT}) ({by_agent(_CALLS + '_count', _NAMED)}))",
            no_value="none",
        ),
        number(
            "Alerts firing",
            "How many of agentgauge's alerts fire now? Needs the shipped rules in this Prometheus.",
            "short",
            f"count({ALERTS_FIRING}) or 0 * count({watchdog})",
            no_value="rules not loaded",
            steps={1: "red"},
        ),
        number(
            "Calls dropped",
            "How many calls of the time range did agentgauge not record, since its buffer was full?",
            "short",
            in_range(by_target("agentgauge_events_dropped_total")),
            no_value="unknown",
            steps={1: "red"},
        ),
        number(
            "Agent runs",
            "How many runs of agents ended in the time range?",
            "short",
            in_range(by_agent("gen_ai_invoke_agent_duration_seconds_count")),
            no_value="none",
        ),
        number(
            "Cost",
            "How many dollars did the agents' LM calls cost in the time range?",
            "currencyUSD",
            in_range(by_agent("agent_cost_usd_total")),
            no_value=cost_rows.NO_COST,
        ),
        *(panel.span(6) for panel in task_rows.counts()),
    ]


def _agents() -> list[Any]:
    judged = f"increase({by_agent(_CALLS + '_count', JUDGED)}[$__range])"
    failed = f"increase({by_agent(_CALLS + '_count', BAD)}[$__range])"
    buckets = f"increase({by_agent(_CALLS + '_bucket', GOOD)}[$__range])"
    oldest = by_agent("agent_task_oldest_start_timestamp_seconds")
    success = by_agent("agent_task_last_success_timestamp_seconds")
    return [
        comparison(
            "Agents",
            "Which agents work, fail, are slow, hang or cost most? A name leads to the agent's own board.",
            (_AGENT,),
            (
                Column("Tasks", "short", in_range(by_agent(_CALLS + "_count"), _AGENT) + " > 0"),
                Column("Failed", "percentunit", share(failed, judged, _AGENT)),
                Column("Duration (p95)", "s", f"histogram_quantile(0.95, sum by ({_AGENT}, le) ({buckets})) >= 0"),
                Column("In progress", "short", f"sum by ({_AGENT}) ({by_agent('agent_tasks_in_progress')})"),
                Column("Oldest in progress", "s", f"time() - min by ({_AGENT}) ({oldest})"),
                Column("Since the last success", "s", f"time() - max by ({_AGENT}) ({success})"),
                Column("Cost", "currencyUSD", in_range(by_agent("agent_cost_usd_total"), _AGENT)),
            ),
            no_value="no agent",
            links={_AGENT: _TO_AGENT},
        ),
        series(
            "Tasks by outcome",
            "How do the agents' tasks end?",
            "ops",
            Query(f"sum by (outcome) ({rate(by_agent(_CALLS + '_count'))})", "{{outcome}}"),
            is_stacked=True,
            no_value="no task",
        ),
        series(
            "Failed share by agent",
            "Which share of each agent's tasks ends in error or timeout?",
            "percentunit",
            Query(share(rate(by_agent(_CALLS + "_count", BAD)), rate(by_agent(_CALLS + "_count", JUDGED)), _AGENT), _LEGEND),
            no_value="no task",
            link=_SERIES_TO_AGENT,
        ),
        latency(
            "Duration of tasks by agent (p95)",
            "How long do the slowest 5 % of each agent's successful tasks take at least?",
            Query(quantile(0.95, by_agent(_CALLS + "_bucket", GOOD), _AGENT), _LEGEND),
            no_value="no task",
        ),
    ]


def _programs() -> list[Any]:
    name = ("job", "instance")
    by = "job, instance"
    return [
        comparison(
            "Programs",
            "Which programs answer, since when, and how much do they use? An instance leads to its machine.",
            name,
            (
                Column("Up", "short", f"max by ({by}) ({ours(by_target('up'))})"),
                Column("Age", "s", f"time() - max by ({by}) ({ours(by_target('process_start_time_seconds'))})"),
                Column("CPU (cores)", "short", f"max by ({by}) ({ours(rate(by_target('process_cpu_seconds_total')))})"),
                Column("Memory", "bytes", f"max by ({by}) ({ours(by_target('process_resident_memory_bytes'))})"),
                Column("Tasks in progress", "short", f"sum by ({by}) ({by_agent('agent_tasks_in_progress')})"),
                Column("Faults of agentgauge", "short", in_range(by_target("agentgauge_internal_errors_total"), by)),
            ),
            no_value="no program answers",
            width=12,
            links={"instance": _TO_MACHINE},
        ),
        table_of(
            "Alerts",
            "Which of agentgauge's alerts fire now, and about what? Needs the shipped rules in this Prometheus.",
            "short",
            ALERTS_FIRING,
            ("alertname", "severity", "job", "instance", _AGENT),
            width=12,
            no_value="none, or the rules are not loaded",
        ),
    ]


def _models() -> list[Any]:
    calls = by_target("gen_ai_client_operation_duration_seconds_count")
    tools = by_agent("gen_ai_execute_tool_duration_seconds_count")
    return [
        series(
            "LM calls by model",
            "How often is each model called?",
            "ops",
            Query(f"sum by (gen_ai_request_model) ({rate(calls)})", "{{gen_ai_request_model}}"),
            no_value="no LM call",
        ),
        series(
            "Tool calls by tool",
            "How often is each tool called?",
            "ops",
            Query(f"sum by (gen_ai_tool_name) ({rate(tools)})", "{{gen_ai_tool_name}}"),
            no_value="no tool call",
        ),
        cost_rows.an_hour_by_agent(by_agent),
    ]


BOARD = Board(
    "fleet",
    "Fleet",
    "Whether all agents and programs are well, and where to look if they are not.",
    (("Overview", _overview), ("Agents", _agents), ("Programs", _programs), ("What they use", _models)),
)
