"""Readings of the host: CPU, memory, swap, file systems, disks, network, pressure and uptime.

Names and label values follow the OpenTelemetry semantic conventions for system metrics. What Linux tells in ``/proc`` is read
from there, where that says more than psutil does; the folder is psutil's ``PROCFS_PATH``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.collectors.host_cpu import Cpus, read_cores, read_load
from agentgauge.collectors.host_devices import read_disks
from agentgauge.collectors.host_filesystems import read_filesystems
from agentgauge.collectors.host_kernel import read_boot, read_pressure, read_uptime
from agentgauge.collectors.host_memory import read_memory
from agentgauge.collectors.host_network import Network
from agentgauge.collectors.mount_probe import MountProbe
from agentgauge.collectors.readings import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from agentgauge.collectors.readings import Reading

__all__ = ["HostCollector"]

_SYS = Path("/sys")


class HostCollector:
    """Reads the host; ``collect()`` must not run twice at once."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sys_root: Path = _SYS, probe: MountProbe | None = None
    ) -> None:
        """Note the CPU counters, from which the first utilization derives.

        Args:
            clock: Seconds that never go back.
            sys_root: Where the kernel tells of its devices.
            probe: What asks file systems for their space; one with the usual patience where there is none.
        """
        self._cpus = Cpus(clock)
        self._sys_root = sys_root
        self._network = Network(sys_root)
        self._probe = probe or MountProbe()
        gather("collector_host", (self._cpus.read,))

    def collect(self) -> list[Metric]:
        """Take all readings; one that the host refuses is absent."""
        return gather(
            "collector_host",
            (
                self._cpus.read,
                read_cores,
                read_load,
                read_memory,
                self._read_disks,
                self._network.read,
                read_pressure,
                read_boot,
                read_uptime,
                self._read_filesystems,  # last, since only these may keep it waiting
            ),
        )

    def _read_disks(self) -> Iterator[Reading]:
        return read_disks(self._sys_root)

    def _read_filesystems(self) -> Iterator[Reading]:
        return read_filesystems(self._probe)
