"""An interface is initialised once, drained and shut down, on one event loop of one process."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from processing_desks import Upper, until
from processing_virtual import run

from agentgauge.errors import ConfigurationError
from agentgauge.processing import (
    InitializationError,
    ProcessingContext,
    ProcessingTimeoutError,
    ProcessStatus,
    ShuttingDownError,
    WrongLoopError,
)
from agentgauge.recording.site import current_agent


class Living(Upper):
    """Takes a second to initialise, and fails at it as often as it is told; a second to shut down."""

    def __init__(self, failures=0, seconds=1, **settings):
        super().__init__(**settings)
        self.failures = failures
        self.seconds = seconds
        self.events = []

    async def _initialize(self):
        self.events.append("initialize")
        await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no store")

    async def _shutdown(self):
        self.events.append("shutdown")
        await asyncio.sleep(1)


def test_concurrent_requests_wait_for_one_initialisation():
    async def main():
        living = Living()
        assert living.state == "offline"
        requests = [asyncio.create_task(living.process("word")) for _ in range(5)]
        await asyncio.sleep(0.5)
        assert (living.state, living.begun) == ("initializing", [])
        assert [result.data for result in await asyncio.gather(*requests)] == ["WORD"] * 5
        assert living.events == ["initialize"]
        assert living.state == "idle"

    run(main())


def test_async_with_initialises_and_shuts_down():
    async def main():
        async with Living() as living:
            assert living.events == ["initialize"]
            request = asyncio.create_task(living.process(1))
            await asyncio.sleep(0.5)
            assert living.state == "processing"
            await request
        assert living.events == ["initialize", "shutdown"]
        assert living.state == "offline"

    run(main())


def test_a_failed_initialisation_is_told_to_all_who_wait_and_tried_again_a_while_later():
    async def main():
        living = Living(failures=1, initialize_retry_seconds=5)
        first, second = await asyncio.gather(living.process("a"), living.process("b"))
        for result in (first, second):
            assert type(result.error) is InitializationError
            assert isinstance(result.error.__cause__, ConnectionError)
            assert (result.status, result.metadata["attempts"]) == (ProcessStatus.FAILED, 0)
        assert living.state == "error"
        await asyncio.sleep(2)
        refused = (await living.process("c")).error
        assert (type(refused), refused.retry_after_seconds) == (InitializationError, 3)
        assert living.events == ["initialize"]
        await asyncio.sleep(3)
        assert (await living.process("d")).data == "D"
        assert living.events == ["initialize", "initialize"]

    run(main())


def test_initialize_itself_raises_what_went_wrong():
    async def main():
        with pytest.raises(InitializationError, match="no store"):
            await Living(failures=1).initialize()
        with pytest.raises(InitializationError, match="TimeoutError"):
            await Living(seconds=100, initialize_timeout_seconds=3).initialize()

    run(main())


def test_a_request_waits_for_initialisation_no_longer_than_it_has():
    async def main():
        living = Living(seconds=10)
        result = await living.process("word", ProcessingContext(timeout_seconds=2))
        assert type(result.error) is ProcessingTimeoutError
        assert result.metadata["seconds"] == 2
        assert (await living.process("word")).is_success
        assert living.events == ["initialize"]

    run(main())


def test_who_is_cancelled_while_it_waits_for_initialisation_cancels_nobody_else():
    async def main():
        living = Living()
        first, second = (asyncio.create_task(living.process(word)) for word in ("a", "b"))
        await asyncio.sleep(0.5)
        first.cancel()
        assert (await second).data == "B"
        assert first.cancelled()

    run(main())


def test_initialisation_is_no_part_of_the_request_that_happens_to_come_first():
    seen = []

    class Seeing(Upper):
        async def _initialize(self):
            seen.append((str(current_agent.get()), ProcessingContext().remaining_seconds()))

    class Outer(Upper):
        async def _process(self, input_data, context):
            return await Seeing().process("word")

    async def main():
        await Outer(timeout_seconds=5).process(1)

    run(main())
    assert seen == [("", None)]


def test_shutdown_lets_what_runs_end_and_refuses_what_waits_and_what_comes():
    async def main():
        living = Living(seconds=0, max_concurrency=1)
        running, waiting = (asyncio.create_task(living.process(number)) for number in (5, 6))
        await asyncio.sleep(1)
        closing = asyncio.create_task(living.shutdown())
        await asyncio.sleep(1)
        assert living.state == "shutting_down"
        assert waiting.done()
        for refused in (waiting.result(), await living.process(7)):
            assert type(refused.error) is ShuttingDownError
            assert refused.status is ProcessStatus.REFUSED
        assert not closing.done()
        await closing
        assert running.result().data == 5
        assert asyncio.get_running_loop().time() == 6  # and a second for its own end
        assert living.begun == [5]
        assert living.events == ["initialize", "shutdown"]

    run(main())


def test_shutdown_cancels_what_does_not_end_in_time_and_each_gets_an_answer():
    async def main():
        living = Living(seconds=0)
        requests = [asyncio.create_task(living.process(100)) for _ in range(3)]
        await asyncio.sleep(1)
        await living.shutdown(2)
        for request in requests:
            result = await request
            assert type(result.error) is ShuttingDownError
            assert (result.status, result.metadata["seconds"]) == (ProcessStatus.CANCELLED, 3)
        assert living.ended == [100] * 3
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_work_that_ignores_its_cancellation_does_not_keep_shutdown(caplog):
    class Stubborn(Upper):
        async def _process(self, input_data, context):
            for _ in range(3):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    continue
            return "at last"

    async def main():
        stubborn = Stubborn(cancel_seconds=2)
        request = asyncio.create_task(stubborn.process(1))
        await asyncio.sleep(1)
        await stubborn.shutdown(1)
        assert asyncio.get_running_loop().time() == 4
        assert (await request).data == "at last"

    run(main())
    assert "1 requests ignore that they were cancelled" in caplog.text


def test_two_shutdowns_are_one_and_one_that_is_cancelled_goes_on():
    async def main():
        living = Living(seconds=0)
        request = asyncio.create_task(living.process(5))
        await asyncio.sleep(1)
        first, second = (asyncio.create_task(living.shutdown()) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        await second
        await living.shutdown()
        assert request.result().data == 5
        assert living.events == ["initialize", "shutdown"]

    run(main())


def test_shutdown_in_the_middle_of_initialisation_ends_it():
    async def main():
        living = Living(seconds=100)
        request = asyncio.create_task(living.process("word"))
        await asyncio.sleep(1)
        await living.shutdown()
        assert asyncio.get_running_loop().time() == 2  # and a second for its own end
        assert type((await request).error) is ShuttingDownError
        assert living.state == "offline"

    run(main())


def test_shutdown_of_what_never_began_calls_nothing():
    async def main():
        living = Living()
        await living.shutdown()
        assert living.events == []

    run(main())


def test_what_the_classs_own_shutdown_raises_reaches_whoever_shuts_down():
    class Failing(Upper):
        async def _shutdown(self):
            raise KeyError("store")

    async def main():
        failing = Failing()
        await failing.process("word")
        with pytest.raises(KeyError):
            await failing.shutdown()
        assert failing.state == "offline"

    run(main())


def test_work_that_shuts_its_own_interface_down_is_refused():
    async def main():
        upper = Upper()
        result = await upper.process(upper.shutdown)
        assert isinstance(result.error.__cause__, ConfigurationError)
        assert "wait for itself" in str(result.error)
        assert (await upper.process("word")).is_success

    run(main())


def test_an_interface_that_was_shut_down_may_be_initialised_anew():
    async def main():
        living = Living()
        for _ in range(2):
            await living.initialize()
            assert (await living.process("word")).is_success
            await living.shutdown()
        assert living.events == ["initialize", "shutdown"] * 2

    run(main())


def test_another_event_loop_is_told_so_and_may_come_after_a_shutdown():
    upper = Upper()
    run(upper.process("word"))

    async def stream():
        async for _ in upper.stream("word"):
            pass

    for use in (lambda: upper.process("word"), stream, upper.initialize, upper.shutdown):
        with pytest.raises(WrongLoopError, match="another event loop, which is closed"):
            run(use())
    other = Upper()

    async def whole():
        await other.process("word")
        await other.shutdown()

    run(whole())
    assert isinstance(run(other.process("word")).error, ShuttingDownError)
    run(other.initialize())


def test_a_loop_in_another_thread_is_another_loop():
    async def main():
        upper = Upper()
        await upper.process("word")
        errors = []

        def elsewhere():
            try:
                asyncio.run(upper.process("word"))
            except WrongLoopError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(errors) == 1
        assert (await upper.process("word")).is_success

    asyncio.run(main())


def test_a_forked_child_begins_anew_with_an_interface_of_its_parent():
    living = Living(seconds=0, max_concurrency=1)

    async def in_parent():
        request = asyncio.create_task(living.process(0.2))
        waiting = asyncio.create_task(living.process("word"))
        await until(lambda: living.queue_depth)
        ids = ProcessingContext().request_id
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer = b"failed"
            try:
                asyncio._set_running_loop(None)
                asyncio.set_event_loop(None)
                answer = asyncio.run(in_child())
            finally:
                os.write(writing, answer)
                os._exit(0)
        os.close(writing)
        answer = os.read(reading, 1000)
        os.close(reading)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - the child has answered
        assert answer == b"offline 0 WORD initialize,initialize"
        assert (await request).data == 0.2
        assert (await waiting).data == "WORD"
        assert ids

    async def in_child():
        before = f"{living.state} {living.queue_depth}"
        result = await living.process("word")
        return f"{before} {result.data} {','.join(living.events)}".encode()

    asyncio.run(in_parent())


def test_a_forked_child_draws_other_ids_than_its_parent():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, ProcessingContext().request_id.encode())
        os._exit(0)
    os.close(writing)
    child = os.read(reading, 100).decode()
    os.close(reading)
    os.waitpid(pid, 0)
    assert len(child) == 32
    assert child != ProcessingContext().request_id
