"""Readings of the host: CPU, memory, swap, file systems, disks and network, as psutil sees them.

Names and label values follow the OpenTelemetry semantic conventions for system metrics.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from agentgauge import catalogue
from agentgauge.collectors.readings import Reading, Utilization, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

__all__ = ["HostCollector"]

_CPU_MODES = {  # guest time is missing because user and nice contain it
    "user": "user",
    "nice": "nice",
    "system": "system",
    "idle": "idle",
    "iowait": "iowait",
    "irq": "interrupt",
    "softirq": "interrupt",
    "steal": "steal",
}
_CPU_RESET_SECONDS = 3.0
_IMAGE_TYPES = frozenset({"cramfs", "erofs", "iso9660", "squashfs"})  # full by design
_MEMORY_DISKS = re.compile(r"(loop|ram|zram)\d")
_SYS_BLOCK = Path("/sys/block")


class HostCollector:
    """Reads the host; ``collect()`` must not run twice at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Note the CPU counters, from which the first utilization derives.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._cpu_seconds: dict[str, float] = {}
        self._utilization = Utilization()
        gather("collector_host", (self._read_cpu,))

    def collect(self) -> list[Metric]:
        """Take all readings; one that the host refuses is absent."""
        return gather(
            "collector_host",
            (
                self._read_cpu,
                _read_cores,
                _read_load,
                _read_memory,
                _read_swap,
                _read_filesystems,
                _read_disks,
                _read_network,
            ),
        )

    def _read_cpu(self) -> Iterator[Reading]:
        seconds = dict.fromkeys(_CPU_MODES.values(), 0.0)
        times = psutil.cpu_times()._asdict()
        for field, mode in _CPU_MODES.items():
            seconds[mode] += times.get(field, 0.0)
        for mode, before in self._cpu_seconds.items():
            # idle and iowait run backwards at times (proc(5)), which rate() would take for a restart
            if before - _CPU_RESET_SECONDS < seconds[mode] < before:
                seconds[mode] = before
        self._cpu_seconds = seconds
        for mode, value in seconds.items():
            yield Reading(catalogue.CPU_TIME, value, {"cpu_mode": mode})
        capacity = sum(seconds.values())
        ratio = self._utilization.update(self._clock(), capacity - seconds["idle"] - seconds["iowait"], capacity)
        if ratio is not None:
            yield Reading(catalogue.CPU_UTILIZATION, min(ratio, 1.0), {})


def _read_cores() -> Iterator[Reading]:
    cores = psutil.cpu_count(logical=True)
    if cores is not None:
        yield Reading(catalogue.CPU_CORES, cores, {})


def _read_load() -> Iterator[Reading]:
    families = (catalogue.LOAD_1M, catalogue.LOAD_5M, catalogue.LOAD_15M)
    for family, value in zip(families, os.getloadavg(), strict=True):
        yield Reading(family, value, {})


def _read_memory() -> Iterator[Reading]:
    memory = psutil.virtual_memory()
    states = {state: getattr(memory, state) for state in ("free", "buffers", "cached") if hasattr(memory, state)}
    states["used"] = memory.total - sum(states.values())  # the states add up to the limit, as the conventions want it
    for state, value in states.items():
        if value >= 0:
            yield Reading(catalogue.MEMORY_USAGE_HOST, value, {"system_memory_state": state})
    yield Reading(catalogue.MEMORY_LIMIT, memory.total, {})
    yield Reading(catalogue.MEMORY_UTILIZATION, 1 - memory.available / memory.total, {})


def _read_swap() -> Iterator[Reading]:
    swap = psutil.swap_memory()
    for state, value in (("used", swap.used), ("free", swap.free)):
        yield Reading(catalogue.PAGING_USAGE, value, {"system_paging_state": state})


def _read_filesystems() -> Iterator[Reading]:
    measured_devices = set()
    for mountpoint, (device, kind) in sorted(_find_mounts().items()):
        # a device may be mounted in many places; a file that is bind-mounted, as containers do, is none of them
        if device in measured_devices or kind in _IMAGE_TYPES or not Path(mountpoint).is_dir():
            continue
        try:
            usage = psutil.disk_usage(mountpoint)
        except OSError:
            continue
        usable = usage.used + usage.free  # less than the total by what is reserved for root; df divides by this too
        if not usable:
            continue
        measured_devices.add(device)
        labels = {"system_device": device, "system_filesystem_mountpoint": mountpoint, "system_filesystem_type": kind}
        states = {"used": usage.used, "free": usage.free, "reserved": usage.total - usable}
        for state, value in states.items():
            yield Reading(catalogue.FILESYSTEM_USAGE, value, {**labels, "system_filesystem_state": state})
        yield Reading(catalogue.FILESYSTEM_UTILIZATION, usage.used / usable, labels)


def _find_mounts() -> dict[str, tuple[str, str]]:
    """Map mount points to device and type: real devices, which cannot hang as a network's do, and ``/`` whatever it is."""
    mounts = {part.mountpoint: (part.device, part.fstype) for part in psutil.disk_partitions(all=False)}
    if "/" not in mounts:  # a container's root is an overlay
        roots = [(part.device, part.fstype) for part in psutil.disk_partitions(all=True) if part.mountpoint == "/"]
        mounts["/"] = roots[-1] if roots else ("", "")
    return mounts


def _read_disks() -> Iterator[Reading]:
    # not nowrap: rate() knows resets, and psutil's cache for it has a lock that a fork can freeze
    counters = psutil.disk_io_counters(perdisk=True, nowrap=False)
    whole_disks = {entry.name.replace("!", "/") for entry in _SYS_BLOCK.iterdir()} if _SYS_BLOCK.is_dir() else set(counters)
    for device, disk in counters.items():
        if device not in whole_disks or _MEMORY_DISKS.match(device):  # partitions would count everything twice
            continue
        for direction in ("read", "write"):
            labels = {"system_device": device, "disk_io_direction": direction}
            yield Reading(catalogue.DISK_IO, getattr(disk, f"{direction}_bytes"), labels)
            yield Reading(catalogue.DISK_OPERATIONS, getattr(disk, f"{direction}_count"), labels)
        if hasattr(disk, "busy_time"):
            yield Reading(catalogue.DISK_IO_TIME, disk.busy_time / 1000, {"system_device": device})


def _read_network() -> Iterator[Reading]:
    for interface, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
        if interface.startswith("veth"):  # comes and goes with a container; the bridge has the traffic
            continue
        for direction, io_bytes, packets, errors, dropped in (
            ("receive", counters.bytes_recv, counters.packets_recv, counters.errin, counters.dropin),
            ("transmit", counters.bytes_sent, counters.packets_sent, counters.errout, counters.dropout),
        ):
            labels = {"network_interface_name": interface, "network_io_direction": direction}
            yield Reading(catalogue.NETWORK_IO, io_bytes, labels)
            yield Reading(catalogue.NETWORK_PACKETS, packets, labels)
            yield Reading(catalogue.NETWORK_ERRORS, errors, labels)
            yield Reading(catalogue.NETWORK_DROPPED, dropped, labels)
