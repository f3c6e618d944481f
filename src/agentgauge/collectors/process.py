"""Readings of this process, of the interpreter in it, and of the processes below it."""

from __future__ import annotations

import gc
import math
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.children import Children
from agentgauge.collectors.event_loops import EventLoops
from agentgauge.collectors.garbage import GarbagePauses
from agentgauge.collectors.readings import Reading, Utilization, gather
from agentgauge.collectors.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

__all__ = ["ProcessCollector", "UniqueMemoryCollector"]

_DESCRIPTORS = Path("/proc/self/fd")
_DESCRIPTOR_TOLERANCE = 8  # other threads may open files between two looks


class ProcessCollector:
    """Reads the process it runs in, also after a fork; ``collect()`` must not run twice at once."""

    def __init__(self, owned_names: frozenset[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Note the CPU time, from which the first utilization derives, and begin to watch garbage collections and event loops.

        Args:
            owned_names: Names that the registry already has from others; families of these names are left out.
            clock: Seconds that never go back.
        """
        self._owned_names = owned_names
        self._clock = clock
        self._is_closed = False
        self._attach()

    def _attach(self) -> None:
        self._process = psutil.Process()
        self._has_cheap_descriptor_count: bool | None = None
        self._utilization = Utilization()
        now = self._clock()
        self._utilization.update(now, time.process_time(), now)
        self._children = Children(self._process.pid)
        self._loops = EventLoops()
        self._garbage = GarbagePauses()
        self._sampler = Sampler(self._look)
        self._sampler.start()

    def _look(self, due: float) -> None:
        try:
            self._loops.probe(due)
        finally:  # neither costs the other
            self._garbage.fold()

    def collect(self) -> list[Metric]:
        """Take all readings; one that the system refuses is absent."""
        if self._process.pid != os.getpid() and not self._is_closed:
            self._attach()
        readers: list[Callable[[], Iterator[Reading]]] = [
            self._read_cpu,
            self._read_memory,
            self._read_start,
            self._read_threads,
            self._read_disk_io,
            _read_descriptor_limit,
            _read_context_switches,
            _read_garbage_collection,
            self._children.read,
            self._loops.read_stall,
        ]
        if machine.PROCESS_OPEN_FDS.name not in self._owned_names:  # the one that may be dear
            readers.append(self._read_open_descriptors)
        metrics = gather("collector_process", readers)
        metrics += [self._garbage.read(), *self._loops.read_lag()]
        return [metric for metric in metrics if self._owned_names.isdisjoint((metric.name, metric.samples[0].name))]

    def close(self) -> None:
        """Watch garbage collections and event loops no more."""
        self._is_closed = True
        self._sampler.close()
        self._garbage.close()

    def _read_cpu(self) -> Iterator[Reading]:
        seconds = time.process_time()
        yield Reading(machine.PROCESS_CPU, seconds, {})
        now = self._clock()
        ratio = self._utilization.update(now, seconds, now)
        if ratio is not None:
            yield Reading(machine.PROCESS_CPU_UTILIZATION, ratio, {})

    def _read_memory(self) -> Iterator[Reading]:
        memory = self._process.memory_info()
        yield Reading(machine.PROCESS_RESIDENT_MEMORY, memory.rss, {})
        yield Reading(machine.PROCESS_VIRTUAL_MEMORY, memory.vms, {})

    def _read_start(self) -> Iterator[Reading]:
        yield Reading(machine.PROCESS_START_TIME, self._process.create_time(), {})

    def _read_threads(self) -> Iterator[Reading]:
        yield Reading(machine.PROCESS_THREADS, self._process.num_threads(), {})

    def _read_disk_io(self) -> Iterator[Reading]:
        if not hasattr(self._process, "io_counters"):  # macOS does not tell
            return
        io = self._process.io_counters()
        for direction, transferred in (("read", io.read_bytes), ("write", io.write_bytes)):
            yield Reading(machine.PROCESS_DISK_IO, transferred, {"disk_io_direction": direction})

    def _read_open_descriptors(self) -> Iterator[Reading]:
        # Linux from 6.2 on tells the number as the folder's size; listing thousands of them takes milliseconds
        if self._has_cheap_descriptor_count is None:
            size = _size_of_descriptor_folder()
            self._has_cheap_descriptor_count = size > 0 and abs(self._process.num_fds() - size) <= _DESCRIPTOR_TOLERANCE
        count = _size_of_descriptor_folder() if self._has_cheap_descriptor_count else self._process.num_fds()
        yield Reading(machine.PROCESS_OPEN_FDS, count, {})


def _size_of_descriptor_folder() -> int:
    try:
        return _DESCRIPTORS.stat().st_size
    except OSError:
        return 0


def _read_descriptor_limit() -> Iterator[Reading]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Reading(machine.PROCESS_MAX_FDS, math.inf if limit == resource.RLIM_INFINITY else limit, {})


def _read_context_switches() -> Iterator[Reading]:
    usage = resource.getrusage(resource.RUSAGE_SELF)  # psutil counts those of the main thread alone
    for kind, count in (("voluntary", usage.ru_nvcsw), ("involuntary", usage.ru_nivcsw)):
        yield Reading(machine.PROCESS_CONTEXT_SWITCHES, count, {"process_context_switch_type": kind})


def _read_garbage_collection() -> Iterator[Reading]:
    for generation, statistics in enumerate(gc.get_stats()):
        labels = {"generation": str(generation)}
        yield Reading(machine.GC_COLLECTED, statistics["collected"], labels)
        yield Reading(machine.GC_UNCOLLECTABLE, statistics["uncollectable"], labels)
        yield Reading(machine.GC_COLLECTIONS, statistics["collections"], labels)


class UniqueMemoryCollector:
    """Reads what the end of this process would free, which takes the kernel milliseconds for every gigabyte."""

    def collect(self) -> list[Metric]:
        """Take the reading; where the system refuses it, it is absent."""
        return gather("collector_unique_memory", (_read_unique_memory,))


def _read_unique_memory() -> Iterator[Reading]:
    yield Reading(machine.PROCESS_UNIQUE_MEMORY, psutil.Process().memory_full_info().uss, {})
