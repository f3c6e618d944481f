"""The families of what agents run on: host, container, GPU and process.

Names, labels and units follow the semantic conventions of OpenTelemetry (system, container, hw, process) where those have one.
"""

from __future__ import annotations

from agentgauge.catalogue.family import Family, Kind

__all__ = ["FAMILIES"]

# --- host -----------------------------------------------------------------------------------------------------------------

CPU_TIME = Family(
    "system_cpu_time_seconds_total",
    Kind.COUNTER,
    "Time that each logical CPU spent, by mode.",
    "seconds",
    ("cpu_logical_number", "cpu_mode"),
)
CPU_UTILIZATION = Family(
    "system_cpu_utilization_ratio",
    Kind.GAUGE,
    "Share of CPU time spent neither idle nor waiting for disks, since the reading before.",
    "ratio",
)
CPU_CORES = Family("system_cpu_logical_cores", Kind.GAUGE, "Logical CPUs of the host.")
LOAD_1M = Family("system_cpu_load_average_1m", Kind.GAUGE, "Average of runnable threads over 1 minute.")
LOAD_5M = Family("system_cpu_load_average_5m", Kind.GAUGE, "Average of runnable threads over 5 minutes.")
LOAD_15M = Family("system_cpu_load_average_15m", Kind.GAUGE, "Average of runnable threads over 15 minutes.")
MEMORY_USAGE_HOST = Family(
    "system_memory_usage_bytes", Kind.GAUGE, "Memory of the host by state.", "bytes", ("system_memory_state",)
)
MEMORY_LIMIT = Family("system_memory_limit_bytes", Kind.GAUGE, "Memory of the host.", "bytes")
MEMORY_UTILIZATION = Family(
    "system_memory_utilization_ratio", Kind.GAUGE, "Share of the host's memory that is not available to programs.", "ratio"
)
PAGING_USAGE = Family("system_paging_usage_bytes", Kind.GAUGE, "Swap of the host by state.", "bytes", ("system_paging_state",))
FILESYSTEM_USAGE = Family(
    "system_filesystem_usage_bytes",
    Kind.GAUGE,
    "Space of a file system by state.",
    "bytes",
    ("system_device", "system_filesystem_mountpoint", "system_filesystem_type", "system_filesystem_state"),
)
FILESYSTEM_UTILIZATION = Family(
    "system_filesystem_utilization_ratio",
    Kind.GAUGE,
    "Share in use of the space that a file system offers to unprivileged programs, as df shows it.",
    "ratio",
    ("system_device", "system_filesystem_mountpoint", "system_filesystem_type"),
)
FILESYSTEM_INODES = Family(
    "system_filesystem_inodes",
    Kind.GAUGE,
    "Inodes of a file system by state: how many files it can hold.",
    "",
    ("system_device", "system_filesystem_mountpoint", "system_filesystem_type", "system_filesystem_state"),
)
FILESYSTEM_INODES_UTILIZATION = Family(
    "system_filesystem_inodes_utilization_ratio",
    Kind.GAUGE,
    "Share of a file system's inodes that is in use.",
    "ratio",
    ("system_device", "system_filesystem_mountpoint", "system_filesystem_type"),
)
FILESYSTEM_STALL = Family(
    "system_filesystem_stall_seconds",
    Kind.GAUGE,
    "How long a file system has not answered when asked for its space: its other readings are absent; 0 where it has.",
    "seconds",
    ("system_device", "system_filesystem_mountpoint", "system_filesystem_type"),
)
DISK_IO = Family(
    "system_disk_io_bytes_total",
    Kind.COUNTER,
    "Bytes read from and written to disks.",
    "bytes",
    ("system_device", "disk_io_direction"),
)
DISK_OPERATIONS = Family(
    "system_disk_operations_total", Kind.COUNTER, "Reads and writes of disks.", "", ("system_device", "disk_io_direction")
)
DISK_OPERATION_TIME = Family(
    "system_disk_operation_time_seconds_total",
    Kind.COUNTER,
    "Time that reads and writes took, waiting included; several at once count each.",
    "seconds",
    ("system_device", "disk_io_direction"),
)
DISK_IO_TIME = Family(
    "system_disk_io_time_seconds_total", Kind.COUNTER, "Time that disks were busy.", "seconds", ("system_device",)
)
NETWORK_IO = Family(
    "system_network_io_bytes_total",
    Kind.COUNTER,
    "Bytes received and transmitted by network interfaces.",
    "bytes",
    ("network_interface_name", "network_io_direction"),
)
NETWORK_PACKETS = Family(
    "system_network_packets_total",
    Kind.COUNTER,
    "Packets received and transmitted by network interfaces.",
    "",
    ("network_interface_name", "network_io_direction"),
)
NETWORK_ERRORS = Family(
    "system_network_errors_total",
    Kind.COUNTER,
    "Errors of network interfaces.",
    "",
    ("network_interface_name", "network_io_direction"),
)
NETWORK_DROPPED = Family(
    "system_network_packets_dropped_total",
    Kind.COUNTER,
    "Packets that network interfaces dropped.",
    "",
    ("network_interface_name", "network_io_direction"),
)

