"""Cancellation in asyncio is what it was, whatever of ours fails: the tasks, their counts of requests, and what they raise."""

from __future__ import annotations

import asyncio

import pytest
from fault_points import POINTS, fallible

from agentgauge import agent

# The others cannot fail here: they are of track, of reports and of scrapes, and a cancellation sets no status.
CASES = [point for point in POINTS if point not in {"tracked target", "observation", "count", "span status"}]


class Patient:
    """Waits in each of the ways that can be cancelled, and notes what it sees of its own task."""

    def __init__(self, decorate, kind, notes):
        self.notes = notes
        self.started = asyncio.Event()
        self.begin = decorate(self._wait_coroutine if kind == "coroutine" else self._wait_async_generator)

    async def run(self):
        if asyncio.iscoroutine(waiting := self.begin()):
            return await waiting
        return [item async for item in waiting]

    async def _wait_coroutine(self):
        return await self._wait()

    async def _wait_async_generator(self):
        yield await self._wait()

    async def _wait(self):
        try:
            self.started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            self.notes.append(("cancelled", error.args, asyncio.current_task().cancelling()))
            raise
        finally:
            await asyncio.sleep(0)


async def by_cancel(patient):
    running = asyncio.create_task(patient.run())
    await patient.started.wait()
    running.cancel("because")
    try:
        await running
    except asyncio.CancelledError as error:
        return error.args, running.cancelled(), running.cancelling()


async def by_cancel_that_is_taken_back(patient):
    async def persist():
        try:
            await patient.run()
        except asyncio.CancelledError:
            return "went on", asyncio.current_task().uncancel()

    running = asyncio.create_task(persist())
    await patient.started.wait()
    running.cancel()
    return await running, running.cancelled(), running.cancelling()


async def by_timeout(patient):
    try:
        async with asyncio.timeout(0.001):
            await patient.run()
    except TimeoutError as error:
        return type(error.__cause__), error.__suppress_context__, asyncio.current_task().cancelling()


async def by_wait_for(patient):
    try:
        await asyncio.wait_for(patient.run(), 0.001)
    except TimeoutError as error:
        return type(error.__cause__), asyncio.current_task().cancelling()


async def by_a_sibling(patient):
    async def fail():
        await patient.started.wait()
        raise LookupError("sibling")

    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(patient.run())
            group.create_task(fail())
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions], running.cancelled(), running.cancelling()


WAYS = [by_cancel, by_cancel_that_is_taken_back, by_timeout, by_wait_for, by_a_sibling]


@pytest.mark.parametrize("kind", ["coroutine", "async generator"])
@pytest.mark.parametrize("point", CASES)
def test_every_way_to_be_cancelled_is_as_without_us(point, kind):
    def notes_of(way, decorate):
        notes = []

        async def main():
            notes.append(await way(Patient(decorate, kind, notes)))

        asyncio.run(main())
        return notes

    with fallible(has_sdk=True) as bench:

        def decorate_and_arm(function):
            function = agent("scout")(function)
            bench.switches.arm(point)
            return function

        for way in WAYS:
            expected = notes_of(way, lambda function: function)
            assert notes_of(way, decorate_and_arm) == expected
            assert len(expected) == 2
            bench.switches.disarm()
        assert bench.switches.fired[point]
        assert set(bench.ends.by_span.values()) <= {1}
