"""A program with agents in whom faults are planted, one for each alert that it is to fire.

python troubled.py healthy      without the faults
python troubled.py troubled     well at first, so that there is a history to judge it by

It prints where its metrics are and works until it is ended. Decorated agents do what can be decorated; what frameworks report
(models, tools with arguments, work that is handed over) comes as their instrumentors report it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

import agentgauge
from agentgauge import AgentMetricsCollector, Objective, Threshold, agent, catalogue, task, tool
from agentgauge.analytics.history import History
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.watch import AnalysisWatch
from agentgauge.collectors.container import ContainerCollector
from agentgauge.errors import SourceError, report_internal_error
from agentgauge.prices import Price
from agentgauge.recording.default import default_recorder
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.targets import Budget
from keepers import Keepers

if TYPE_CHECKING:
    from collections.abc import Iterator

TURN_SECONDS = 0.1
RUN_SECONDS = 0.05  # long beside what a busy machine adds to it
HISTORY_SECONDS = 45.0  # in which the troubled one does well: it is judged by them later
LOOKS = 24  # at a history with trouble at its end: then it cannot be read any more, nor written
SWEEP_SECONDS, WATCHED = 0.2, "task_rate"
# What does well is swept and judged about as by default, in the time of its servers, which is twelve times as fast.
HEALTHY_SWEEP_SECONDS, HEALTHY_LOOK_SECONDS = 1, 60 / 12
MACHINE = ("host_", "container_")  # where other tests may do what is out of the ordinary
DESCRIPTORS = 256
MEMORY_BYTES = 1 << 30
LARGE, UNHEARD_OF = LmName("chat", "openai", "large"), LmName("chat", "newcomer", "unheard-of")
LIMITS = (
    Threshold("gen_ai_client_operation_time_to_first_chunk_seconds", 0.05),
    Threshold("gen_ai_execute_tool_duration_seconds", 0.05),
    Threshold("agentgauge_scrape_duration_seconds", 1e-9),
    Threshold("agentgauge_scrape_duration_seconds", 1e9, "critical"),
    Threshold("system_memory_utilization_ratio", 1e-3),
)
NO_LIMITS = [  # how busy and how full the machine is on which tests run says nothing about the program
    Threshold(f"{part}_utilization_ratio", 1, severity)
    for part in (
        "system_cpu",
        "system_memory",
        "system_filesystem",
        "system_filesystem_inodes",
        "container_cpu",
        "container_memory",
    )
    for severity in ("warning", "critical")
]


class RateLimitError(Exception):
    """As providers' libraries call it."""


