"""Targets that are no programs with agents, or not all the time, and what a program knows of its own process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from agentgauge.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capture import Target
    from virtual_time import Process

_BOOT_TIME = "btime 1\n"
_STAT = "1 (program) S" + " 0" * 10 + " {ticks} 0" + " 0" * 8 + " {pages} " + " 0" * 20 + "\n"


@dataclass(frozen=True, slots=True)
class OtherProgram:
    """A program that uses prometheus_client, and not agentgauge.

    Attributes:
        job: The job as part of which it is scraped.
        instance: Where it is scraped.
        answered: How many scrapes it answers.
        missed: How many it does not answer, after those.
        about: What there is to know of it.
    """

    job: str
    instance: str
    answered: int
    missed: int = 0
    about: str = "A program without agentgauge."

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Yield what each scrape brings."""
        for _ in range(self.answered):
            yield generate_latest(CollectorRegistry()).decode()
        for _ in range(self.missed):
            yield None


@dataclass(frozen=True, slots=True)
class Deployments:
    """What one address is to the scraper while one program after another runs there.

    Attributes:
        targets: The programs; job and instance are those of the first.
        about: What happens.
    """

    targets: Sequence[Target]
    about: str

    @property
    def job(self) -> str:
        """The job as part of which they are scraped."""
        return self.targets[0].job

    @property
    def instance(self) -> str:
        """Where they are scraped."""
        return self.targets[0].instance

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Yield what each scrape brings."""
        for target in self.targets:
            yield from target.pages(names, interval_seconds)


@contextmanager
def clocks_stand_still() -> Iterator[FakeClock]:
    """Let the clocks by which agentgauge measures itself move only when told to, CPU and wall alike."""
    clock = FakeClock(0.0)
    with patch("time.perf_counter", clock), patch("time.thread_time", clock), patch("time.process_time", clock):
        yield clock


class OwnProcess:
    """What the kernel tells a program of itself; ``prometheus_client.ProcessCollector`` reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "self" / "fd").mkdir(parents=True)
        (folder / "stat").write_text(_BOOT_TIME, encoding="ascii")
        (folder / "self" / "limits").write_text("Max open files            100                  100                  files\n")
        self.use_cpu(0)

    def use_cpu(self, seconds: float) -> None:
        """Let it have used so many seconds."""
        ticks = int(seconds * os.sysconf("SC_CLK_TCK"))
        (self._folder / "self" / "stat").write_text(_STAT.format(ticks=ticks, pages=1000), encoding="ascii")

    def open_files(self, count: int) -> None:
        """Let it have so many open files."""
        opened = self._folder / "self" / "fd"
        have = len(list(opened.iterdir()))
        for number in range(have, count):
            (opened / str(number)).touch()
        for number in range(count, have):
            (opened / str(number)).unlink()


@contextmanager
def own_process(process: Process) -> Iterator[OwnProcess]:
    """Register what reads the process, and yield it."""
    with TemporaryDirectory() as folder:
        kernel = OwnProcess(Path(folder))
        ProcessCollector(proc=folder, registry=process.isolation.registry)
        yield kernel
