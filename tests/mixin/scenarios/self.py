"""Programs that are down, or in which agentgauge itself is in trouble, and servers that are.

A version of agentgauge is part of some series: ``make cases`` writes them anew with each release.
"""

from __future__ import annotations

import asyncio
import time
from threading import Event
from typing import TYPE_CHECKING
from unittest.mock import patch

from agentgauge import Threshold, catalogue
from agentgauge.collectors.sweep import Sweep
from agentgauge.errors import report_internal_error
from agentgauge.recording import recorder as recording
from agentgauge.recording.default import default_recorder
from agentgauge.system_metrics import SystemMetricsManager
from recorded_pages import FOLDER, RecordedPages
from scenarios.acts import ask, perform
from scenarios.acts_self import Deployments, OtherProgram, clocks_stand_still, own_process
from virtual_time import DOWN, Process, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from agentgauge.testing import FakeClock
    from capture import Target

SERIES_LIMIT = 20
HARD_LIMIT = recording.SOFT_LIMIT // 2
"""Of the buffer, instead of 65,536 calls that each would have to be made."""
TIMEOUT_SECONDS, A_MINUTE, A_DAY = 5.0, 60.0, 86_400.0
PATIENCE_SECONDS = 60
SCRAPE_DURATION = "agentgauge_scrape_duration_seconds"
NO_LIMITS = {"thresholds": ()}


def _answers(count: int, then_down: int = 0, about: str = "") -> Callable[[Process], Iterator[str | None]]:
    def work(_process: Process) -> Iterator[str | None]:
        for _ in range(count):
            yield
        for _ in range(then_down):
            yield DOWN

    work.__doc__ = about
    return work


def _scrapes(job: str, instance: str, count: int, then_down: int = 0, about: str = "") -> Program:
    return Program(_answers(count, then_down, about), job, instance)


def is_down_twice(_process: Process) -> Iterator[str | None]:
    """Two scrapes fail."""
    for minute in range(18):
        yield DOWN if minute in {6, 7} else None


def has_many_names(_process: Process) -> Iterator[None]:
    """It may have 20 names of a kind. Of models it had more at first; for forty minutes each minute brings a new task."""
    for number in range(SERIES_LIMIT + 7):
        ask(f"model {number}")
    for number in range(SERIES_LIMIT):
        perform("", f"question {number}")
    for minute in range(241):
        if 20 < minute <= 60:
            perform("", f"question {SERIES_LIMIT + minute}")
        yield


def faults_come(process: Process) -> Iterator[None]:
    """Two faults come when calls are counted, and one at a place where there was none before."""
    for minute in range(121):
        if minute == 21:
            report_internal_error("stop", ValueError("planted"))
        if minute in {21, 22}:
            process.isolation.recorder.observe(None, (), 1)  # type: ignore[arg-type]  # which is the fault
        yield


def costs_cpu(process: Process, before: tuple[float, float], after: tuple[float, float]) -> Iterator[None]:
    """Use CPU time each minute, of all and for each of two parts of measuring it: for an hour, and then."""
    with clocks_stand_still(), own_process(process) as kernel:
        used = 0.0
        for minute in range(121):
            cpu, overhead = before if minute <= 60 else after
            used += cpu
            kernel.use_cpu(used)
            for part in ("recording", "exposition"):
                process.isolation.recorder.note_overhead(part, overhead)
            yield


def measures_much(process: Process) -> Iterator[None]:
    """A tenth of the CPU time of a busy program goes into measuring it, for an hour."""
    yield from costs_cpu(process, (30, 1.5), (30, 0.125))


def measures_little(process: Process) -> Iterator[None]:
    """An eighth of what goes into measuring it, of a program that hardly does anything else."""
    yield from costs_cpu(process, (0.5, 0.03125), (0.5, 0.03125))


def measures(process: Process) -> Iterator[None]:
    """A sixtieth of a busy program."""
    yield from costs_cpu(process, (30, 0.25), (30, 0.25))


