"""What disks carried."""

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

__all__ = ["read_disks"]

_MEMORY_DISKS = re.compile(r"(loop|ram|zram)\d")
_MILLISECONDS = 1e3


def read_disks(sys_root: Path) -> Iterator[Reading]:
    """Read the counters of whole disks that lie on no others: partitions, LVM, dm-crypt and RAID would count everything twice.

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
        if device not in whole_disks or _MEMORY_DISKS.match(device) or _lies_on_others(sys_root, device):
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


def _lies_on_others(sys_root: Path, device: str) -> bool:
    try:
        return bool(os.listdir(sys_root / "block" / device.replace("/", "!") / "slaves"))  # noqa: PTH208 - as above
    except OSError:
        return False
