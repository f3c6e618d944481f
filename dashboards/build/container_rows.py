"""The rows about the container and the GPUs that the agents run on."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, table_of, threshold
from dashboards.build.promql import by_target, rate
from dashboards.build.readings import reading, total_rate

__all__ = ["container", "gpu"]

_NO_CONTAINER = "no container is visible"
_NO_GPU = "no GPU is visible"


def container() -> list[Any]:
    """Whether a limit that somebody set is the bottleneck."""
    throttled, periods = (
        f"sum by (instance) ({rate(by_target(metric))})"
        for metric in ("container_cpu_throttled_periods_total", "container_cpu_periods_total")
    )
    return [
        series(
            "Container: CPU in use",
            "Which share of its CPU limit does the container use, and where are the limits?",
            "percentunit",
            reading("container_cpu_utilization_ratio"),
            threshold("container_cpu_utilization_ratio"),
            no_value=_NO_CONTAINER,
        ),
        series(
            "Container: CPU by mode",
            "How many cores does the container use, for what, and how many may it use?",
            "short",
            total_rate("container_cpu_time_seconds_total", "instance, cpu_mode", "{{instance}} {{cpu_mode}}"),
            reading("container_cpu_limit_cores", "{{instance}} {{source}} limit"),
            no_value=_NO_CONTAINER,
        ),
        series(
            "Container: throttled periods",
            "In which share of the periods of its CPU limit was the container held back?",
            "percentunit",
            Query(f"{throttled} / ({periods} > 0)", "{{instance}}"),
            no_value="no CPU limit is set",
        ),
        series(
            "Container: throttled time",
            "How many seconds a second do the container's threads wait, since its CPU limit is reached?",
            "short",
            total_rate("container_cpu_throttled_time_seconds_total", "instance", "{{instance}}"),
            no_value="no CPU limit is set",
        ),
        series(
            "Container: memory in use",
            "Which share of its limit does the container's working set take, and where are the limits?",
            "percentunit",
            reading("container_memory_utilization_ratio"),
            threshold("container_memory_utilization_ratio"),
            no_value=_NO_CONTAINER,
        ),
        series(
            "Container: memory",
            "How much memory does the container use, how much of it cannot be taken back, and what is its limit?",
            "bytes",
            reading("container_memory_usage_bytes", "{{instance}} used"),
            reading("container_memory_working_set_bytes", "{{instance}} working set"),
            reading("container_memory_limit_bytes", "{{instance}} {{source}} limit"),
            no_value=_NO_CONTAINER,
        ),
        series(
            "Container: memory headroom",
            "How much may the container's working set still grow before a process is ended?",
            "bytes",
            reading("container_memory_available_bytes"),
            no_value=_NO_CONTAINER,
        ),
        table_of(
            "Container: ended for lack of memory",
            "How many processes of the container were ended for lack of memory in the time range?",
            "short",
            f"sum by (job, instance) (increase({by_target('container_oom_kills_total')}[$__range]))",
            ("job", "instance"),
            no_value=_NO_CONTAINER,
        ),
        series(
            "Container: processes and threads",
            "How many processes and threads does the container have, and how many may it have?",
            "short",
            reading("container_pids"),
            reading("container_pids_limit", "{{instance}} limit"),
            no_value=_NO_CONTAINER,
        ),
    ]


def gpu() -> list[Any]:
    """Whether the GPUs are busy, full, hot or broken."""
    name = "{{instance}} {{hw_name}} {{hw_id}}"
    return [
        series(
            "GPU in use",
            "How busy is each GPU, and where are the limits?",
            "percentunit",
            reading("hw_gpu_utilization_ratio", name),
            threshold("hw_gpu_utilization_ratio"),
            no_value=_NO_GPU,
        ),
        series(
            "GPU memory in use",
            "Which share of each GPU's memory is in use, and where are the limits?",
            "percentunit",
            reading("hw_gpu_memory_utilization_ratio", name),
            threshold("hw_gpu_memory_utilization_ratio"),
            no_value=_NO_GPU,
        ),
        series(
            "GPU memory",
            "How many bytes of each GPU's memory are in use, and how many are there?",
            "bytes",
            reading("hw_gpu_memory_usage_bytes", name),
            reading("hw_gpu_memory_limit_bytes", name + " limit"),
            no_value=_NO_GPU,
        ),
        series(
            "GPU temperature",
            "How hot is each GPU, and where are the limits?",
            "celsius",
            reading("hw_temperature_celsius", name),
            threshold("hw_temperature_celsius"),
            no_value=_NO_GPU,
        ),
        series(
            "GPU power",
            "How much power does each GPU draw, and at which power is it held back?",
            "watt",
            reading("hw_power_watts", name),
            reading("hw_power_limit_watts", name + " limit"),
            no_value=_NO_GPU,
        ),
        series(
            "GPU errors",
            "Does the memory of a GPU fail, and were the errors corrected?",
            "ops",
            total_rate("hw_errors_total", "instance, hw_name, hw_id, error_type", name + " {{error_type}}"),
            no_value=_NO_GPU,
        ),
    ]
