"""What the kernel tells of itself: how long tasks wait for resources, when it was started, how long it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, read_proc

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_boot", "read_pressure", "read_uptime"]

_RESOURCES = ("cpu", "memory", "io")
_MICROSECONDS = 1e6


def read_pressure() -> Iterator[Reading]:
    """Read pressure stall information; absent where the kernel keeps none, or is told not to (``psi=0``)."""
    for resource in _RESOURCES if psutil.LINUX else ():
        try:
            text = read_proc(f"pressure/{resource}")
        except OSError:
            continue
        for line in text.splitlines():
            kind, *fields = line.split()
            if (resource, kind) == ("cpu", "full"):  # never known of a whole host: kernels that show the line show 0
                continue
            total = dict(field.split("=") for field in fields)["total"]
            labels = {"pressure_resource": resource, "pressure_kind": kind}
            yield Reading(machine.PRESSURE, int(total) / _MICROSECONDS, labels)


def read_boot() -> Iterator[Reading]:
    """Read when the host was started: it moves when the clock of the host is set."""
    yield Reading(machine.BOOT_TIME, psutil.boot_time(), {})


def read_uptime() -> Iterator[Reading]:
    """Read how long the host has been running, time asleep included."""
    seconds = float(read_proc("uptime").split()[0]) if psutil.LINUX else time.time() - psutil.boot_time()
    yield Reading(machine.UPTIME, seconds, {})
