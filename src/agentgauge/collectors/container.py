"""Readings of the container: what its control groups let it use, what it uses, and how often they held it back.

Where no control group sets a limit, the container's limit is the host.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.cgroup import (
    Cgroups,
    Source,
    read_cpu_set,
    read_fields,
    read_limit,
    read_number,
    read_quota,
    smallest,
    unless_unlimited,
)
from agentgauge.collectors.host_memory import read_capacity
from agentgauge.collectors.readings import Reading, Utilization, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from agentgauge.catalogue import Family
    from agentgauge.collectors.cgroup import Hierarchy

__all__ = ["ContainerCollector"]

_CPU_SETS = {Source.CGROUP_V2: ("cpuset.cpus.effective",), Source.CGROUP_V1: ("cpuset.effective_cpus", "cpuset.cpus")}
_TICKS_PER_SECOND = 100.0  # USER_HZ, which programs see as this on every architecture of today


@dataclass(frozen=True, slots=True)
class _Memory:
    """What one version calls things.

    ``memory.high`` is no limit here: it slows a container down but ends nothing, and a container may well exceed it.
    """

    limit: str
    usage: str
    reclaimable: str
    events: str


_MEMORY = {
    Source.CGROUP_V2: _Memory("memory.max", "memory.current", "inactive_file", "memory.events"),
    Source.CGROUP_V1: _Memory("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"),
}
_MEMORY[Source.HOST] = _MEMORY[Source.CGROUP_V2]  # there is no folder to look for them in


class ContainerCollector:
    """Reads the control groups of the process it runs in, also after a fork; ``collect()`` must not run twice at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, proc: Path = Path("/proc/self")) -> None:
        """Note the CPU time, from which the first utilization derives.

        Args:
            clock: Seconds that never go back.
            proc: The folder of the process.
        """
        self._clock = clock
        self._cgroups = Cgroups(proc)
        self._cpu_folder: Path | None = None
        self._start_utilization()
        gather("collector_container", (self._read_cpu,))

    def collect(self) -> list[Metric]:
        """Take all readings; what is refused or out of sight is absent."""
        self._cgroups.refresh()
        return gather("collector_container", (self._read_cpu, self._read_memory, self._read_pids))

    def _start_utilization(self) -> None:
        self._utilization = Utilization()
        self._capacity_seconds = 0.0
        self._measured_until = self._clock()

    def _read_cpu(self) -> Iterator[Reading]:
        limit = None
        hierarchy = self._cgroups.find("cpu")
        if hierarchy is not None:
            quotas = [read_quota(folder, hierarchy.source) for folder in hierarchy.folders]
            limit, source = _with_host(smallest((*quotas, self._count_cpu_set())), hierarchy.source, psutil.cpu_count())
            yield from _known(machine.CONTAINER_CPU_LIMIT, limit, source=source.value)
            yield from _read_throttling(hierarchy, quotas)
        folder, seconds, total = _read_cpu_seconds(self._cgroups.find("cpuacct"))
        for mode, value in seconds.items():
            yield from _known(machine.CONTAINER_CPU_TIME, value, cpu_mode=mode)
        if folder != self._cpu_folder:  # what another group used before says nothing about this one
            self._cpu_folder = folder
            self._start_utilization()
        yield from _known(machine.CONTAINER_CPU_UTILIZATION, self._relate(total, limit))

    def _count_cpu_set(self) -> float | None:
        hierarchy = self._cgroups.find("cpuset")
        if hierarchy is None:
            return None
        for file in _CPU_SETS.get(hierarchy.source, ()):
            folder = hierarchy.nearest(file)
            if folder is not None:
                return read_cpu_set(folder / file)
        return math.inf

    def _relate(self, used: float | None, limit: float | None) -> float | None:
        if used is None or not limit:
            self._start_utilization()
            return None
        now = self._clock()
        # added up, since a limit may be changed while the container runs
        self._capacity_seconds += limit * (now - self._measured_until)
        self._measured_until = now
        return self._utilization.update(now, used, self._capacity_seconds)

    def _read_memory(self) -> Iterator[Reading]:
        hierarchy = self._cgroups.find("memory")
        if hierarchy is None:
            return
        files = _MEMORY[hierarchy.source]
        host_total, host_available = _host_memory()
        limits = [read_limit(folder / files.limit) for folder in hierarchy.folders]
        beyond = _limit_beyond_sight(hierarchy)
        limit, source = _with_host(smallest((*limits, beyond)), hierarchy.source, host_total)
        yield from _known(machine.CONTAINER_MEMORY_LIMIT, limit, source=source.value)

        rooms: list[float | None] = [host_available]
        for folder, level in zip(hierarchy.folders, limits, strict=True):
            if level != math.inf:
                taken = _working_set(folder, files)
                rooms.append(None if level is None or taken is None else max(0.0, level - taken))
        if beyond >= (smallest(limits) or 0.0):  # else the group that sets it has neighbours that we cannot see
            yield from _known(machine.CONTAINER_MEMORY_AVAILABLE, smallest(rooms))

        own = hierarchy.nearest(files.usage)
        if own is None:
            return
        working_set = _working_set(own, files)
        yield from _known(machine.CONTAINER_MEMORY_USAGE, read_number(own / files.usage))
        yield from _known(machine.CONTAINER_MEMORY_WORKING_SET, working_set)
        if working_set is not None and limit:
            yield Reading(machine.CONTAINER_MEMORY_UTILIZATION, working_set / limit, {})
        yield from _known(machine.CONTAINER_OOM_KILLS, read_fields(own / files.events, "oom_kill").get("oom_kill"))

    def _read_pids(self) -> Iterator[Reading]:
        hierarchy = self._cgroups.find("pids")
        if hierarchy is None:
            return
        limit = smallest(read_limit(folder / "pids.max") for folder in hierarchy.folders)
        if limit != math.inf:
            yield from _known(machine.CONTAINER_PIDS_LIMIT, limit)
        folder = hierarchy.nearest("pids.current")
        if folder is not None:
            yield from _known(machine.CONTAINER_PIDS, read_number(folder / "pids.current"))


