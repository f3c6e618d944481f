"""The rows about tasks: what agents do, how well, how fast, and what was promised."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, latency, number, series, table_of
from dashboards.build.promql import BAD, FAILED, GOOD, JUDGED, by_agent, in_range, quantile, rate, share

__all__ = ["NO_OBJECTIVE", "TASK", "TASK_LEGEND", "counts", "objective", "tasks"]

TASK = "gen_ai_agent_name, agent_task"
TASK_LEGEND = "{{gen_ai_agent_name}} {{agent_task}}"
NO_OBJECTIVE = "no objective is set"

_CALLS = "agent_task_duration_seconds_count"


def objective(metric: str) -> str:
    """What was promised for each task, the same in every program that shares it."""
    return f"max by ({TASK}) ({by_agent(metric)})"


def counts() -> list[Any]:
    """Four numbers about the tasks of the time range."""
    return [
        number(
            "Tasks ended",
            "How many agent tasks ended in the time range, whatever their outcome?",
            "short",
            in_range(by_agent(_CALLS)),
            no_value="none",
        ),
        number(
            "Tasks failed",
            "How many agent tasks ended in error or timeout in the time range?",
            "short",
            in_range(by_agent(_CALLS, BAD)),
            no_value="0",
            steps={1: "orange"},
        ),
        number(
            "Success",
            "Which share of the agent tasks succeeded? Cancelled and abandoned ones count in neither part.",
            "percentunit",
            f"{in_range(by_agent(_CALLS, GOOD))} / ({in_range(by_agent(_CALLS, JUDGED))} > 0)",
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
    bad_share = share(rate(by_agent(_CALLS, BAD)), rate(by_agent(_CALLS, JUDGED)), TASK)
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
            Query(bad_share, TASK_LEGEND),
            Query(f"1 - {objective('agent_objective_success_ratio')}", TASK_LEGEND + " objective"),
            no_value="no task",
        ),
        latency(
            "Duration of tasks (p95)",
            "How long do the slowest 5 % of each task's successful calls take at least, beside what its objective allows?",
            Query(quantile(0.95, by_agent(calls + "_bucket", GOOD), TASK), TASK_LEGEND),
            Query(objective("agent_objective_latency_seconds"), TASK_LEGEND + " objective"),
        ),
        table_of(
            "Errors by type",
            "Which errors and time-outs did the time range bring, and to which task?",
            "short",
            f"sum by ({TASK}, error_type) (increase({by_agent('agent_task_errors_total')}[$__range])) > 0",
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
            f"time() - max by ({TASK}) ({by_agent('agent_task_last_success_timestamp_seconds')})",
            ("gen_ai_agent_name", "agent_task"),
            no_value="no success yet",
        ),
        series(
            "Tasks in progress",
            "How many calls of each task run at the same time?",
            "short",
            Query(f"sum by ({TASK}) ({by_agent('agent_tasks_in_progress')})", TASK_LEGEND),
            width=6,
            no_value="0",
        ),
        series(
            "Retries",
            "How often are tasks tried again?",
            "ops",
            Query(f"sum by ({TASK}) ({rate(by_agent('agent_task_retries_total'))})", TASK_LEGEND),
            width=6,
            no_value="no retry is reported",
        ),
        series(
            "Size of task inputs",
            "How large are the inputs that tasks state, in the middle and among the largest 5 %?",
            "bytes",
            Query(quantile(0.5, by_agent("agent_task_input_size_bytes_bucket"), TASK), TASK_LEGEND + " p50"),
            Query(quantile(0.95, by_agent("agent_task_input_size_bytes_bucket"), TASK), TASK_LEGEND + " p95"),
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