@agent("clerk")
class Clerk:
    """What can be decorated."""

    @task("answer", objective=Objective(success_ratio=0.99, latency_seconds=0.05))
    async def answer(self, *, fails: bool) -> None:
        if fails:
            raise ValueError("planted")

    @task("wait")
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @task("hang", objective=Objective(latency_seconds=0.05))
    async def hang(self) -> None:
        await asyncio.Event().wait()

    @task("read")
    def read(self) -> Iterator[int]:
        yield from range(9)

    @tool("look_up")
    async def look_up(self, *, fails: bool) -> None:
        if fails:
            raise ConnectionError("planted")

    @tool("crawl")
    async def crawl(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@task("odd job")
async def odd_job(seconds: float, *, fails: bool) -> None:
    """Nobody's: no agent is known."""
    await asyncio.sleep(seconds)
    if fails:
        raise ValueError("planted")


class Team:
    """What instrumentors report: "lead" hands work to "helper", who searches and asks models."""

    def __init__(self) -> None:
        self._recorder = default_recorder()

    async def work(self, turn: int, *, is_troubled: bool) -> None:
        error = ValueError("planted") if is_troubled and turn % 2 else None
        with (
            self._within(SeriesKind.RUN, "plan", None, agent="lead"),
            self._within(SeriesKind.RUN, "help", error, agent="helper"),
        ):
            for number in range(3):
                query = "gauges" if is_troubled else f"gauges {number}"
                with self._within(SeriesKind.TOOL, "search", None, arguments={"query": query}):
                    pass
            await asyncio.sleep(RUN_SECONDS)
            self._ask(LARGE, None, first_chunk_seconds=0.3 if is_troubled else 0.01)
            if is_troubled:
                for failure in (ConnectionError("planted"), RateLimitError("planted")):
                    self._ask(LARGE, failure)
                self._ask(UNHEARD_OF, None)
                labels = ((catalogue.AGENT, "helper"), ("adapter", "JSONAdapter"))
                self._recorder.observe(catalogue.PARSE_FAILURES, labels, 1)

    def ask_for_nobody(self) -> None:
        self._ask(LARGE, None)

    def hand_over(self, error: BaseException) -> None:
        with (
            self._within(SeriesKind.RUN, "plan", None, agent="lead"),
            self._within(SeriesKind.RUN, "help", error, agent="helper"),
        ):
            pass

    @contextlib.contextmanager
    def _within(self, kind: SeriesKind, name: str, error: BaseException | None, **options: Any) -> Any:
        operation = Operation(self._recorder, kind, name, instrumentor="dspy", **options)
        try:
            yield
        finally:
            operation.end(error)

    def _ask(self, lm: LmName, error: Exception | None, first_chunk_seconds: float | None = None) -> None:
        call = LmCall(self._recorder, lm, instrumentor="dspy")
        if first_chunk_seconds is not None:
            call.note_first_chunk(first_chunk_seconds)
        if error is None:
            call.note_answer(Answer(input_tokens=1000, output_tokens=100, finish_reasons=("stop",)))
        call.end(error)


async def _once(clerk: Clerk, turn: int, *, is_troubled: bool) -> None:
    with contextlib.suppress(ValueError, ConnectionError):
        await clerk.answer(fails=is_troubled and turn % 3 > 0)
    with contextlib.suppress(ConnectionError):
        await clerk.look_up(fails=is_troubled and turn % 2 > 0)
    await clerk.crawl(0.1 if is_troubled else 0.001)
    waiting = asyncio.create_task(clerk.wait(60 if is_troubled else 0))
    await asyncio.sleep(0.005)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


class Past:
    """The program's history, until nobody can read it any more.

    Attributes:
        looks: How often it was opened since the trouble began.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.looks = 0
        self.is_troubled = False

    @property
    def is_over(self) -> bool:
        """Whether it was looked at often enough."""
        return self.looks > LOOKS

    def open(self) -> History:
        """Open it, to be read."""
        self.looks += self.is_troubled
        if self.is_over:
            raise SourceError("planted")
        return History(self._path, is_read_only=True)


class Machine:
    """What the program has of the machine, and the container that it is in as far as it can tell.

    Args:
        folder: Where the container's control group is; none is told of unless given.
    """

    def __init__(self, folder: Path | None) -> None:
        self._group: Path | None = None
        self._held: list[int] = []
        if folder is not None:
            sys.path.append(str(Path(__file__).parents[1] / "collectors"))
            from cgroup_trees import build_v2

            kernel, (self._group,) = build_v2(folder, {"limit": MEMORY_BYTES, "memory": MEMORY_BYTES // 2, "inactive": 0})
            REGISTRY.register(ContainerCollector(proc=kernel.proc))

    def use_up(self) -> None:
        """Open nearly as many files as the program may, and take nearly all of the container's memory."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        opened = len(list(Path("/proc/self/fd").iterdir()))
        self._held += [os.dup(0) for _ in range(opened, DESCRIPTORS * 7 // 8)]
        if self._group is not None:
            (self._group / "memory.current").write_text(f"{MEMORY_BYTES * 99 // 100}\n")

    def fill_disk(self) -> None:
        """Let no file grow beyond a page."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


async def work(machine: Machine, past: Past, *, has_faults: bool) -> None:
    """Work, well at first, and then with faults if there are any, until it is ended."""
    clerk, team, queue = Clerk(), Team(), AgentMetricsCollector("dispatcher")
    hanging: set[asyncio.Task[None]] = set()
    watched = [
        Threshold("process_open_fds", 0 if has_faults else 1e9),
        Threshold("process_open_fds", 1e9, "critical"),
        Threshold("process_open_fds", 1e9, "info", ">="),
    ]
    began, turn = time.monotonic(), 0
    async with SystemMetricsManager(thresholds=watched), Keepers(interval_seconds=0.5 if has_faults else 2) as keepers:
        while True:
            turn += 1
            seconds = time.monotonic() - began
            is_troubled = has_faults and seconds >= HISTORY_SECONDS
            await _once(clerk, turn, is_troubled=is_troubled)
            await team.work(turn, is_troubled=is_troubled)
            await keepers.work(is_troubled=is_troubled)
            queue.update_queue_size(int(10 * 1.1**seconds) if has_faults else turn % 5, "questions")
            for _ in range(0 if is_troubled else 3):  # what comes no more is out of the ordinary
                with agentgauge.track("clerk", "count"):
                    pass
            if is_troubled:
                past.is_troubled = True
                if past.is_over:
                    machine.fill_disk()
                if not hanging:
                    hanging |= {asyncio.create_task(clerk.hang()), asyncio.create_task(odd_job(1e6, fails=False))}
                    await _fail_once(clerk, team)
                    machine.use_up()
                with agentgauge.track("clerk", f"question {turn}"):  # a name that bears an id
                    pass
            await asyncio.sleep(TURN_SECONDS)


async def _fail_once(clerk: Clerk, team: Team) -> None:
    with contextlib.suppress(ValueError):
        await odd_job(0, fails=True)
    await odd_job(0, fails=False)
    next(clerk.read())  # its reader leaves at once
    for error in (TimeoutError(), asyncio.CancelledError()):
        team.hand_over(error)
    team.ask_for_nobody()
    report_internal_error("planted", ValueError("planted"))
    default_recorder().observe(catalogue.INSTRUMENTOR_ACTIVE, ((catalogue.INSTRUMENTOR, "langchain"),), 0)


def main() -> None:
    has_faults = sys.argv[1] == "troubled"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp())  # in one of the test's
    file = folder / "troubled.history"
    monitor = agentgauge.start(
        port=0,
        thresholds=LIMITS if has_faults else [*LIMITS[:1], *NO_LIMITS],
        budgets=[Budget(1e-6 if has_faults else 1e6), *[Budget(1e6, period, "helper") for period in ("day", "month")]],
        prices={"large": Price(input_usd_per_million=3, output_usd_per_million=15)},
        instrumentors=(),
        series_limit=20,
        collectors=("host", "process") if has_faults else None,  # its container is one that tests make
        history_file=file,
        history_interval_seconds=SWEEP_SECONDS if has_faults else HEALTHY_SWEEP_SECONDS,
    )
    past = Past(file)
    watched = [one for one in MEASURES if (one.name == WATCHED if has_faults else not one.name.startswith(MACHINE))]
    interval = 0.5 if has_faults else HEALTHY_LOOK_SECONDS
    watch = AnalysisWatch(past.open, interval_seconds=interval, measures=watched, cpu_share=1)
    watch.start()
    with contextlib.suppress(KeyboardInterrupt):
        machine = Machine(folder / "container" if has_faults else None)
        print(monitor.url, flush=True)  # noqa: T201 - whoever started it reads this
        asyncio.run(work(machine, past, has_faults=has_faults))
    watch.stop()
    monitor.stop()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
