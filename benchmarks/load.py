"""``make load``: a ramp to 1,000 agents and beyond under scraping, which shows the knee and that no event is lost.

Each agent is a coroutine that works (a task, two calls of a tool), waits ``--think`` seconds as if for a model, and works again.
While the process keeps up, so many agents complete ``agents / think`` tasks a second; the knee is the last step at which they
complete 90 % of that. The ramp is climbed twice, by the same functions undecorated and decorated: the difference is ours. Another
process scrapes. What else runs on the machine makes agents late too: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentgauge
from page import OPENMETRICS, TEXT, Page, fetch, read

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from multiprocessing.connection import Connection

_RAMP = (10, 100, 300, 1000, 2000, 3000, 5000, 10_000)
_KEPT_UP = 0.9
_SCRAPE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Step:
    """One step of the ramp.

    Attributes:
        agents: How many agents worked.
        kept_up: Completed tasks as a share of what they would complete if nothing ever waited for the processor.
        tasks_per_second: Tasks completed.
        late_p50_ms: How much later than after ``think`` an agent went on, median.
        late_p99_ms: The same, 99th percentile.
        cpu_share: CPU time of the process as a share of one core.
        scrapes: How many pages were read meanwhile.
        scrape_ms: The median time that a page took, to its last byte.
        page_megabytes: The size of the last page.
    """

    agents: int
    kept_up: float
    tasks_per_second: float
    late_p50_ms: float
    late_p99_ms: float
    cpu_share: float
    scrapes: int = 0
    scrape_ms: float = 0.0
    page_megabytes: float = 0.0


class Agents:
    """So many agents, and what they have done."""

    def __init__(self, *, is_decorated: bool, think_seconds: float) -> None:
        self._is_decorated = is_decorated
        self._think_seconds = think_seconds
        self._works: list[Callable[[], Coroutine[Any, Any, int]]] = []
        self.completed: list[int] = []
        self._lateness: list[float] = []

    async def run(self, agents: int, seconds: float) -> tuple[int, list[float]]:
        """Let so many agents work for so long; return how many tasks they completed, and by how much each wait was too long."""
        while len(self._works) < agents:
            self._works.append(_work_of(f"agent-{len(self._works)}", is_decorated=self._is_decorated))
            await self._works[-1]()  # the first makes its series
            self.completed.append(1)
        before = sum(self.completed)
        self._lateness = []
        ends = time.perf_counter() + seconds
        await asyncio.gather(*(self._live(number, agents, ends) for number in range(agents)))
        return sum(self.completed) - before, self._lateness

    async def _live(self, number: int, agents: int, ends: float) -> None:
        clock, think, work = time.perf_counter, self._think_seconds, self._works[number]
        await asyncio.sleep(think * number / agents)  # not all at once
        while clock() < ends:
            await work()
            self.completed[number] += 1
            began = clock()
            await asyncio.sleep(think)
            self._lateness.append(clock() - began - think)


def _work_of(name: str, *, is_decorated: bool) -> Callable[[], Coroutine[Any, Any, int]]:
    """Return an agent's work: a coroutine function of its own, as a program of that many agents would have."""

    def search(number: int) -> int:
        return number

    find = agentgauge.tool("search")(search) if is_decorated else search

    async def answer() -> int:
        return find(1) + find(2)

    return agentgauge.agent(name)(agentgauge.task("answer")(answer)) if is_decorated else answer


def _scrape(url: str, results: Connection, commands: Connection) -> None:
    """Read both formats in turn, as Prometheus would, and tell how long each page took; runs in a process of its own."""
    before: Page | None = None
    accepts = [TEXT, OPENMETRICS]
    while not commands.poll(_SCRAPE_PAUSE_SECONDS):
        accepts.reverse()
        began = time.perf_counter()
        body = fetch(url, accepts[0])
        seconds = time.perf_counter() - began
        page = read(body)
        page.check(before)
        before = page
        results.send((seconds, page.size_bytes))


