"""What ``process()`` itself costs, against the pieces of asyncio that it stands on: a semaphore, a timeout and a task.

The work does nothing. All that a request records is drained and counted inside the window; the pieces record nothing.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from agentgauge.processing import EnhancedProcessingInterface, ProcessingContext, ProcessingSettings
from measure import Subject, measure
from references import set_provider
from rows import Row, Suite
from subjects import OurSeries, loop_async, work_async

if TYPE_CHECKING:
    from collections.abc import Collection

    from rows import Effort

__all__ = ["NAME", "SUITES"]

NAME = "process(), against asyncio's own pieces"
_TASK = "bench process"
_LIMIT = 100
_SECONDS = 60.0


class _Doing(EnhancedProcessingInterface[int, int]):
    """Does nothing, within limits."""

    settings = ProcessingSettings(task=_TASK, max_concurrency=_LIMIT, timeout_seconds=_SECONDS)

    async def _process(self, input_data: int, context: ProcessingContext) -> int:  # noqa: ARG002 - as users write it
        return await work_async(input_data)


def _pieces(calls: int) -> None:
    async def all_calls() -> None:
        places = asyncio.Semaphore(_LIMIT)
        for value in range(calls):
            async with places, asyncio.timeout(_SECONDS):
                await asyncio.create_task(work_async(value))

    asyncio.run(all_calls())


def _processed(calls: int) -> None:
    loop_async(_Doing().process)(calls)


@functools.cache
def _subjects() -> tuple[Subject, Subject, Subject]:
    series = OurSeries(_TASK)
    return (
        Subject("bare work", loop_async(work_async), prepare=_without_sdk),
        Subject("process()", _processed, series.settle, _without_sdk),
        Subject("semaphore, timeout, task", _pieces, prepare=_without_sdk),
    )


def _without_sdk() -> None:
    set_provider(None)


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    bare, ours, pieces = _subjects()
    figures = measure([bare, ours, pieces], calls=effort.calls, rounds=effort.rounds)
    floor = figures[bare.name].best
    own, reference = figures[ours.name].best - floor, figures[pieces.name].best - floor
    return [Row(NAME, own / reference, own, reference, "ns", pieces.name)]


SUITES = (Suite((NAME,), _measure),)