def _read_throttling(hierarchy: Hierarchy, quotas: list[float | None]) -> Iterator[Reading]:
    """Read how the smallest quota was enforced: a group that another one above it holds back has nothing to say of it."""
    if not quotas or None in quotas:
        return
    known = [math.inf if quota is None else quota for quota in quotas]
    key, scale = ("throttled_usec", 1e6) if hierarchy.source is Source.CGROUP_V2 else ("throttled_time", 1e9)
    statistics = read_fields(hierarchy.folders[known.index(min(known))] / "cpu.stat", "nr_periods", "nr_throttled", key)
    yield from _known(machine.CONTAINER_CPU_PERIODS, statistics.get("nr_periods"))
    yield from _known(machine.CONTAINER_CPU_THROTTLED_PERIODS, statistics.get("nr_throttled"))
    if key in statistics:
        yield Reading(machine.CONTAINER_CPU_THROTTLED_TIME, statistics[key] / scale, {})


def _read_cpu_seconds(hierarchy: Hierarchy | None) -> tuple[Path | None, dict[str, float], float | None]:
    """Read what CPU time was used: the group that counts it, the time by mode, and all of it."""
    file, scale, fields = "cpuacct.stat", _TICKS_PER_SECOND, {"user": "user", "system": "system"}
    if hierarchy is not None and hierarchy.source is Source.CGROUP_V2:
        file, scale, fields = "cpu.stat", 1e6, {"user": "user_usec", "system": "system_usec"}
    folder = None if hierarchy is None else hierarchy.nearest(file)
    if folder is None:
        return None, {}, None
    statistics = read_fields(folder / file, *fields.values())
    seconds = {mode: statistics[field] / scale for mode, field in fields.items() if field in statistics}
    return folder, seconds, sum(seconds.values()) if len(seconds) == len(fields) else None


def _limit_beyond_sight(hierarchy: Hierarchy) -> float:
    """Read the smallest limit above this group, including those that its container's own view of the tree leaves out.

    Only version 1 tells.
    """
    if hierarchy.source is not Source.CGROUP_V1:
        return math.inf
    name = "hierarchical_memory_limit"
    return unless_unlimited(read_fields(hierarchy.folders[0] / "memory.stat", name).get(name, math.inf))


def _host_memory() -> tuple[float | None, float | None]:
    try:
        return read_capacity()
    except (OSError, psutil.Error, NotImplementedError):  # which is no reason to be silent on the container's own
        return None, None


def _working_set(folder: Path, files: _Memory) -> float | None:
    usage = read_number(folder / files.usage)
    reclaimable = read_fields(folder / "memory.stat", files.reclaimable).get(files.reclaimable)
    return None if usage is None or reclaimable is None else max(0.0, usage - reclaimable)


def _with_host(limit: float | None, source: Source, host: float | None) -> tuple[float | None, Source]:
    """Set a limit against what the host has: a container may be promised more than there is."""
    if limit is None or host is None:
        return (None if limit == math.inf else limit), source
    return (limit, source) if limit < host else (host, Source.HOST)


def _known(family: Family, value: float | None, **labels: str) -> Iterator[Reading]:
    if value is not None:
        yield Reading(family, value, labels)
