"""Programs that record all that agentgauge can record, each in a thread of its own, and count themselves what they did."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING

import agentgauge
from agentgauge import AgentMetricsCollector, agent, task, tool, track

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["PROGRAMS", "Ended", "Worker", "fork_once"]

Ended = Counter[tuple[str, str, str]]
"""How many tasks ended, by agent, task and outcome."""

_PAUSE_SECONDS = 0.02  # between bursts: the machine is to be busy, not full


class Worker:
    """One program in a thread: runs its burst again and again until it is stopped.

    Attributes:
        ended: What the program knows to have ended.
        failure: The exception that ended the program before its time, None where all is well.
    """

    def __init__(self, program: Callable[[Ended, int], None], stop: threading.Event) -> None:
        self.ended: Ended = Counter()
        self.failure: Exception | None = None
        self._program = program
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name=program.__name__)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the last burst is done."""
        self._thread.join()

    def _run(self) -> None:
        try:
            for burst in itertools.count():
                if self._stop.wait(_PAUSE_SECONDS):
                    return
                self._program(self.ended, burst)
        except Exception as failure:  # noqa: BLE001 - whoever joins the thread tells it
            self.failure = failure


@agent("library")
class Library:
    """An agent with a tool."""

    @task
    def answer(self, number: int) -> int:
        """Search twice; every twentieth answer fails."""
        if number % 20 == 0:
            raise ValueError(number)
        return self.search(number) + self.search(number)

    @tool
    def search(self, number: int) -> int:
        """Find nothing."""
        return number

    @task
    def list_books(self, count: int) -> Iterator[int]:
        """Yield numbers."""
        yield from range(count)


@agent("courier")
class Courier:
    """An agent whose work is asynchronous."""

    @task
    async def deliver(self, number: int) -> int:
        """Wait a little; some deliveries fail, some take too long."""
        await asyncio.sleep(60 if number % 20 == 1 else 0)
        if number % 20 == 0:
            raise LookupError(number)
        return number

    @task
    async def track_parcels(self, count: int) -> AsyncIterator[int]:
        """Yield numbers."""
        for number in range(count):
            await asyncio.sleep(0)
            yield number


def answer_calls(ended: Ended, _burst: int) -> None:
    """Make plain calls, one in twenty of which fails."""
    library = Library()
    for number in range(200):
        with contextlib.suppress(ValueError):
            library.answer(number)
    ended["library", "answer", "error"] += 10
    ended["library", "answer", "success"] += 190


def consume_generators(ended: Ended, _burst: int) -> None:
    """Read generators to their end, and leave others in the middle."""
    library = Library()
    for _ in range(20):
        for _book in library.list_books(5):
            pass
        abandoned = library.list_books(5)
        next(abandoned)
        abandoned.close()  # type: ignore[attr-defined]  # the wrapper of a generator function returns a generator
    ended["library", "list_books", "success"] += 20
    ended["library", "list_books", "abandoned"] += 20


def deliver_parcels(ended: Ended, _burst: int) -> None:
    """Run coroutines and asynchronous generators side by side: successes, errors and cancellations."""
    asyncio.run(_deliver(ended))


async def _deliver(ended: Ended) -> None:
    courier = Courier()
    deliveries = [asyncio.ensure_future(courier.deliver(number)) for number in range(100)]
    parcels = courier.track_parcels(5)
    async for _parcel in parcels:
        break
    await parcels.aclose()  # type: ignore[attr-defined]  # the wrapper of an async generator function returns one
    async for _parcel in courier.track_parcels(5):
        pass
    for number in range(1, 100, 20):
        deliveries[number].cancel()
    await asyncio.gather(*deliveries, return_exceptions=True)
    ended["courier", "deliver", "success"] += 90
    ended["courier", "deliver", "error"] += 5
    ended["courier", "deliver", "cancelled"] += 5
    ended["courier", "track_parcels", "success"] += 1
    ended["courier", "track_parcels", "abandoned"] += 1


def track_blocks(ended: Ended, burst: int) -> None:
    """Track blocks whose outcome is stated, and blocks of ever new names."""
    for _ in range(50):
        with track("clerk", "file") as call:
            call.record_retry()
        with track("clerk", "file") as call:
            call.set_outcome("timeout")
    for number in range(10):
        with track("clerk", f"case {burst}-{number}"):
            pass
    ended["clerk", "file", "success"] += 50
    ended["clerk", "file", "timeout"] += 50
    ended["", "", "success"] += 10  # under the name of an early case, or under other


def raise_new_errors(ended: Ended, burst: int) -> None:
    """Fail with ever new types of errors."""
    for number in range(20):
        with contextlib.suppress(OSError), track("clerk", "guess"):
            raise type(f"Error{burst}x{number}", (OSError,), {})
    ended["clerk", "guess", "error"] += 20


_desk = AgentMetricsCollector("desk", history_limit=1000)


def report_tasks(ended: Ended, burst: int) -> None:
    """Report tasks, readings and a queue through the imperative face, and ask it for its answers."""
    _desk.set_state("processing")
    for number in range(50):
        _desk.start_task(f"{burst}-{number}", "letter", 100)
        _desk.update_queue_size(number)
        _desk.record_queue_wait(0.1)
        if number % 10:
            _desk.complete_task(f"{burst}-{number}")
        else:
            _desk.fail_task(f"{burst}-{number}", "lost", f"category {burst}")
    _desk.set_custom_metric(f"reading {burst}", burst)
    AgentMetricsCollector(f"temp {burst}").set_state("idle")
    if burst % 50 == 0:
        _desk.export_metrics()
    ended["desk", "letter", "success"] += 45
    ended["desk", "letter", "error"] += 5


PROGRAMS = (answer_calls, consume_generators, deliver_parcels, track_blocks, raise_new_errors, report_tasks)


def record_in_child() -> int:
    """Record in a child that was just forked; return an exit code, 0 where it counted from zero, what it did alone."""
    ended: Ended = Counter()
    for program in (answer_calls, consume_generators):
        program(ended, 0)
    registry = agentgauge.start(is_server_enabled=False, collectors=()).registry
    samples = (sample for family in registry.collect() for sample in family.samples)
    counted = sum(sample.value for sample in samples if sample.name == "agent_task_duration_seconds_count")
    return int(counted != ended.total())


def fork_once() -> int:
    """Fork a child that records and exits; return its process id, for which the caller waits."""
    process_id = os.fork()
    if process_id == 0:
        code = 1
        try:
            code = record_in_child()
        finally:
            os._exit(code)
    return process_id
