"""What a program has of a machine: a made-up kernel, container, driver and event loop below agentgauge's own collectors."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psutil
import pynvml
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from agentgauge.collectors.container import ContainerCollector
from agentgauge.collectors.event_loops import EventLoops
from agentgauge.collectors.gpu import GpuCollector
from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.mount_probe import Mount, MountProbe, Space
from agentgauge.collectors.readings import gather

sys.path.append(str(Path(__file__).parents[2] / "collectors"))
from cgroup_trees import build_v2
from host_trees import DISKSTATS, MEMINFO, PRESSURE, FakeHost
from nvml_driver import FakeDriver, Gpu
from running_loops import Running, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from virtual_time import Process

BYTES = 1000  # of a file system or of memory, so that a share of them is exact
INODES = 1000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPUS = 5  # a hundredth of whose time is a whole number of seconds each minute, and exact
CPU_QUOTA, CPU_SECONDS_PER_MINUTE = "50000 120000", 25  # of which a hundredth is exact in binary
LATE_SECONDS = 0.125  # longer than a file system may take


class Host:
    """The host of a program; what it is told shows in the next scrape."""

    def __init__(self, folder: Path, *mounts: Mount) -> None:
        self.kernel = FakeHost(folder)
        self._written: dict[str, str] = {}
        self._write("diskstats", DISKSTATS.splitlines()[0])
        self._busy_seconds, self._idle_seconds = [0] * CPUS, [0] * CPUS
        self._counts = [0, 0, 0]
        self._stalls: dict[tuple[str, str], float] = {}
        self.spaces = {mount: Space(BYTES, 0, BYTES, INODES, INODES) for mount in mounts}
        self.mount(*mounts)
        self.work(0)

    def mount(self, *mounts: Mount) -> None:
        """Have these file systems and no others."""
        self.kernel.mount(*((mount.device, mount.mountpoint, mount.kind) for mount in mounts))

    def work(self, share: float) -> None:
        """Be busy to this share for a minute."""
        seconds = round(share * CPUS * 60)
        lines = ["cpu"]
        for cpu in range(CPUS):
            busy = min(60, seconds)
            seconds -= busy
            self._busy_seconds[cpu] += busy
            self._idle_seconds[cpu] += 60 - busy
            user, idle = (each[cpu] * TICKS_PER_SECOND for each in (self._busy_seconds, self._idle_seconds))
            lines.append(f"cpu{cpu} {user} 0 0 {idle} 0 0 0 0 0 0")
        self._write("stat", "\n".join([*lines, "btime 1700000000\n"]))

    def _write(self, name: str, text: str) -> None:
        if self._written.get(name) != text:  # what stays as it is costs nothing
            self._written[name] = text
            self.kernel.write(name, text)

    def leave_memory(self, kibibytes: int) -> None:
        """Have so much memory available, of a million."""
        self._write("meminfo", MEMINFO.replace("600000", str(kibibytes)))

    def fill(self, mount: Mount, used: int, total: int = BYTES) -> None:
        """Have so much space used up."""
        self.spaces[mount] = replace(self.spaces[mount], total=total, used=used, free=total - used)

    def fill_inodes(self, mount: Mount, used: int, total: int = INODES) -> None:
        """Have so many inodes taken."""
        self.spaces[mount] = replace(self.spaces[mount], inodes=total, inodes_free=total - used)

    def wait(self, kind: str, resource: str, seconds: float) -> None:
        """Let tasks wait for a resource this long."""
        self._stalls[resource, kind] = self._stalls.get((resource, kind), 0) + seconds
        totals = {each: self._stalls.get((resource, each), 0) for each in ("some", "full")}
        lines = [f"{each} avg10=0 avg60=0 avg300=0 total={total * 1e6:.0f}\n" for each, total in totals.items()]
        self._write(f"pressure/{resource}", "".join(lines))

    def receive(self, packets: int, *, errors: int = 0, dropped: int = 0) -> None:
        """Receive so many packets on eth0, beside those that are errors or dropped."""
        self._counts = [count + more for count, more in zip(self._counts, (packets, errors, dropped), strict=True)]
        packets, errors, dropped = self._counts
        self._write("net/dev", f"Inter-|\n face |\n  eth0: 0 {packets} {errors} {dropped} 0 0 0 0 0 0 0 0 0 0 0 0\n")


@contextmanager
def host(
    process: Process, *mounts: Mount, measure: Callable[[Mount], Space | None] | None = None, is_read: bool = True
) -> Iterator[Host]:
    """Give a program a host with these file systems.

    Args:
        process: The program.
        mounts: The file systems.
        measure: Tells how full one is; the host, unless given.
        is_read: Whether its readings are part of the page, and not just what a container is in.
    """
    with TemporaryDirectory() as folder:
        machine = Host(Path(folder), *mounts)
        for resource in PRESSURE:
            (machine.kernel.proc / "pressure" / resource).unlink()
        with patch.object(psutil, "PROCFS_PATH", str(machine.kernel.proc)):
            if is_read:
                probe = MountProbe(measure or machine.spaces.__getitem__, clock=process.clock)
                process.isolation.registry.register(HostCollector(process.clock, machine.kernel.sys, probe))
            yield machine


class Container:
    """The container of a program: a control group whose files are written as told."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.kernel, (self._group,) = build_v2(folder, facts)
        self._used = 0.0
        self._periods = [0, 0]

    def work(self, share: float) -> None:
        """Use this share of the CPU limit for a minute."""
        self._used += share * CPU_SECONDS_PER_MINUTE
        self._write_cpu()

    def be_held_back(self, share: float) -> None:
        """Have this share of a minute's 600 periods cut short."""
        self._periods = [self._periods[0] + 600, self._periods[1] + round(600 * share)]
        self._write_cpu()

    def _write_cpu(self) -> None:
        microseconds = round(self._used * 1e6)
        periods, throttled = self._periods
        text = f"user_usec {microseconds}\nsystem_usec 0\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 0\n"
        self.write("cpu.stat", text)

    def write(self, name: str, text: object) -> None:
        """Write a file of the group."""
        (self._group / name).write_text(f"{text}\n", encoding="utf-8")

    def kill(self) -> None:
        """Have the kernel end a process for lack of memory."""
        self.write("memory.events", "oom 1\noom_kill 1")


