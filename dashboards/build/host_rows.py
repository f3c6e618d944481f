"""The row about the host: whether the machine is the bottleneck."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, table_of, threshold
from dashboards.build.promql import by_target, rate
from dashboards.build.readings import reading, total_rate

__all__ = ["host"]

_BUSY = 'cpu_mode!~"idle|iowait"'


def _operation_time(labels: str) -> str:
    took, operations = (
        f"sum by ({labels}) ({rate(by_target(metric))})"
        for metric in ("system_disk_operation_time_seconds_total", "system_disk_operations_total")
    )
    return f"{took} / ({operations} > 0)"


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
            reading("system_cpu_utilization_ratio"),
            threshold("system_cpu_utilization_ratio"),
        ),
        series(
            "CPU time by mode",
            "What do the CPUs spend their time on, in cores?",
            "short",
            total_rate("system_cpu_time_seconds_total", "instance, cpu_mode", "{{instance}} {{cpu_mode}}"),
            is_stacked=True,
        ),
        series(
            "CPU by core",
            "Is one core busy while others idle, as with a program that does all its work in one thread?",
            "percentunit",
            Query(
                f"sum by (instance, cpu_logical_number) ({rate(by_target('system_cpu_time_seconds_total', _BUSY))})",
                "{{instance}} {{cpu_logical_number}}",
            ),
        ),
        series(
            "Load",
            "How many threads want to run, beside the CPUs there are?",
            "short",
            reading("system_cpu_load_average_1m", "{{instance}} 1 min"),
            reading("system_cpu_load_average_5m", "{{instance}} 5 min"),
            reading("system_cpu_load_average_15m", "{{instance}} 15 min"),
            reading("system_cpu_logical_cores", "{{instance}} cores limit"),
        ),
        series(
            "Memory in use",
            "Which share of the host's memory is not available to programs, and where are the limits?",
            "percentunit",
            reading("system_memory_utilization_ratio"),
            threshold("system_memory_utilization_ratio"),
        ),
        series(
            "Memory by state",
            "What is the host's memory used for?",
            "bytes",
            reading("system_memory_usage_bytes", "{{instance}} {{system_memory_state}}"),
            reading("system_memory_limit_bytes", "{{instance}} limit"),
        ),
        series(
            "Swap by state",
            "Does the host swap memory out?",
            "bytes",
            reading("system_paging_usage_bytes", "{{instance}} {{system_paging_state}}"),
            no_value="no swap",
        ),
        series(
            "Disk space in use",
            "Which share of each file system is used up, and where are the limits?",
            "percentunit",
            reading("system_filesystem_utilization_ratio", mount),
            threshold("system_filesystem_utilization_ratio"),
        ),
        series(
            "Disk space by state",
            "How many bytes of each file system are used, free and reserved?",
            "bytes",
            reading("system_filesystem_usage_bytes", mount + " {{system_filesystem_state}}"),
        ),
        series(
            "Inodes in use",
            "Which share of the files that each file system can hold is used up, and where are the limits?",
            "percentunit",
            reading("system_filesystem_inodes_utilization_ratio", mount),
            threshold("system_filesystem_inodes_utilization_ratio"),
            no_value="no file system counts inodes",
        ),
        series(
            "Inodes by state",
            "How many files can each file system still hold?",
            "short",
            reading("system_filesystem_inodes", mount + " {{system_filesystem_state}}"),
            no_value="no file system counts inodes",
        ),
        series(
            "File systems that do not answer",
            "How long has a file system not answered? Whoever reads or writes there waits, and its other readings are missing.",
            "s",
            reading("system_filesystem_stall_seconds", mount),
        ),
        series(
            "Disk busy",
            "Which share of the time is each disk busy?",
            "percentunit",
            total_rate("system_disk_io_time_seconds_total", disk, disk_legend),
            width=12,
            no_value="no disk is visible",
        ),
        series(
            "Disk throughput",
            "How many bytes are read from and written to each disk?",
            "binBps",
            total_rate("system_disk_io_bytes_total", f"{disk}, disk_io_direction", disk_legend + " {{disk_io_direction}}"),
            width=12,
            no_value="no disk is visible",
        ),
        series(
            "Disk operations",
            "How many reads and writes does each disk serve?",
            "iops",
            total_rate("system_disk_operations_total", f"{disk}, disk_io_direction", disk_legend + " {{disk_io_direction}}"),
            width=12,
            no_value="no disk is visible",
        ),
        series(
            "Time of a disk operation",
            "How long does one read or write of each disk take on average, waiting included?",
            "s",
            Query(_operation_time(f"{disk}, disk_io_direction"), disk_legend + " {{disk_io_direction}}"),
            width=12,
            no_value="no disk is at work",
        ),
        series(
            "Pressure",
            "Which share of the time do some, or all, runnable tasks wait for CPU, memory or disks?",
            "percentunit",
            total_rate(
                "system_pressure_stall_time_seconds_total",
                "instance, pressure_resource, pressure_kind",
                "{{instance}} {{pressure_resource}} {{pressure_kind}}",
            ),
            no_value="this kernel does not tell",
        ),
        table_of(
            "Uptime",
            "How long has each host been running?",
            "s",
            by_target("system_uptime_seconds"),
            ("job", "instance"),
            no_value="not reported here",
        ),
        table_of(
            "Boot",
            "When was each host started?",
            "dateTimeAsIso",
            f"1000 * {by_target('system_boot_timestamp_seconds')}",
            ("job", "instance"),
            no_value="not reported here",
        ),
        series(
            "Network throughput",
            "How many bytes does each network interface receive and transmit?",
            "binBps",
            total_rate("system_network_io_bytes_total", f"{network}, network_io_direction", network_legend + direction),
        ),
        series(
            "Network packets",
            "How many packets does each network interface receive and transmit?",
            "pps",
            total_rate("system_network_packets_total", f"{network}, network_io_direction", network_legend + direction),
        ),
        series(
            "Network faults",
            "Do network interfaces report errors or drop packets?",
            "pps",
            total_rate("system_network_errors_total", f"{network}, network_io_direction", network_legend + direction + " errors"),
            total_rate(
                "system_network_packets_dropped_total",
                f"{network}, network_io_direction",
                network_legend + direction + " dropped",
            ),
        ),
    ]