class SlowReadings:
    """A collector of the user's, which takes its time."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        self.seconds = 0.0
        self._pass_time = pass_time

    def collect(self) -> Iterable[Metric]:
        """Find nothing."""
        self._pass_time(self.seconds)
        return ()


def takes_seconds(process: Process, seconds_by_minute: Callable[[int], float]) -> Iterator[None]:
    """Let each scrape take so many seconds."""
    with clocks_stand_still() as clock:
        readings = SlowReadings(clock.advance)
        process.isolation.registry.register(readings)
        for minute in range(121):
            readings.seconds = seconds_by_minute(minute)
            yield


def is_slow(process: Process) -> Iterator[None]:
    """For an hour its scrapes take two seconds."""
    yield from takes_seconds(process, lambda minute: 2 if minute <= 60 else 0.125)


def is_slow_once(process: Process) -> Iterator[None]:
    """One of its scrapes takes eight seconds."""
    yield from takes_seconds(process, lambda minute: 8 if minute == 30 else 0.125)


def may_be_slow(process: Process) -> Iterator[None]:
    """Its scrapes take two seconds, and may take five."""
    yield from takes_seconds(process, lambda _: 2)


def drop(process: Process, calls: int) -> None:
    """Interrupt the drain by what makes more calls than the buffer holds, and so many more, which are dropped."""
    with patch.object(recording, "HARD_LIMIT", HARD_LIMIT), process.isolation.recorder.lock:
        perform("", "read", times=recording.SOFT_LIMIT + calls)


def drops_calls(process: Process) -> Iterator[None]:
    """Fifty calls come while its buffer is full."""
    for minute in range(91):
        if minute == 21:
            drop(process, 50)
        yield


def dropped_calls(process: Process) -> Iterator[None]:
    """Nine calls came while its buffer was full, long ago."""
    drop(process, 9)
    for _ in range(91):
        yield


class Readings:
    """A collector that fails when told to, or takes too long until it is told to end."""

    def __init__(self, clock: FakeClock) -> None:
        self.fails = False
        self.may_end = Event()
        self.may_end.set()
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Find nothing."""
        if self.fails:
            raise OSError("planted")
        if not self.may_end.is_set():
            self._clock.advance(2 * TIMEOUT_SECONDS)
            self.may_end.wait()
        return ()


def cannot_be_read(process: Process) -> Iterator[None]:
    """The collector "host" fails for half an hour; each ninth time "process" is late."""
    host, own = Readings(process.clock), Readings(process.clock)
    sweep = Sweep({"host": host, "process": own}, TIMEOUT_SECONDS, process.clock)
    process.isolation.registry.register(sweep)
    try:
        for minute in range(91):
            host.fails = 20 < minute <= 50
            if not own.may_end.is_set():
                own.may_end.set()
                _await(sweep, "process")
            if minute % 9 == 8:
                own.may_end.clear()
            yield
    finally:
        own.may_end.set()
        sweep.close()