@contextmanager
def container(process: Process, **facts: Any) -> Iterator[Container]:
    """Give a program a container.

    Args:
        process: The program.
        facts: What the files of ``cgroup_trees.v2_group()`` say; unless they say otherwise there are limits, and little is used.
    """
    with TemporaryDirectory() as folder:
        group = Container(
            Path(folder),
            **{"quota": CPU_QUOTA, "limit": BYTES, "memory": BYTES // 2, "inactive": 0, "user": 0, "system": 0, **facts},
        )
        process.isolation.registry.register(ContainerCollector(process.clock, group.kernel.proc))
        yield group


@contextmanager
def gpu(process: Process, **facts: Any) -> Iterator[Gpu]:
    """Give a program a GPU, below the real nvidia-ml-py."""
    device = Gpu(**{"name": b"H200", "corrected": 0, "uncorrected": 0, **facts})
    driver = FakeDriver(device)
    state = {"CDLL": lambda _name: driver, "nvmlLib": None, "_nvmlGetFunctionPointer_cache": {}, "_nvmlLib_refcount": 0}
    with patch.multiple(pynvml, **state):
        collector = GpuCollector(process.clock)
        process.isolation.registry.register(collector)
        try:
            yield device
        finally:
            collector.close()


class Descriptors:
    """The files that a program has open, as ``/proc/self`` shows them to prometheus_client."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder / "self" / "fd"
        self._folder.mkdir(parents=True)
        (folder / "stat").write_text("btime 1700000000\n", encoding="utf-8")
        (folder / "self" / "limits").write_text(f"Max open files {limit} {limit} files\n", encoding="utf-8")

    def open(self, count: int) -> None:
        """Have so many open."""
        names = {path.name for path in self._folder.iterdir()}
        for number in range(len(names), count):
            (self._folder / str(number)).touch()
        for number in range(count, len(names)):
            (self._folder / str(number)).unlink()


@contextmanager
def descriptors(registry: CollectorRegistry, limit: int) -> Iterator[Descriptors]:
    """Let a program have so many files open at most."""
    with TemporaryDirectory() as folder:
        opened = Descriptors(Path(folder), limit)
        ProcessCollector(proc=folder, registry=registry)
        yield opened


@dataclass(frozen=True, slots=True)
class Stranger:
    """A program without agentgauge; its page is prometheus_client's."""

    work: Callable[[CollectorRegistry], Iterator[None]]
    job: str
    instance: str

    @property
    def about(self) -> str:
        """What it does, in the words of its work's docstring."""
        return " ".join((self.work.__doc__ or "").split())

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str]:
        """Let it work, and yield what each scrape brings."""
        registry = CollectorRegistry()
        for _ in self.work(registry):
            yield generate_latest(registry).decode()


class Loop:
    """A real event loop in a thread of its own, to which a probe comes whenever it is told."""

    def __init__(self, process: Process, running: Running) -> None:
        self._clock = process.clock
        self._running = running
        self._loops = EventLoops(process.clock)
        self._release: Callable[[], None] | None = None
        self.look()

    def collect(self) -> list[Metric]:
        """Read it, as the collector of the process does."""
        return [*gather("collector_process", (self._loops.read_stall,)), *self._loops.read_lag()]

    def look(self) -> None:
        """Put a probe into the loop, which it comes to unless it is held up."""
        self._loops.probe(self._clock())
        if self._release is None:
            settle(self._loops)

    def hold_up(self) -> None:
        """Hold the loop up from now on."""
        self._release = self._running.block()
        self.look()

    def let_go(self) -> None:
        """Let it come to what is due."""
        if self._release is not None:
            self._release()
            self._release = None
            settle(self._loops)


@contextmanager
def event_loop(process: Process) -> Iterator[Loop]:
    """Give a program an event loop."""
    with Running() as running:
        loop = Loop(process, running)
        process.isolation.registry.register(loop)
        try:
            yield loop
        finally:
            loop.let_go()


class HangingMounts:
    """File systems of which some do not answer in time.

    Args:
        process: The program that asks.
    """

    def __init__(self, process: Process) -> None:
        self._clock = process.clock
        self._hanging: dict[Mount, threading.Event] = {}

    def measure(self, mount: Mount) -> Space:
        """Answer at once, or when that file system is let go."""
        released = self._hanging.get(mount)
        if released is not None:
            self._clock.advance(LATE_SECONDS)
            released.wait()
        return Space(BYTES, 0, BYTES, INODES, INODES)

    def hang(self, *mounts: Mount) -> None:
        """Let these answer no more."""
        for mount in mounts:
            self._hanging[mount] = threading.Event()

    def answer(self) -> None:
        """Let all answer, and wait until they have."""
        for released in self._hanging.values():
            released.set()
        self._hanging.clear()
        for thread in threading.enumerate():
            if thread.name == "agentgauge-mounts":
                thread.join()

    close = answer