def main() -> int:
    """Climb the ramp twice, print both, and return 1 where an event was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=_RAMP, metavar="N", help="the steps of the ramp")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a step takes (default 10)")
    parser.add_argument("--think", type=float, default=0.25, help="seconds that an agent waits between two tasks (default 0.25)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {options.seconds:.0f} s a step, {options.think} s think")
    bare = Agents(is_decorated=False, think_seconds=options.think)
    print("undecorated", flush=True)
    bare_steps = [_climb(bare, agents, options.seconds, options.think) for agents in options.agents]
    ours = Agents(is_decorated=True, think_seconds=options.think)
    monitor = agentgauge.start(port=0, series_limit=2 * max(options.agents))
    url = f"{monitor.url}"
    context = multiprocessing.get_context("spawn")
    results, results_end = context.Pipe(duplex=False)
    commands_end, commands = context.Pipe(duplex=False)
    scraper = context.Process(target=_scrape, args=(url, results_end, commands_end))
    scraper.start()
    print("decorated, and scraped", flush=True)
    steps = [_climb(ours, agents, options.seconds, options.think, results) for agents in options.agents]
    commands.send(None)
    while scraper.is_alive():  # it may be waiting to be read
        _take(results)
        scraper.join(0.1)
    lost = _what_was_lost(read(fetch(url, TEXT)), sum(ours.completed), scraper.exitcode)
    agentgauge.stop()
    print(f"the knee: {_knee(bare_steps)} undecorated, {_knee(steps)} decorated and scraped")
    print("\n".join(f"FAILED: {loss}" for loss in lost) or f"{sum(ours.completed)} tasks, each counted once")
    if options.json is not None:
        figures = {"undecorated": [asdict(step) for step in bare_steps], "decorated": [asdict(step) for step in steps]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if lost else 0


def _climb(agents: Agents, count: int, seconds: float, think_seconds: float, results: Connection | None = None) -> Step:
    """Do one step of the ramp and print it."""
    if results is not None:
        _take(results)
    began, cpu_began = time.perf_counter(), time.process_time()
    completed, lateness = asyncio.run(agents.run(count, seconds))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    pages = [] if results is None else _take(results)
    hundredths = statistics.quantiles(lateness, n=100, method="inclusive")
    # A stagger of one think time at the beginning, and one wait that is not worked off at the end.
    step = Step(
        agents=count,
        kept_up=completed / (count * seconds / think_seconds),
        tasks_per_second=completed / wall,
        late_p50_ms=hundredths[49] * 1e3,
        late_p99_ms=hundredths[98] * 1e3,
        cpu_share=cpu / wall,
        scrapes=len(pages),
        scrape_ms=statistics.median(seconds for seconds, _ in pages) * 1e3 if pages else 0.0,
        page_megabytes=pages[-1][1] / 1e6 if pages else 0.0,
    )
    print(
        f"{step.agents:6} agents {step.tasks_per_second:8.0f} tasks/s ({step.kept_up:4.0%})"
        f"  late p50 {step.late_p50_ms:7.1f} ms, p99 {step.late_p99_ms:7.1f} ms  CPU {step.cpu_share:4.0%}"
        + (f"  {step.scrapes:3} scrapes of {step.scrape_ms:6.0f} ms, {step.page_megabytes:5.1f} MB" if pages else ""),
        flush=True,
    )
    return step


def _take(results: Connection) -> list[tuple[float, int]]:
    """Take what the scraper has told since the last time."""
    pages = []
    try:
        while results.poll():
            pages.append(results.recv())
    except EOFError:  # it has ended
        pass
    return pages


def _knee(steps: list[Step]) -> str:
    """Name the last step that kept up."""
    kept_up = [step for step in steps if step.kept_up >= _KEPT_UP]
    if len(kept_up) == len(steps):
        return f"beyond {steps[-1].agents} agents"
    return f"{kept_up[-1].agents} agents ({kept_up[-1].tasks_per_second:.0f} tasks/s)" if kept_up else f"below {steps[0].agents}"


def _what_was_lost(page: Page, completed: int, scraper_exit_code: int | None) -> list[str]:
    lost = []
    if page.counts.total() != completed:
        lost.append(f"{completed} tasks were completed, {page.counts.total()} are on the page")
    if page.recorded != 3 * completed:
        lost.append(f"{3 * completed} calls were made, {page.recorded:.0f} are recorded")
    if page.dropped or page.internal_errors:
        lost.append(f"{page.dropped:.0f} events were dropped, {page.internal_errors:.0f} internal errors were contained")
    if scraper_exit_code:
        lost.append(f"the scraper ended with {scraper_exit_code}: its message stands above")
    return lost


if __name__ == "__main__":
    sys.exit(main())
