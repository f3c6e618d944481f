"""The row about the process: whether the program that the agents live in is well."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, table_of
from dashboards.build.promql import by_agent, by_target, ours, quantile, rate
from dashboards.build.readings import our_reading, reading, total_rate

__all__ = ["process"]


def process() -> list[Any]:
    """Whether the program that the agents live in is well."""
    return [
        series(
            "CPU of the process",
            "How many cores does the program use?",
            "short",
            Query(ours(rate(by_target("process_cpu_seconds_total"))), "{{instance}} mean"),
            our_reading("process_cpu_utilization_ratio", "{{instance}} since the last scrape"),
        ),
        series(
            "Memory of the process",
            "How much memory does the program use, and does it grow?",
            "bytes",
            our_reading("process_resident_memory_bytes", "{{instance}} resident"),
            our_reading("process_virtual_memory_bytes", "{{instance}} virtual"),
            reading("process_unique_memory_bytes", "{{instance}} unique"),
        ),
        series(
            "Open files",
            "How many file descriptors are open, and how many may be?",
            "short",
            our_reading("process_open_fds", "{{instance}}"),
            our_reading("process_max_fds", "{{instance}} limit"),
        ),
        series("Threads", "Does the number of threads grow?", "short", our_reading("process_threads", "{{instance}}"), width=6),
        series(
            "Context switches",
            "Does the program wait (voluntary) or is it pushed off the CPU (involuntary)?",
            "ops",
            total_rate(
                "process_context_switches_total",
                "instance, process_context_switch_type",
                "{{instance}} {{process_context_switch_type}}",
            ),
            width=6,
        ),
        series(
            "Garbage collections",
            "How often does Python collect garbage?",
            "ops",
            Query(ours(rate(by_target("python_gc_collections_total"))), "{{instance}} generation {{generation}}"),
            width=6,
        ),
        series(
            "Garbage",
            "How many objects does the collector find, and are there some that it cannot free?",
            "ops",
            Query(ours(rate(by_target("python_gc_objects_collected_total"))), "{{instance}} generation {{generation}}"),
            Query(
                ours(rate(by_target("python_gc_objects_uncollectable_total"))),
                "{{instance}} generation {{generation}} uncollectable",
            ),
            width=6,
        ),
        series(
            "Pauses for garbage (p99)",
            "How long do the longest 1 % of garbage collections stop the program?",
            "s",
            Query(
                quantile(0.99, by_target("python_gc_pause_seconds_bucket"), "instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
            width=6,
            no_value="no collection",
        ),
        series(
            "Time lost to garbage",
            "Which share of the time does the program stand still for garbage collections?",
            "percentunit",
            total_rate("python_gc_pause_seconds_sum", "instance", "{{instance}}"),
            width=6,
            no_value="no collection",
        ),
        series(
            "Lag of event loops",
            "How long do event loops of asyncio let wait what is due, in the middle and at the worst 1 %?",
            "s",
            Query(quantile(0.5, by_target("python_event_loop_lag_seconds_bucket"), "instance"), "{{instance}} p50"),
            Query(quantile(0.99, by_target("python_event_loop_lag_seconds_bucket"), "instance"), "{{instance}} p99"),
            width=6,
            no_value="no event loop is watched",
        ),
        series(
            "Stalled event loops",
            "Does blocking code hold an event loop of asyncio up, now?",
            "s",
            reading("python_event_loop_stall_seconds"),
            width=6,
            no_value="no event loop is watched",
        ),
        series(
            "Files read and written",
            "How many bytes does the program read from and write to disks?",
            "binBps",
            total_rate("process_disk_io_bytes_total", "instance, disk_io_direction", "{{instance}} {{disk_io_direction}}"),
            width=6,
            no_value="not reported here",
        ),
        series(
            "Child processes",
            "How many processes, and threads in them, does the program keep below it?",
            "short",
            reading("process_children", "{{instance}} processes"),
            reading("process_children_threads", "{{instance}} threads"),
            width=6,
            no_value="not reported here",
        ),
        series(
            "CPU of child processes",
            "How many cores do the program's child processes use?",
            "short",
            total_rate("process_children_cpu_seconds_total", "instance", "{{instance}}"),
            width=6,
            no_value="not reported here",
        ),
        series(
            "Memory of child processes",
            "How much memory do the program's child processes use?",
            "bytes",
            reading("process_children_resident_memory_bytes"),
            width=6,
            no_value="not reported here",
        ),
        series(
            "What agents say they use",
            "How much memory do the chosen agents say they use, of that which the process has?",
            "bytes",
            Query(f"sum by (gen_ai_agent_name) ({by_agent('agent_memory_usage_bytes')})", "{{gen_ai_agent_name}}"),
            width=24,
            no_value="no memory is reported",
        ),
        table_of(
            "Time since the start",
            "When did each program start? A short time means that it restarted.",
            "s",
            f"time() - ({ours(by_target('process_start_time_seconds'))})",
            ("job", "instance"),
            width=12,
            no_value="not reported here",
        ),
        table_of(
            "Services",
            "Which service is each program, by its resource attributes?",
            "short",
            ours(by_target("target_info")),
            ("job", "instance", "service_name"),
            width=12,
            no_value="no resource attribute is set",
        ),
    ]
