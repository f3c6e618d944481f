"""Readings of this process, of the interpreter in it, and of the processes below it."""

from __future__ import annotations

import gc
import math
import resource
import time
from typing import TYPE_CHECKING

from agentgauge.catalogue import machine
from agentgauge.collectors.children import Children
from agentgauge.collectors.event_loops import EventLoops
from agentgauge.collectors.garbage import GarbagePauses
from agentgauge.collectors.own_process import OwnProcess, read_unique_memory
from agentgauge.collectors.readings import Reading, Utilization, gather
from agentgauge.collectors.sampler import Sampler
from agentgauge.fork_gate import process_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

__all__ = ["ProcessCollector", "UniqueMemoryCollector"]


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
        self._mark = process_mark()
        self._process = OwnProcess()
        self._utilization = Utilization()
        now = self._clock()
        self._utilization.update(now, time.process_time(), now)
        self._children = Children()
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
        if self._mark != process_mark() and not self._is_closed:
            self._attach()
        readers: list[Callable[[], Iterator[Reading]]] = [
            self._read_cpu,
            self._process.read_memory,
            self._process.read_start,
            self._process.read_threads,
            self._process.read_disk_io,
            _read_descriptor_limit,
            _read_context_switches,
            _read_garbage_collection,
            self._children.read,
            self._loops.read_stall,
        ]
        if machine.PROCESS_OPEN_FDS.name not in self._owned_names:  # the one that may be dear
            readers.append(self._process.read_open_descriptors)
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
        return gather("collector_unique_memory", (read_unique_memory,))
