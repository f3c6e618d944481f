"""What analysis looks at: error ratios, durations, rates and levels of agents, models, tools and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold
from agentgauge.analytics.outcomes import (
    BAD,
    COUNTED,
    FAILED,
    JUDGED,
    SUCCESS,
    is_bad,
    is_counted,
    is_failed,
    is_judged,
    is_success,
)
from agentgauge.analytics.signals import Measure, Subject, Worse, level, quantile, rate, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEASURES"]

_AGENT, _TASK, _TOOL = "gen_ai_agent_name", "agent_task", "gen_ai_tool_name"
_PROVIDER, _MODEL = "gen_ai_provider_name", "gen_ai_request_model"


_TASKS, _TOOLS, _CALLS = (
    "agent_task_duration_seconds",
    "gen_ai_execute_tool_duration_seconds",
    "gen_ai_client_operation_duration_seconds",
)
_OF_TASK, _OF_TOOL, _OF_MODEL = (_AGENT, _TASK), (_TOOL,), (_PROVIDER, _MODEL)


def _promql_rate(metric: str, by: tuple[str, ...], selector: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{selector}[$window]))" if by else f"sum(rate({metric}{selector}[$window]))"


def _promql_ratio(part: str, of: str, by: tuple[str, ...], where_part: str = "", where_of: str = "") -> str:
    return f"{_promql_rate(part, by, where_part)} / {_promql_rate(of, by, where_of)}"


def _promql_quantile(q: float, histogram: str, by: tuple[str, ...], selector: str = "") -> str:
    return f"histogram_quantile({q:g}, {_promql_rate(f'{histogram}_bucket', (*by, 'le'), selector)})"


def _rate_measure(
    name: str, title: str, subject: Subject, by: tuple[str, ...], metric: str, worse: Worse, unit: str = "per_second"
) -> Measure:
    return Measure(name, title, unit, subject, by, worse, _promql_rate(metric, by), rate(metric))


def _p95_measure(name: str, title: str, subject: Subject, by: tuple[str, ...], histogram: str) -> Measure:
    return Measure(
        name, title, "seconds", subject, by, Worse.UP, _promql_quantile(0.95, histogram, by), quantile(histogram, 0.95)
    )


def _level_measure(
    name: str, title: str, unit: str, subject: Subject, by: tuple[str, ...], metric: str, worse: Worse = Worse.UP
) -> Measure:
    return Measure(
        name,
        title,
        unit,
        subject,
        by,
        worse,
        f"sum by ({', '.join(by)}) ({metric})" if by else f"sum({metric})",
        level(metric, Fold.MEAN),
    )


def _worst_measure(name: str, title: str, subject: Subject, metric: str) -> Measure:
    return Measure(name, title, "ratio", subject, (), Worse.UP, f"max({metric})", level(metric, Fold.MEAN, is_sum=False))


def _failed_measure(name: str, subject: Subject, by: tuple[str, ...], histogram: str) -> Measure:
    ended = f"{histogram}_count"
    promql = _promql_ratio(ended, ended, by, f"{{{FAILED}}}", f"{{{JUDGED}}}")
    return Measure(name, "error ratio", "ratio", subject, by, Worse.UP, promql, ratio(ended, ended, is_failed, is_judged))


def _tokens_measure(kind: str) -> Measure:
    def of_kind(labels: Mapping[str, str]) -> bool:
        return labels.get("gen_ai_token_type") == kind

    used = "gen_ai_client_token_usage_sum", "gen_ai_client_token_usage_count"
    chosen = f'{{gen_ai_token_type="{kind}"}}'
    return Measure(
        f"lm_{kind}_tokens_mean",
        f"{kind} tokens of a call",
        "tokens",
        Subject.MODEL,
        _OF_MODEL,
        Worse.UP,
        _promql_ratio(*used, _OF_MODEL, chosen, chosen),
        ratio(*used, of_kind, of_kind),
    )


MEASURES: tuple[Measure, ...] = (
    _rate_measure("task_rate", "tasks", Subject.AGENT, _OF_TASK, f"{_TASKS}_count", Worse.EITHER),
    Measure(
        "task_error_ratio",
        "error ratio",
        "ratio",
        Subject.AGENT,
        _OF_TASK,
        Worse.UP,
        _promql_ratio(f"{_TASKS}_count", f"{_TASKS}_count", _OF_TASK, f"{{{BAD}}}", f"{{{COUNTED}}}"),
        ratio(f"{_TASKS}_count", f"{_TASKS}_count", is_bad, is_counted),
    ),
    Measure(
        "task_duration_p95",
        "95th percentile of the duration",
        "seconds",
        Subject.AGENT,
        _OF_TASK,
        Worse.UP,
        _promql_quantile(0.95, _TASKS, _OF_TASK, f"{{{SUCCESS}}}"),
        quantile(_TASKS, 0.95, is_success),
    ),
    Measure(
        "task_duration_mean",
        "mean duration",
        "seconds",
        Subject.AGENT,
        _OF_TASK,
        Worse.UP,
        _promql_ratio(f"{_TASKS}_sum", f"{_TASKS}_count", _OF_TASK, f"{{{SUCCESS}}}", f"{{{SUCCESS}}}"),
        ratio(f"{_TASKS}_sum", f"{_TASKS}_count", is_success, is_success),
    ),
    _level_measure("tasks_in_progress", "tasks in progress", "", Subject.AGENT, _OF_TASK, "agent_tasks_in_progress"),
    _rate_measure("task_retry_rate", "retries", Subject.AGENT, _OF_TASK, "agent_task_retries_total", Worse.UP),
    _level_measure("queue_depth", "queue depth", "", Subject.AGENT, (_AGENT, "queue"), "agent_queue_depth"),
    _p95_measure("queue_wait_p95", "95th percentile of the wait", Subject.AGENT, (_AGENT, "queue"), "agent_queue_wait_seconds"),
    _rate_measure("cost_rate", "cost", Subject.AGENT, (_AGENT, _MODEL), "agent_cost_usd_total", Worse.UP, "usd_per_second"),
    _rate_measure("token_rate", "tokens", Subject.AGENT, (_AGENT, _MODEL, "gen_ai_token_type"), "agent_tokens_total", Worse.UP),
    _rate_measure(
        "cache_hit_rate", "LM answers from a cache", Subject.AGENT, (_AGENT, _MODEL), "agent_lm_cache_hits_total", Worse.DOWN
    ),
    _rate_measure(
        "parse_failure_rate",
        "answers that could not be parsed",
        Subject.AGENT,
        (_AGENT,),
        "agent_output_parse_failures_total",
        Worse.UP,
    ),
    _rate_measure("handoff_rate", "handoffs", Subject.AGENT, ("source", "target"), "agent_handoffs_total", Worse.EITHER),
    Measure(
        "run_steps_mean",
        "steps of a run",
        "",
        Subject.AGENT,
        (_AGENT,),
        Worse.UP,
        _promql_ratio("agent_run_steps_sum", "agent_run_steps_count", (_AGENT,)),
        ratio("agent_run_steps_sum", "agent_run_steps_count"),
    ),
    _rate_measure(
        "repeated_tool_call_rate",
        "repeated tool calls",
        Subject.AGENT,
        (_AGENT, _TOOL),
        "agent_repeated_tool_calls_total",
        Worse.UP,
    ),
    _rate_measure("wasted_token_rate", "wasted tokens", Subject.AGENT, (_AGENT,), "agent_wasted_tokens_total", Worse.UP),
    _rate_measure("lm_rate", "LM calls", Subject.MODEL, _OF_MODEL, f"{_CALLS}_count", Worse.EITHER),
    _failed_measure("lm_error_ratio", Subject.MODEL, _OF_MODEL, _CALLS),
    _p95_measure("lm_duration_p95", "95th percentile of the duration", Subject.MODEL, _OF_MODEL, _CALLS),
    _p95_measure(
        "lm_first_chunk_p95",
        "95th percentile of the time to the first chunk",
        Subject.MODEL,
        _OF_MODEL,
        "gen_ai_client_operation_time_to_first_chunk_seconds",
    ),
    _tokens_measure("input"),
    _tokens_measure("output"),
    _rate_measure("lm_retry_rate", "retries", Subject.MODEL, _OF_MODEL, "agent_lm_retries_total", Worse.UP),
    _rate_measure("tool_rate", "tool calls", Subject.TOOL, _OF_TOOL, f"{_TOOLS}_count", Worse.EITHER),
    _failed_measure("tool_error_ratio", Subject.TOOL, _OF_TOOL, _TOOLS),
    _p95_measure("tool_duration_p95", "95th percentile of the duration", Subject.TOOL, _OF_TOOL, _TOOLS),
    _rate_measure("process_cpu", "CPU time of the process", Subject.PROCESS, (), "process_cpu_seconds_total", Worse.UP, "cores"),
    _level_measure("process_memory", "memory of the process", "bytes", Subject.PROCESS, (), "process_resident_memory_bytes"),
    _level_measure("process_threads", "threads of the process", "", Subject.PROCESS, (), "process_threads"),
    _level_measure("process_descriptors", "open descriptors of the process", "", Subject.PROCESS, (), "process_open_fds"),
    _p95_measure(
        "event_loop_lag_p95", "95th percentile of the event loop's lag", Subject.PROCESS, (), "python_event_loop_lag_seconds"
    ),
    _rate_measure(
        "gc_pause_rate", "time in garbage collections", Subject.PROCESS, (), "python_gc_pause_seconds_sum", Worse.UP, "ratio"
    ),
    _worst_measure("host_cpu", "CPU utilization of the host", Subject.HOST, "system_cpu_utilization_ratio"),
    _worst_measure("host_memory", "memory utilization of the host", Subject.HOST, "system_memory_utilization_ratio"),
    _worst_measure("host_disk", "fullest file system of the host", Subject.HOST, "system_filesystem_utilization_ratio"),
    _rate_measure(
        "host_disk_io", "disk io of the host", Subject.HOST, (), "system_disk_io_bytes_total", Worse.EITHER, "bytes_per_second"
    ),
    _rate_measure(
        "host_disk_busy",
        "time in which a disk was busy",
        Subject.HOST,
        ("system_device",),
        "system_disk_io_time_seconds_total",
        Worse.UP,
        "ratio",
    ),
    Measure(
        "host_pressure",
        "pressure stall time",
        "ratio",
        Subject.HOST,
        ("pressure_resource",),
        Worse.UP,
        _promql_rate("system_pressure_stall_time_seconds_total", ("pressure_resource",), '{pressure_kind="some"}'),
        rate("system_pressure_stall_time_seconds_total", lambda labels: labels.get("pressure_kind") == "some"),
    ),
    _rate_measure(
        "host_network_io",
        "network io of the host",
        Subject.HOST,
        (),
        "system_network_io_bytes_total",
        Worse.EITHER,
        "bytes_per_second",
    ),
    _rate_measure(
        "container_throttling",
        "CPU throttling of the container",
        Subject.HOST,
        (),
        "container_cpu_throttled_time_seconds_total",
        Worse.UP,
        "ratio",
    ),
    _worst_measure("container_memory", "memory utilization of the container", Subject.HOST, "container_memory_utilization_ratio"),
)
"""Everything that analysis looks at, in the order in which reports list it."""
