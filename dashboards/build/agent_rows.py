"""The rows about agents: overview, tasks, tools and workflows, queues and states, and what was promised."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, latency, number, series, states, table_of
from dashboards.build.promql import BAD, FAILED, GOOD, JUDGED, by_agent, by_target, quantile, rate

__all__ = ["ROWS"]

_TASK = "gen_ai_agent_name, agent_task"
_TASK_LEGEND = "{{gen_ai_agent_name}} {{agent_task}}"
_NO_OBJECTIVE = "no objective is set"


def _in_range(metric: str, matchers: str) -> str:
    return f"sum(increase({by_agent(metric, matchers)}[$__range]))"


def _objective(metric: str) -> str:
    return f"max by ({_TASK}) ({by_agent(metric)})"


def overview() -> list[Any]:
    """Six numbers that say whether to read on."""
    calls = "agent_task_duration_seconds_count"
    alerts = 'ALERTS{alertname=~"Agentgauge.+",alertname!="AgentgaugeWatchdog",alertstate="firing"}'
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
            "Alerts firing",
            "How many of agentgauge's alerts fire now? Needs the shipped rules in this Prometheus.",
            "short",
            f"count({alerts}) or 0 * count({watchdog})",
            no_value="rules not loaded",
            steps={1: "red"},
        ),
        number(
            "Tasks ended",
            "How many agent tasks ended in the time range, whatever their outcome?",
            "short",
            _in_range(calls, ""),
            no_value="none",
        ),
        number(
            "Tasks failed",
            "How many agent tasks ended in error or timeout in the time range?",
            "short",
            _in_range(calls, BAD),
            no_value="0",
            steps={1: "orange"},
        ),
        number(
            "Success",
            "Which share of the agent tasks succeeded? Cancelled and abandoned ones count in neither part.",
            "percentunit",
            f"{_in_range(calls, GOOD)} / ({_in_range(calls, JUDGED)} > 0)",
            no_value="no task",
        ),
        number(
            "Tasks in progress",
            "How many agent tasks run now?",
            "short",
            f"sum({by_agent('agent_tasks_in_progress')})",
            no_value="0",
        ),
    ]


def tasks() -> list[Any]:
    """What agents do, how often it fails, how long it takes, and what hangs."""
    runs = "gen_ai_invoke_agent_duration_seconds"
    calls = "agent_task_duration_seconds"
    bad_share = (
        f"sum by ({_TASK}) ({rate(by_agent(calls + '_count', BAD))})"
        f" / (sum by ({_TASK}) ({rate(by_agent(calls + '_count', JUDGED))}) > 0)"
    )
    return [
        series(
            "Agent runs",
            "How often is each agent invoked?",
            "ops",
            Query(f"sum by (gen_ai_agent_name) ({rate(by_agent(runs + '_count'))})", "{{gen_ai_agent_name}}"),
            no_value="no run",
        ),
        series(
            "Failed agent runs",
            "How often do agents' runs fail, and with which type of error?",
            "ops",
            Query(
                f"sum by (gen_ai_agent_name, error_type) ({rate(by_agent(runs + '_count', FAILED))})",
                "{{gen_ai_agent_name}} {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of agent runs",
            "How long do an agent's runs take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, by_agent(runs + "_bucket"), "gen_ai_agent_name"), "{{gen_ai_agent_name}} p50"),
            Query(quantile(0.95, by_agent(runs + "_bucket"), "gen_ai_agent_name"), "{{gen_ai_agent_name}} p95"),
        ),
        series(
            "Tasks by outcome",
            "How do the agents' tasks end?",
            "ops",
            Query(f"sum by (outcome) ({rate(by_agent(calls + '_count'))})", "{{outcome}}"),
            is_stacked=True,
            no_value="no task",
        ),
        series(
            "Failed share of tasks",
            "Which share of each task's calls ends in error or timeout, and how much does its objective allow?",
            "percentunit",
            Query(bad_share, _TASK_LEGEND),
            Query(f"1 - {_objective('agent_objective_success_ratio')}", _TASK_LEGEND + " objective"),
            no_value="no task",
        ),
        latency(
            "Duration of tasks (p95)",
            "How long do the slowest 5 % of each task's successful calls take at least, beside what its objective allows?",
            Query(quantile(0.95, by_agent(calls + "_bucket", GOOD), _TASK), _TASK_LEGEND),
            Query(_objective("agent_objective_latency_seconds"), _TASK_LEGEND + " objective"),
        ),
        table_of(
            "Errors by type",
            "Which errors and time-outs did the time range bring, and to which task?",
            "short",
            f"sum by ({_TASK}, error_type) (increase({by_agent('agent_task_errors_total')}[$__range])) > 0",
            ("gen_ai_agent_name", "agent_task", "error_type"),
            no_value="no error",
        ),
        table_of(
            "Oldest task in progress",
            "Which task has been running for the longest time? A call that hangs shows here and in no histogram.",
            "s",
            f"time() - {by_agent('agent_task_oldest_start_timestamp_seconds')}",
            ("gen_ai_agent_name", "agent_task", "instance"),
            no_value="nothing in progress",
        ),
        table_of(
            "Time since the last success",
            "Which task has not succeeded for the longest time?",
            "s",
            f"time() - max by ({_TASK}) ({by_agent('agent_task_last_success_timestamp_seconds')})",
            ("gen_ai_agent_name", "agent_task"),
            no_value="no success yet",
        ),
        series(
            "Tasks in progress",
            "How many calls of each task run at the same time?",
            "short",
            Query(f"sum by ({_TASK}) ({by_agent('agent_tasks_in_progress')})", _TASK_LEGEND),
            width=6,
            no_value="0",
        ),
        series(
            "Retries",
            "How often are tasks tried again?",
            "ops",
            Query(f"sum by ({_TASK}) ({rate(by_agent('agent_task_retries_total'))})", _TASK_LEGEND),
            width=6,
            no_value="no retry is reported",
        ),
        series(
            "Size of task inputs",
            "How large are the inputs that tasks state, in the middle and among the largest 5 %?",
            "bytes",
            Query(quantile(0.5, by_agent("agent_task_input_size_bytes_bucket"), _TASK), _TASK_LEGEND + " p50"),
            Query(quantile(0.95, by_agent("agent_task_input_size_bytes_bucket"), _TASK), _TASK_LEGEND + " p95"),
            width=6,
            no_value="no size is reported",
        ),
        series(
            "Faulty task reports",
            "Does the program report tasks in a way that does not fit: unknown, duplicate, ended or evicted ids?",
            "ops",
            Query(
                f"sum by (gen_ai_agent_name, fault) ({rate(by_agent('agent_task_protocol_faults_total'))})",
                "{{gen_ai_agent_name}} {{fault}}",
            ),
            width=6,
            no_value="none",
        ),
    ]


def tools() -> list[Any]:
    """What agents call, and what calls agents."""
    tool, workflow = "gen_ai_execute_tool_duration_seconds", "gen_ai_invoke_workflow_duration_seconds"
    tool_labels = "gen_ai_agent_name, gen_ai_tool_name"
    tool_legend = "{{gen_ai_agent_name}} {{gen_ai_tool_name}}"
    return [
        series(
            "Tool calls",
            "How often does each agent call each tool?",
            "ops",
            Query(f"sum by ({tool_labels}) ({rate(by_agent(tool + '_count'))})", tool_legend),
            no_value="no tool call",
        ),
        series(
            "Failed tool calls",
            "Which tools fail, how often, and with which type of error?",
            "ops",
            Query(
                f"sum by (gen_ai_tool_name, error_type) ({rate(by_agent(tool + '_count', FAILED))})",
                "{{gen_ai_tool_name}} {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of tool calls (p95)",
            "How long do the slowest 5 % of each tool's calls take at least?",
            Query(quantile(0.95, by_agent(tool + "_bucket"), tool_labels), tool_legend),
            no_value="no tool call",
        ),
        series(
            "Workflow runs",
            "How often does each workflow run?",
            "ops",
            Query(f"sum by (gen_ai_workflow_name) ({rate(by_target(workflow + '_count'))})", "{{gen_ai_workflow_name}}"),
            no_value="no workflow",
        ),
        series(
            "Failed workflow runs",
            "Which workflows fail, how often, and with which type of error?",
            "ops",
            Query(
                f"sum by (gen_ai_workflow_name, error_type) ({rate(by_target(workflow + '_count', FAILED))})",
                "{{gen_ai_workflow_name}} {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of workflow runs (p95)",
            "How long do the slowest 5 % of each workflow's runs take at least?",
            Query(quantile(0.95, by_target(workflow + "_bucket"), "gen_ai_workflow_name"), "{{gen_ai_workflow_name}}"),
            no_value="no workflow",
        ),
    ]


def queues() -> list[Any]:
    """What agents say about themselves."""
    queue, queue_legend = "gen_ai_agent_name, queue", "{{gen_ai_agent_name}} {{queue}}"
    wait = by_agent("agent_queue_wait_seconds_bucket")
    return [
        states(
            "States",
            "Which state was each agent in, and when?",
            Query(
                f"max by (gen_ai_agent_name, agent_state) ({by_agent('agent_state')}) > 0",
                "{{gen_ai_agent_name}} {{agent_state}}",
            ),
            width=24,
            no_value="no state is reported",
        ),
        series(
            "Queue depth",
            "How many items wait for each agent?",
            "short",
            Query(f"sum by ({queue}) ({by_agent('agent_queue_depth')})", queue_legend),
            width=12,
            no_value="no queue is reported",
        ),
        latency(
            "Wait in queues",
            "How long do items wait for an agent, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, wait, queue), queue_legend + " p50"),
            Query(quantile(0.95, wait, queue), queue_legend + " p95"),
            width=12,
            no_value="no wait is reported",
        ),
        series(
            "Connections",
            "How many connections does each agent hold open?",
            "short",
            Query(f"sum by (gen_ai_agent_name) ({by_agent('agent_connections')})", "{{gen_ai_agent_name}}"),
            no_value="no connection is reported",
        ),
        series(
            "Memory of agents",
            "How much memory does each agent say it uses?",
            "bytes",
            Query(f"sum by (gen_ai_agent_name) ({by_agent('agent_memory_usage_bytes')})", "{{gen_ai_agent_name}}"),
            no_value="no memory is reported",
        ),
        series(
            "Readings of the program's own",
            "What do the readings say that the program names itself?",
            "short",
            Query(by_agent("agent_custom_metric"), "{{gen_ai_agent_name}} {{agent_metric}} {{instance}}"),
            no_value="no reading is reported",
        ),
    ]


def targets() -> list[Any]:
    """What was promised, and how well it is kept."""
    missed = (
        f"sum by ({_TASK}) ({rate(by_agent('agent_objective_latency_missed_total'))})"
        f" / (sum by ({_TASK}) ({rate(by_agent('agent_task_duration_seconds_count', GOOD))}) > 0)"
    )
    return [
        series(
            "Calls slower than promised",
            "Which share of each task's successful calls takes longer than its objective? It promises 5 % at most.",
            "percentunit",
            Query(missed, _TASK_LEGEND),
            limit=0.05,
            width=12,
            no_value=_NO_OBJECTIVE,
        ),
        table_of(
            "Limits on readings",
            "Which limits do the shipped rules obey, each in its reading's unit?",
            "short",
            f"max by (metric, severity, operator) ({by_target('agentgauge_threshold')})",
            ("metric", "operator", "severity"),
            width=12,
            no_value="no limit is set",
        ),
        table_of(
            "Objectives: success",
            "Which share of each task's calls is promised to succeed?",
            "percentunit",
            _objective("agent_objective_success_ratio"),
            ("gen_ai_agent_name", "agent_task"),
            width=12,
            no_value=_NO_OBJECTIVE,
        ),
        table_of(
            "Objectives: duration",
            "Which duration may at most 5 % of each task's calls exceed?",
            "s",
            _objective("agent_objective_latency_seconds"),
            ("gen_ai_agent_name", "agent_task"),
            width=12,
            no_value=_NO_OBJECTIVE,
        ),
    ]


ROWS = (
    ("Overview", overview),
    ("Agents and tasks", tasks),
    ("Tools and workflows", tools),
    ("Queues and states", queues),
    ("Targets", targets),
)