PRESSURE = Family(
    "system_pressure_stall_time_seconds_total",
    Kind.COUNTER,
    "Time in which some or all runnable tasks waited for a resource (Linux pressure stall information).",
    "seconds",
    ("pressure_resource", "pressure_kind"),
)
BOOT_TIME = Family("system_boot_timestamp_seconds", Kind.GAUGE, "When the host was started, since unix epoch.", "seconds")
UPTIME = Family("system_uptime_seconds", Kind.GAUGE, "How long the host has been running.", "seconds")

# --- container: ``source`` tells who sets the limit: cgroup_v2, cgroup_v1, or the host where no cgroup does ---------------------

CONTAINER_CPU_LIMIT = Family(
    "container_cpu_limit_cores",
    Kind.GAUGE,
    "CPUs that this container may use at once, the smallest limit above it.",
    "",
    ("source",),
)
CONTAINER_CPU_TIME = Family(
    "container_cpu_time_seconds_total", Kind.COUNTER, "CPU time that the container used, by mode.", "seconds", ("cpu_mode",)
)
CONTAINER_CPU_UTILIZATION = Family(
    "container_cpu_utilization_ratio",
    Kind.GAUGE,
    "Share of its CPU limit that the container used since the reading before.",
    "ratio",
)
CONTAINER_CPU_PERIODS = Family(
    "container_cpu_periods_total", Kind.COUNTER, "Enforcement periods of the CPU limit in which the container ran."
)
CONTAINER_CPU_THROTTLED_PERIODS = Family(
    "container_cpu_throttled_periods_total", Kind.COUNTER, "Enforcement periods in which the container was throttled."
)
CONTAINER_CPU_THROTTLED_TIME = Family(
    "container_cpu_throttled_time_seconds_total", Kind.COUNTER, "Time that threads of the container were throttled.", "seconds"
)
CONTAINER_MEMORY_LIMIT = Family(
    "container_memory_limit_bytes",
    Kind.GAUGE,
    "Memory that this container may use, the smallest limit above it; the host's where there is none.",
    "bytes",
    ("source",),
)
CONTAINER_MEMORY_USAGE = Family(
    "container_memory_usage_bytes", Kind.GAUGE, "Memory that the container uses, caches included.", "bytes"
)
CONTAINER_MEMORY_WORKING_SET = Family(
    "container_memory_working_set_bytes",
    Kind.GAUGE,
    "Memory that cannot be taken back at once: without inactive file caches.",
    "bytes",
)
CONTAINER_MEMORY_AVAILABLE = Family(
    "container_memory_available_bytes",
    Kind.GAUGE,
    "Headroom: what the working set may still grow by before a limit above it, or the host's memory, ends a process.",
    "bytes",
)
CONTAINER_MEMORY_UTILIZATION = Family(
    "container_memory_utilization_ratio", Kind.GAUGE, "Share of its limit that the container's working set takes.", "ratio"
)
CONTAINER_OOM_KILLS = Family(
    "container_oom_kills_total", Kind.COUNTER, "Processes of the container that were ended for lack of memory."
)
CONTAINER_PIDS = Family("container_pids", Kind.GAUGE, "Processes and threads of the container.")
CONTAINER_PIDS_LIMIT = Family("container_pids_limit", Kind.GAUGE, "Processes and threads that the container may have.")

# --- GPU: semantic conventions for hardware (hw.gpu) ------------------------------------------------------------------------

