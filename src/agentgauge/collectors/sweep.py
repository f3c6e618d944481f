"""One reading of every collector within one deadline, so that none of them can hold up a scrape."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.catalogue import COLLECTOR_DURATION, COLLECTOR_SUCCESS
from agentgauge.collectors.readings import Reading, gather
from agentgauge.errors import contain_internal_errors, report_internal_error
from agentgauge.fork_gate import process_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

__all__ = ["Sweep"]

_JOIN_SECONDS = 1.0
_TURN_SECONDS = 0.01  # one after the other, while none hangs: all at once they would spend as much again on the GIL
_FRESH_SECONDS = 1.0


@dataclass(slots=True)
class _Run:
    """One run of one collector: until ``deadline`` scrapes wait for it, until ``stale`` they take what it found."""

    deadline: float
    stale: float
    done: threading.Event = field(default_factory=threading.Event)
    metrics: list[Metric] | None = None


class _Worker:
    """The thread of one collector, which runs it once at a time."""

    def __init__(self, name: str, collector: Collector, clock: Callable[[], float], fresh_seconds: float) -> None:
        self.duration_seconds: float | None = None
        self._name = name
        self._collector = collector
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._lock = threading.RLock()  # a signal handler may close what it interrupts
        self._runs: SimpleQueue[_Run | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._run: _Run | None = None
        self._is_closed = False

    def request(self, deadline: float) -> _Run | None:
        """Start a run, or share the one that is in progress or still fresh; ``None`` if it is late or no thread can be had."""
        with self._lock:
            now = self._clock()
            if self._run is not None and not self._run.done.is_set():
                return self._run if now < self._run.deadline else None
            if self._is_closed:
                return None
            if self._run is not None and now < self._run.stale:
                return self._run
            if sys.is_finalizing() or not self._has_thread():  # threads of a dying interpreter hang
                return None
            self._run = _Run(deadline, now + self._fresh_seconds)
            self._runs.put(self._run)
            return self._run

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=f"agentgauge-collector-{self._name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is about to exit, or the system has no thread left
                return False
            self._thread = thread
        return True

    def _work(self) -> None:
        run = None
        try:
            while (run := self._runs.get()) is not None:
                self._execute(run)
                run.done.set()
        finally:
            self._thread = None  # before the run is done: whatever ended this thread, the next scrape starts another
            if run is not None:
                run.done.set()

    def _execute(self, run: _Run) -> None:
        started = self._clock()
        try:
            run.metrics = list(self._collector.collect())
        except Exception as error:  # noqa: BLE001 - a collector may raise anything, and it costs only itself
            report_internal_error(f"collector_{self._name}", error, getattr(self._collector, "fault", None))
        finally:
            self.duration_seconds = self._clock() - started

    def close(self) -> None:
        """End the thread, at once if it is idle and after its run if not, and start no other."""
        with self._lock:
            self._is_closed = True
            self._runs.put(None)
            thread = self._thread
            is_idle = self._run is None or self._run.done.is_set()
        if thread is not None and is_idle:
            thread.join(_JOIN_SECONDS)


class Sweep:
    """The one collector that is registered: it runs all others, each in a thread of its own, in turn while none is slow.

    Threads start with the first scrape and are kept. Scrapes within a second of each other share a run, so that a second
    Prometheus, or a person who reloads the page, costs no second run.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        timeout_seconds: float,
        clock: Callable[[], float] = time.perf_counter,
        fresh_seconds: float = _FRESH_SECONDS,
    ) -> None:
        """Start nothing yet.

        Args:
            collectors: The collectors by name.
            timeout_seconds: How long one scrape waits for all of them.
            clock: Seconds that never go back.
            fresh_seconds: How long after its start a run is still shown.
        """
        self._collectors = dict(collectors)
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._workers_by_process: dict[tuple[int, int], dict[str, _Worker]] = {}
        self._closed = threading.Event()

    def describe(self) -> list[Metric]:
        """Declare nothing, so that registering reads nothing and a family's first owner keeps it."""
        return []

    def collect(self) -> list[Metric]:
        """Read every collector; those that fail or are late are missing, and ``agentgauge_collector_success`` says so."""
        metrics: list[Metric] = []
        with contain_internal_errors("sweep"):
            metrics += self.begin()()
        return metrics

    def begin(self) -> Callable[[], list[Metric]]:
        """Start a run of every collector, and return what waits for them, so that several sweeps can be waited for together."""
        deadline = self._clock() + self._timeout_seconds
        workers = self._workers()
        runs = {}
        for name, worker in workers.items():
            run = runs[name] = worker.request(deadline)
            if run is not None:
                run.done.wait(_TURN_SECONDS)
        return partial(_finish, workers, runs, self._clock)

    def _workers(self) -> dict[str, _Worker]:
        # a fork leaves the child no threads, and maybe locks that nobody will release, so each process has workers of its own
        process = process_mark()
        workers = self._workers_by_process.get(process)
        if workers is None and not self._closed.is_set():
            fresh = {
                name: _Worker(name, collector, self._clock, self._fresh_seconds) for name, collector in self._collectors.items()
            }
            workers = self._workers_by_process.setdefault(process, fresh)  # atomic: two first scrapes get the same
            if self._closed.is_set():  # meanwhile, and close() may have looked before these were there
                self.close()
        return workers or {}

    def close(self) -> None:
        """End the threads of this process, each as soon as it is idle; later scrapes find no readings."""
        self._closed.set()
        for worker in self._workers_by_process.get(process_mark(), {}).values():
            worker.close()
        for collector in self._collectors.values():
            with contain_internal_errors("sweep"):
                getattr(collector, "close", _do_nothing)()  # some watch between scrapes, too


def _do_nothing() -> None:
    pass


def _finish(workers: Mapping[str, _Worker], runs: Mapping[str, _Run | None], clock: Callable[[], float]) -> list[Metric]:
    metrics: list[Metric] = []
    successful = set()
    for name, run in runs.items():
        if run is not None and run.done.wait(max(0.0, run.deadline - clock())) and run.metrics is not None:
            successful.add(name)
            metrics += run.metrics
    return metrics + gather("sweep", (lambda: _observe(workers, successful),))


def _observe(workers: Mapping[str, _Worker], successful: Container[str]) -> Iterator[Reading]:
    for name, worker in workers.items():
        yield Reading(COLLECTOR_SUCCESS, float(name in successful), {"collector": name})
        if worker.duration_seconds is not None:
            yield Reading(COLLECTOR_DURATION, worker.duration_seconds, {"collector": name})
