"""The rows about what the agents run on: host, process, and agentgauge itself."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, table_of
from dashboards.build.promql import by_target, ours, rate

__all__ = ["ROWS"]


def _limit(metric: str) -> Query:
    limit = by_target("agentgauge_threshold", f'metric="{metric}"')
    return Query(f"max by (severity) ({limit})", "{{severity}} limit")


def _reading(metric: str, legend: str = "{{instance}}") -> Query:
    return Query(by_target(metric), legend)


def _rate(metric: str, labels: str, legend: str) -> Query:
    return Query(f"sum by ({labels}) ({rate(by_target(metric))})", legend)


def _ours(metric: str, legend: str) -> Query:
    return Query(ours(by_target(metric)), legend)


def host() -> list[Any]:
    """Whether the machine is the bottleneck."""
    disk, network = "instance, system_device", "instance, network_interface_name"
    disk_legend, network_legend = "{{instance}} {{system_device}}", "{{instance}} {{network_interface_name}}"
    direction = " {{network_io_direction}}"
    mount = "{{instance}} {{system_filesystem_mountpoint}}"
    return [
        series(
            "CPU in use",
            "How busy are the host's CPUs, and where are the limits?",
            "percentunit",
            _reading("system_cpu_utilization_ratio"),
            _limit("system_cpu_utilization_ratio"),
        ),
        series(
            "CPU time by mode",
            "What do the CPUs spend their time on, in cores?",
            "short",
            _rate("system_cpu_time_seconds_total", "instance, cpu_mode", "{{instance}} {{cpu_mode}}"),
            is_stacked=True,
        ),
        series(
            "Load",
            "How many threads want to run, beside the CPUs there are?",
            "short",
            _reading("system_cpu_load_average_1m", "{{instance}} 1 min"),
            _reading("system_cpu_load_average_5m", "{{instance}} 5 min"),
            _reading("system_cpu_load_average_15m", "{{instance}} 15 min"),
            _reading("system_cpu_logical_cores", "{{instance}} cores limit"),
        ),
        series(
            "Memory in use",
            "Which share of the host's memory is not available to programs, and where are the limits?",
            "percentunit",
            _reading("system_memory_utilization_ratio"),
            _limit("system_memory_utilization_ratio"),
        ),
        series(
            "Memory by state",
            "What is the host's memory used for?",
            "bytes",
            _reading("system_memory_usage_bytes", "{{instance}} {{system_memory_state}}"),
            _reading("system_memory_limit_bytes", "{{instance}} limit"),
        ),
        series(
            "Swap by state",
            "Does the host swap memory out?",
            "bytes",
            _reading("system_paging_usage_bytes", "{{instance}} {{system_paging_state}}"),
            no_value="no swap",
        ),
        series(
            "Disk space in use",
            "Which share of each file system is used up, and where are the limits?",
            "percentunit",
            _reading("system_filesystem_utilization_ratio", mount),
            _limit("system_filesystem_utilization_ratio"),
        ),
        series(
            "Disk space by state",
            "How many bytes of each file system are used, free and reserved?",
            "bytes",
            _reading("system_filesystem_usage_bytes", mount + " {{system_filesystem_state}}"),
        ),
        series(
            "Disk busy",
            "Which share of the time is each disk busy?",
            "percentunit",
            _rate("system_disk_io_time_seconds_total", disk, disk_legend),
            no_value="no disk is visible",
        ),
        series(
            "Disk throughput",
            "How many bytes are read from and written to each disk?",
            "binBps",
            _rate("system_disk_io_bytes_total", f"{disk}, disk_io_direction", disk_legend + " {{disk_io_direction}}"),
            width=12,
            no_value="no disk is visible",
        ),
        series(
            "Disk operations",
            "How many reads and writes does each disk serve?",
            "iops",
            _rate("system_disk_operations_total", f"{disk}, disk_io_direction", disk_legend + " {{disk_io_direction}}"),
            width=12,
            no_value="no disk is visible",
        ),
        series(
            "Network throughput",
            "How many bytes does each network interface receive and transmit?",
            "binBps",
            _rate("system_network_io_bytes_total", f"{network}, network_io_direction", network_legend + direction),
        ),
        series(
            "Network packets",
            "How many packets does each network interface receive and transmit?",
            "pps",
            _rate("system_network_packets_total", f"{network}, network_io_direction", network_legend + direction),
        ),
        series(
            "Network faults",
            "Do network interfaces report errors or drop packets?",
            "pps",
            _rate("system_network_errors_total", f"{network}, network_io_direction", network_legend + direction + " errors"),
            _rate(
                "system_network_packets_dropped_total",
                f"{network}, network_io_direction",
                network_legend + direction + " dropped",
            ),
        ),
    ]


def process() -> list[Any]:
    """Whether the program that the agents live in is well."""
    return [
        series(
            "CPU of the process",
            "How many cores does the program use?",
            "short",
            Query(ours(rate(by_target("process_cpu_seconds_total"))), "{{instance}} mean"),
            _ours("process_cpu_utilization_ratio", "{{instance}} since the last scrape"),
        ),
        series(
            "Memory of the process",
            "How much memory does the program use, and does it grow?",
            "bytes",
            _ours("process_resident_memory_bytes", "{{instance}} resident"),
            _ours("process_virtual_memory_bytes", "{{instance}} virtual"),
        ),
        series(
            "Open files",
            "How many file descriptors are open, and how many may be?",
            "short",
            _ours("process_open_fds", "{{instance}}"),
            _ours("process_max_fds", "{{instance}} limit"),
        ),
        series("Threads", "Does the number of threads grow?", "short", _ours("process_threads", "{{instance}}"), width=6),
        series(
            "Context switches",
            "Does the program wait (voluntary) or is it pushed off the CPU (involuntary)?",
            "ops",
            _rate(
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


def itself() -> list[Any]:
    """What watching costs, and whether it misses something."""
    return [
        series(
            "Calls recorded and dropped",
            "Is every call recorded? Recorded is exported plus dropped, plus what is in progress.",
            "ops",
            _rate("agentgauge_events_recorded_total", "instance", "{{instance}} recorded"),
            _rate("agentgauge_events_exported_total", "instance", "{{instance}} exported"),
            _rate("agentgauge_events_dropped_total", "instance", "{{instance}} dropped"),
        ),
        series(
            "Faults of agentgauge",
            "Which faults of its own did agentgauge contain?",
            "ops",
            _rate("agentgauge_internal_errors_total", "instance, hook", "{{instance}} {{hook}}"),
            no_value="none",
        ),
        series(
            "Records without a name of their own",
            "Did a limit on distinct names send records to the label value 'other'?",
            "ops",
            _rate("agentgauge_series_overflowed_total", "instance, kind", "{{instance}} {{kind}}"),
            no_value="none",
        ),
        series(
            "Cost",
            "Which share of one core does agentgauge use, and for what?",
            "percentunit",
            _rate("agentgauge_overhead_seconds_total", "instance, part", "{{instance}} {{part}}"),
        ),
        series(
            "Most calls waiting",
            "Did drains fall behind? Past 65,536 callers wait, past 131,072 calls are dropped.",
            "short",
            _reading("agentgauge_buffer_high_water_records", "{{instance}}"),
        ),
        series(
            "Duration of scrapes",
            "How long does a scrape take, measured inside the program and by Prometheus?",
            "s",
            _reading("agentgauge_scrape_duration_seconds", "{{instance}} inside"),
            _ours("scrape_duration_seconds", "{{instance}} by Prometheus"),
        ),
        series(
            "Duration of collectors",
            "Which collector is slow?",
            "s",
            _reading("agentgauge_collector_duration_seconds", "{{instance}} {{collector}}"),
            no_value="no collector runs",
        ),
        series(
            "Collectors that answer",
            "Are the readings of each collector in the scrapes (1), or did it fail or come late (0)?",
            "short",
            _reading("agentgauge_collector_success", "{{instance}} {{collector}}"),
            no_value="no collector runs",
        ),
        series(
            "Frameworks instrumented",
            "Which frameworks are instrumented (1), and which are loaded but cannot be (0)?",
            "short",
            _reading("agentgauge_instrumentor_active", "{{instance}} {{instrumentor}}"),
            no_value="no framework is loaded",
        ),
        series(
            "Calls by framework",
            "How many calls does the instrumentation of each framework record? One that never fires is not used.",
            "ops",
            _rate("agentgauge_instrumentor_calls_total", "instance, instrumentor", "{{instance}} {{instrumentor}}"),
            no_value="none has fired",
        ),
        series(
            "Traces that are sampled",
            "Which share of the traces beginning in the program does its sampler keep? Series made from spans miss the rest.",
            "percentunit",
            _reading("agentgauge_sampled_traces_ratio"),
            no_value="no tracer provider is known",
        ),
        series(
            "Calls left to another layer",
            "Which calls did an instrumentor see and not count, since another layer, their owner, counts them?",
            "ops",
            _rate(
                "agentgauge_calls_suppressed_total",
                "instrumentor, owner, kind",
                "{{instrumentor}} leaves {{kind}} to {{owner}}",
            ),
            no_value="none",
        ),
        table_of(
            "Versions",
            "Which version of agentgauge does each program run?",
            "short",
            by_target("agentgauge_build_info"),
            ("job", "instance", "version"),
            no_value="no program answers",
        ),
    ]


ROWS = (("Host", host), ("Process", process), ("agentgauge itself", itself))