_GPU = ("hw_id", "hw_name")
GPU_UTILIZATION = Family(
    "hw_gpu_utilization_ratio", Kind.GAUGE, "Share of the time in which a kernel was running on the GPU.", "ratio", _GPU
)
GPU_MEMORY_USAGE = Family("hw_gpu_memory_usage_bytes", Kind.GAUGE, "Memory of the GPU in use.", "bytes", _GPU)
GPU_MEMORY_LIMIT = Family("hw_gpu_memory_limit_bytes", Kind.GAUGE, "Memory of the GPU.", "bytes", _GPU)
GPU_MEMORY_UTILIZATION = Family("hw_gpu_memory_utilization_ratio", Kind.GAUGE, "Share of the GPU's memory in use.", "ratio", _GPU)
GPU_TEMPERATURE = Family("hw_temperature_celsius", Kind.GAUGE, "Temperature of the GPU.", "celsius", _GPU)
GPU_POWER = Family("hw_power_watts", Kind.GAUGE, "Power that the GPU draws.", "watts", _GPU)
GPU_POWER_LIMIT = Family("hw_power_limit_watts", Kind.GAUGE, "Power at which the GPU is held back.", "watts", _GPU)
GPU_ERRORS = Family(
    "hw_errors_total",
    Kind.COUNTER,
    "Memory errors of the GPU since its driver was loaded, corrected by ECC or not.",
    "",
    (*_GPU, "error_type"),
)

# --- process: names that prometheus_client's own collectors use, exported where those do not run ----------------------------

PROCESS_CPU = Family("process_cpu_seconds_total", Kind.COUNTER, "Total user and system CPU time spent in seconds.", "seconds")
PROCESS_RESIDENT_MEMORY = Family("process_resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes.", "bytes")
PROCESS_VIRTUAL_MEMORY = Family("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes.", "bytes")
PROCESS_START_TIME = Family(
    "process_start_time_seconds", Kind.GAUGE, "Start time of the process since unix epoch in seconds.", "seconds"
)
PROCESS_OPEN_FDS = Family("process_open_fds", Kind.GAUGE, "Number of open file descriptors.")
PROCESS_MAX_FDS = Family("process_max_fds", Kind.GAUGE, "Maximum number of open file descriptors.")
GC_COLLECTED = Family("python_gc_objects_collected_total", Kind.COUNTER, "Objects collected during gc", "", ("generation",))
GC_UNCOLLECTABLE = Family(
    "python_gc_objects_uncollectable_total", Kind.COUNTER, "Uncollectable objects found during GC", "", ("generation",)
)
GC_COLLECTIONS = Family(
    "python_gc_collections_total", Kind.COUNTER, "Number of times this generation was collected", "", ("generation",)
)

# --- process: what those lack ---------------------------------------------------------------------------------------------

PROCESS_THREADS = Family("process_threads", Kind.GAUGE, "Threads of the process.")
PROCESS_CONTEXT_SWITCHES = Family(
    "process_context_switches_total", Kind.COUNTER, "Context switches of the process.", "", ("process_context_switch_type",)
)
PROCESS_CPU_UTILIZATION = Family(
    "process_cpu_utilization_ratio",
    Kind.GAUGE,
    "CPU time of the process since the reading before, as a share of one core.",
    "ratio",
)

PROCESS_UNIQUE_MEMORY = Family(
    "process_unique_memory_bytes",
    Kind.GAUGE,
    "Memory that no other process shares (USS): what its end would free. Read on demand: it is dear.",
    "bytes",
)
PROCESS_DISK_IO = Family(
    "process_disk_io_bytes_total",
    Kind.COUNTER,
    "Bytes that the process read from and wrote to disks.",
    "bytes",
    ("disk_io_direction",),
)
PROCESS_CHILDREN = Family("process_children", Kind.GAUGE, "Processes below this one, at any depth.")
PROCESS_CHILDREN_CPU = Family(
    "process_children_cpu_seconds_total",
    Kind.COUNTER,
    "CPU time of the processes below this one, those that ended included.",
    "seconds",
)
PROCESS_CHILDREN_RESIDENT_MEMORY = Family(
    "process_children_resident_memory_bytes",
    Kind.GAUGE,
    "Resident memory of the processes below this one; pages that they share count for each.",
    "bytes",
)
PROCESS_CHILDREN_THREADS = Family("process_children_threads", Kind.GAUGE, "Threads of the processes below this one.")
GC_PAUSE = Family(
    "python_gc_pause_seconds",
    Kind.HISTOGRAM,
    "How long garbage collections stopped the interpreter.",
    "seconds",
    ("generation",),
    (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
)
EVENT_LOOP_LAG = Family(
    "python_event_loop_lag_seconds",
    Kind.HISTOGRAM,
    "How long an event loop of asyncio took to come to what was due: the time that blocking code holds it up.",
    "seconds",
    (),
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
EVENT_LOOP_STALL = Family(
    "python_event_loop_stall_seconds",
    Kind.GAUGE,
    "How long an event loop has not come to what is due, now; 0 where none is late.",
    "seconds",
)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""Every family of the machine, in the order of declaration."""
