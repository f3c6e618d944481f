"""What disks and network interfaces carried."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_disks", "read_network"]

_MEMORY_DISKS = re.compile(r"(loop|ram|zram)\d")
_MILLISECONDS = 1e3


def read_disks(sys_root: Path) -> Iterator[Reading]:
    """Read the counters of whole disks: partitions would count everything twice.

    Args:
        sys_root: Where the kernel tells of its devices.
    """
    # not nowrap: rate() knows resets, and psutil's cache for it has a lock that a fork can freeze
    counters = psutil.disk_io_counters(perdisk=True, nowrap=False)
    try:
        whole_disks = {name.replace("!", "/") for name in os.listdir(sys_root / "block")}  # noqa: PTH208 - names are all it takes
    except FileNotFoundError:  # a platform that tells of whole disks alone
        whole_disks = set(counters)
    for device, disk in counters.items():
        if device not in whole_disks or _MEMORY_DISKS.match(device):
            continue
        for direction in ("read", "write"):
            labels = {"system_device": device, "disk_io_direction": direction}
            yield Reading(machine.DISK_IO, getattr(disk, f"{direction}_bytes"), labels)
            yield Reading(machine.DISK_OPERATIONS, getattr(disk, f"{direction}_count"), labels)
            took = getattr(disk, f"{direction}_time", None)
            if took is not None:
                yield Reading(machine.DISK_OPERATION_TIME, took / _MILLISECONDS, labels)
        if hasattr(disk, "busy_time"):
            yield Reading(machine.DISK_IO_TIME, disk.busy_time / _MILLISECONDS, {"system_device": device})


def read_network() -> Iterator[Reading]:
    """Read the counters of network interfaces, those of containers on this host excepted."""
    for interface, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
        if interface.startswith("veth"):  # comes and goes with a container; the bridge has the traffic
            continue
        for direction, io_bytes, packets, errors, dropped in (
            ("receive", counters.bytes_recv, counters.packets_recv, counters.errin, counters.dropin),
            ("transmit", counters.bytes_sent, counters.packets_sent, counters.errout, counters.dropout),
        ):
            labels = {"network_interface_name": interface, "network_io_direction": direction}
            yield Reading(machine.NETWORK_IO, io_bytes, labels)
            yield Reading(machine.NETWORK_PACKETS, packets, labels)
            yield Reading(machine.NETWORK_ERRORS, errors, labels)
            yield Reading(machine.NETWORK_DROPPED, dropped, labels)
