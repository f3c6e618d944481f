"""What a decorated call costs when 1,000 asyncio tasks or 8 threads make them at once, against one caller's.

Run as a script, with ``tasks`` or ``threads`` and a number of rounds, it prints both: a process of its own, since what
others leave on the heap is looked through by the garbage collections of a thousand open calls.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from types import coroutine
from typing import TYPE_CHECKING, Any

import agentgauge
from fresh import run_fresh
from measure import Subject, measure
from rows import Row, Suite
from subjects import OurSeries, loop, work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from rows import Effort

__all__ = ["SUITES"]

_TASKS = 1_000
_THREADS = 8
_CALLS_A_TASK = 10
_CALLS_A_THREAD = 20_000  # some 15 ms: long enough to lose the interpreter's lock several times
_SERIES = OurSeries()


@coroutine
def _pause() -> Generator[None, None, None]:
    """Let every other task run first."""
    yield


async def _hold(value: int) -> int:
    """Stay open while every other task makes its call."""
    await _pause()
    return value


def _alone(function: Callable[[int], Any]) -> Callable[[int], None]:
    """Make the same calls one after the other, without an event loop: its turns cost several times what is measured."""

    def run(calls: int) -> None:
        for value in range(calls):
            call = function(value)
            call.send(None)
            try:
                call.send(None)
            except StopIteration:
                continue

    return run


def _in_tasks(function: Callable[[int], Any]) -> Callable[[int], None]:
    async def one(calls: int) -> None:
        for value in range(calls):
            await function(value)

    async def everyone(calls: int) -> None:
        await asyncio.gather(*(one(calls // _TASKS) for _ in range(_TASKS)))

    return lambda calls: asyncio.run(everyone(calls))


def _in_threads(function: Callable[[int], Any]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        gate = threading.Barrier(_THREADS)

        def one() -> None:
            gate.wait()
            for value in range(calls // _THREADS):
                function(value)

        threads = [threading.Thread(target=one) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def _added(subjects: tuple[Subject, Subject, Subject, Subject], calls: int, rounds: int) -> tuple[float, float]:
    """Return what is added to a call of many, and to one of a single caller, in nanoseconds."""
    figures = measure(subjects, calls=calls, rounds=rounds)
    bare, ours, bare_alone, ours_alone = (figures[subject.name].best for subject in subjects)
    return ours - bare, ours_alone - bare_alone


def _tasks(rounds: int) -> tuple[float, float]:
    ours = agentgauge.task("work")(_hold)
    subjects = (
        Subject("tasks: bare", _in_tasks(_hold)),
        Subject("tasks: ours", _in_tasks(ours), _SERIES.settle),
        Subject("one task: bare", _alone(_hold)),
        Subject("one task: ours", _alone(ours), _SERIES.settle),
    )
    return _added(subjects, _TASKS * _CALLS_A_TASK, rounds)


def _threads(rounds: int) -> tuple[float, float]:
    ours = agentgauge.task("work")(work)
    subjects = (
        Subject("threads: bare", _in_threads(work)),
        Subject("threads: ours", _in_threads(ours), _SERIES.settle),
        Subject("one thread: bare", loop(work)),
        Subject("one thread: ours", loop(ours), _SERIES.settle),
    )
    return _added(subjects, _THREADS * _CALLS_A_THREAD, max(3, rounds // 3))


_FIGURES = {"tasks": _tasks, "threads": _threads}


def _suite(name: str, figures: str) -> Suite:
    def measured(_names: Collection[str], effort: Effort) -> list[Row]:
        many, one = run_fresh("concurrency.py", figures, effort.rounds)
        return [Row(name, many / one, many, one, "ns", "one caller")]

    return Suite((name,), measured)


SUITES = (_suite("1,000 concurrent asyncio tasks", "tasks"), _suite("8 threads", "threads"))

if __name__ == "__main__":
    print(json.dumps(_FIGURES[sys.argv[1]](int(sys.argv[2]))))