def _await(sweep: Sweep, name: str) -> None:
    """Wait until a collector that was late has come to its end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(
        sample.value == 1 and sample.labels == {"collector": name} for metric in sweep.collect() for sample in metric.samples
    ):
        assert time.monotonic() < deadline, f"the collector {name!r} does not come to its end"


def loses_a_framework(_process: Process) -> Iterator[None]:
    """LangChain is left again for half an hour; DSPy is measured all the time."""
    _note_instrumentor("dspy", is_active=True)
    for minute in range(91):
        _note_instrumentor("langchain", is_active=not 20 < minute <= 50)
        yield


def _note_instrumentor(name: str, *, is_active: bool) -> None:
    # as the roster of instrumentors does, without the seconds that it takes to load the framework
    default_recorder().observe(catalogue.INSTRUMENTOR_ACTIVE, ((catalogue.INSTRUMENTOR, name),), float(is_active))


class Orders:
    """Readings that the manager alone has: no page shows them."""

    def __init__(self) -> None:
        self.failed = 0

    def collect(self) -> Mapping[str, float]:
        """Return how many orders have failed."""
        return {"orders_failed_total": self.failed}


def watches(process: Process) -> Iterator[None]:
    """It watches its open files, of which there come to be 85 and then 99, its memory, and how fast orders fail."""
    limits = [
        Threshold("process_open_fds", 80),
        Threshold("process_open_fds", 95, "critical"),
        Threshold("process_resident_memory_bytes", 1, "critical", unit="TB"),
        Threshold("orders_failed_total", 5, "info", ">=", per_second=True),
    ]
    registry, orders = process.isolation.registry, Orders()
    manager = SystemMetricsManager(
        collectors=(),
        thresholds=limits,
        registry=registry,
        collector_timeout_seconds=A_MINUTE,
        clock=process.clock,
        wall_clock=process.clock,
    )
    manager.add_collector("page", registry)
    manager.add_collector("orders", orders)
    with own_process(process) as kernel, manager:
        asyncio.run(manager.start_collection(interval_seconds=A_DAY))  # its passes would come by the real clock
        for minute in range(61):
            kernel.open_files(99 if 20 < minute <= 50 else 85 if 10 < minute <= 50 else 70)
            orders.failed += 600 if 20 < minute <= 50 else 1
            manager._pass()
            yield


def is_another(process: Process) -> Iterator[None]:
    """Another program of the same job has more open files, and may have one."""
    with own_process(process) as kernel:
        kernel.open_files(200)
        for _ in range(61):
            yield


_WATCHED = frozenset({"agentgauge_threshold", "process_open_fds"})
ALSO = {"A limit that its program sees breached is reported with its severity": _WATCHED}
CASES: dict[str, list[Target]] = {
    "The watchdog fires from the first evaluation on": [],  # it is about no series
    "A target is down that has exported agentgauge's metrics, or whose job says so; others are not our business": [
        _scrapes("bots", "b:1", 10, 31, "It ends after ten scrapes."),
        _scrapes("bots", "b:2", 41),
        _scrapes("agentgauge", "never:1", 0, 41, "It never answers."),
        _scrapes("agentgauge-billing", "never:2", 0, 41, "Nor does this one."),
        OtherProgram("agentgauged", "a:1", 10, 31),
        OtherProgram("database", "d:1", 10, 31),
    ],
    "A target that was down shortly is not reported": [Program(is_down_twice, "agentgauge", "a:1")],
    "The metrics are absent when no target exports them": [OtherProgram("database", "d:1", 31)],
    "The metrics are absent when a target answers without those that it had, or that its job promises": [
        Deployments(
            [_scrapes("bots", "b:1", 10), OtherProgram("bots", "b:1", 31)],
            "Another program runs where there was one with agentgauge.",
        ),
        _scrapes("bots", "b:2", 41),
        OtherProgram("agentgauge", "other-program:1", 41),
        _scrapes("bots", "down:1", 10, 31),
    ],
    "A target that is down and comes back, and one whose metrics do, are no news any more": [
        Deployments([_scrapes("a", "a:1", 6, 20), _scrapes("a", "a:1", 40)], "It ends, and is started anew."),
        Deployments(
            [_scrapes("b", "b:1", 6), OtherProgram("b", "b:1", 20), _scrapes("b", "b:1", 40)],
            "Another program without agentgauge runs there for twenty minutes.",
        ),
    ],
    "Names past the limit are reported by their kind, as long as there are new records of them": [
        Program(has_many_names, settings={"series_limit": SERIES_LIMIT}),
    ],
    "A fault of agentgauge is reported from the first on, also where its hook appears with it": [
        Program(faults_come, has_faults=True),
    ],
    "Overhead is reported by its share of the program's CPU time, if it is worth mentioning": [
        Program(measures_much),
        Program(measures_little, "b", "b:1"),
        Program(measures, "c", "c:1"),
    ],
    "Slow scrapes are reported by the limit of the program, a second where it states none": [
        Program(is_slow, settings=NO_LIMITS),
        Program(is_slow_once, "a", "a:2", NO_LIMITS),
        Program(may_be_slow, "b", "b:1", {"thresholds": (Threshold(SCRAPE_DURATION, 5),)}),
    ],
    "Calls that are not counted are reported": [Program(drops_calls), Program(dropped_calls, "b", "b:1")],
    "A collector that fails in most scrapes is reported, one that is late now and then is not": [
        Program(cannot_be_read, has_faults=True),
    ],
    "A framework that is loaded and not measured is reported": [Program(loses_a_framework)],
    "A limit that its program sees breached is reported with its severity": [
        Program(watches, settings=NO_LIMITS),
        Program(is_another, "a", "other", {"thresholds": (Threshold("process_open_fds", 1, "critical"),)}),
    ],
    "Rules of ours that cannot be evaluated are reported, those of others are not": [
        RecordedPages(
            FOLDER / "failing_rules.txt",
            "prometheus",
            "p:1",
            "A rule of ours cannot be evaluated for half an hour, and one of others' never.",
        ),
    ],
    "Alerts that get lost are reported, before Alertmanager and behind it": [
        RecordedPages(FOLDER / "lost_alertmanager.txt", "prometheus", "p:1", "For half an hour it finds no Alertmanager."),
        RecordedPages(FOLDER / "refusing_webhook.txt", "alertmanager", "m:1", "For half an hour its webhook refuses what comes."),
    ],
}
