"""The same on uvloop's loop, whose clock has milliseconds."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvloop
from processing_desks import Upper, until

from agentgauge.processing import (
    OverloadedError,
    ProcessingContext,
    ProcessingTimeoutError,
    RetryPolicy,
    ShuttingDownError,
)


def run(main):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def test_requests_wait_time_out_are_cancelled_and_tried_again_under_uvloop():
    async def main():
        upper = Upper(max_concurrency=1, queue_limit=1)
        held = asyncio.Event()
        first = asyncio.create_task(upper.process(held.wait))
        second = asyncio.create_task(upper.process("word"))
        await until(lambda: upper.queue_depth)
        assert isinstance((await upper.process("third")).error, OverloadedError)
        held.set()
        assert (await second).data == "WORD"
        assert (await first).data is True
        assert type((await upper.process(3600, ProcessingContext(timeout_seconds=0.02))).error) is ProcessingTimeoutError
        request = asyncio.create_task(upper.process(3600))
        await until(upper.in_progress)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert upper.ended[-1] == 3600
        await upper.shutdown()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_streams_retries_and_shutdown_work_under_uvloop():
    async def main():
        upper = Upper(retry=RetryPolicy(retries=1, first_seconds=0.001))
        assert (await upper.process(ConnectionError("gone"))).metadata["attempts"] == 2
        async with contextlib.aclosing(upper.stream("word")) as stream:
            assert await anext(stream) == "WORD"
        request = asyncio.create_task(upper.process(3600))
        await until(upper.in_progress)
        await upper.shutdown(0)
        assert type((await request).error) is ShuttingDownError
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
