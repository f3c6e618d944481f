"""Items that come as they are asked for, and many inputs at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest
from processing_desks import FakeBreaker, Upper, sums
from processing_virtual import run

from agentgauge.errors import ConfigurationError
from agentgauge.processing import (
    CircuitRefusedError,
    DependencyError,
    InvalidInputError,
    ProcessingCancelledError,
    ProcessingContext,
    ProcessingTimeoutError,
    ProcessStatus,
    RetryPolicy,
    ShuttingDownError,
    WorkFailedError,
    remaining_seconds,
)

OUTCOMES = "agent_task_duration_seconds_count"


class Letters(Upper):
    """Yields the letters of a word, a second each; raises what it is told in place of one."""

    def __init__(self, *failures, **settings):
        super().__init__(**settings)
        self.made = []
        self.closed = 0
        self.failures = list(failures)

    async def _stream(self, input_data, context):
        self.begun.append(input_data)
        try:
            for letter in input_data:
                await asyncio.sleep(1)
                if self.failures and self.failures[0] is not None:
                    raise self.failures.pop(0)
                if self.failures:
                    self.failures.pop(0)
                self.made.append(letter)
                yield letter
        finally:
            self.closed += 1


async def listen(stream, heard):
    async for item in stream:
        heard.append(item)


def outcomes(fresh):
    return {name: count for name, count in sums(fresh.registry, OUTCOMES, "outcome").items() if count}


def test_items_come_one_by_one_and_are_made_when_they_are_asked_for(fresh):
    async def main():
        letters = Letters()
        stream = letters.stream("abc")
        assert letters.begun == []
        assert await anext(stream) == "a"
        await asyncio.sleep(5)
        assert letters.made == ["a"]
        assert len(letters.in_progress()) == 1
        assert [letter async for letter in stream] == ["b", "c"]
        assert letters.closed == 1
        assert not letters.in_progress()

    run(main())
    assert outcomes(fresh) == {"success": 1}


def test_a_class_without_a_stream_of_its_own_streams_its_one_answer():
    async def main():
        assert [item async for item in Upper().stream("word")] == ["WORD"]

    run(main())


def test_who_closes_early_ends_the_work_and_frees_its_place(fresh):
    async def main():
        letters = Letters(max_concurrency=1)
        async with contextlib.aclosing(letters.stream("abc")) as stream:
            async for _ in stream:
                break
        assert (letters.made, letters.closed) == (["a"], 1)
        assert not letters.in_progress()
        async for _ in letters.stream("abc"):
            break
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert letters.closed == 2
        assert [letter async for letter in letters.stream("xy")] == ["x", "y"]

    run(main())
    assert outcomes(fresh) == {"abandoned": 2, "success": 1}


def test_a_failure_before_the_first_item_is_tried_again_and_none_after_it(fresh):
    async def main():
        early = Letters(ConnectionError("gone"), retry=RetryPolicy(retries=2))
        assert [letter async for letter in early.stream("ab")] == ["a", "b"]
        assert early.begun == ["ab", "ab"]
        late = Letters(None, ConnectionError("gone"), retry=RetryPolicy(retries=2))
        heard = []
        with pytest.raises(DependencyError):
            await listen(late.stream("ab"), heard)
        assert (heard, late.begun, late.closed) == (["a"], ["ab"], 1)

    run(main())
    assert outcomes(fresh) == {"success": 1, "error": 1}
    assert sums(fresh.registry, "agent_task_retries_total") == 1


def test_a_failure_that_is_not_worth_another_attempt_is_raised():
    async def main():
        failure = ValueError("no")
        letters = Letters(failure, retry=RetryPolicy(retries=2))
        with pytest.raises(WorkFailedError) as caught:
            await anext(letters.stream("ab"))
        assert caught.value.__cause__ is failure
        assert letters.begun == ["ab"]

    run(main())


def test_the_timeout_of_a_stream_cuts_a_step_off():
    async def main():
        letters = Letters(timeout_seconds=2.5)
        heard = []
        with pytest.raises(ProcessingTimeoutError):
            await listen(letters.stream("abcdef"), heard)
        assert (heard, letters.closed, asyncio.get_running_loop().time()) == (["a", "b"], 1, 2.5)
        assert asyncio.current_task().cancelling() == 0
        assert not letters.in_progress()

    run(main())


def test_the_timeout_of_a_stream_ends_its_work_also_while_the_consumer_has_an_item_in_its_hands(fresh):
    async def main():
        letters = Letters(timeout_seconds=3, max_concurrency=1)
        stream = letters.stream("abc")
        assert await anext(stream) == "a"
        await asyncio.sleep(5)
        assert letters.closed == 1
        assert not letters.in_progress()
        assert (await letters.process("other")).is_success  # its place is free
        with pytest.raises(ProcessingTimeoutError):
            await anext(stream)

    run(main())
    assert outcomes(fresh) == {"timeout": 1, "success": 1}


def test_a_consumer_that_never_comes_back_keeps_no_place():
    async def main():
        letters = Letters(timeout_seconds=3, max_concurrency=1)
        stream = letters.stream("abc")
        await anext(stream)
        await asyncio.sleep(4)
        assert letters.closed == 1
        await stream.aclose()

    run(main())


def test_who_is_cancelled_while_a_stream_that_was_cut_off_cleans_up_ends_that_too():
    class Slow(Letters):
        async def _stream(self, input_data, context):
            try:
                yield input_data
            finally:
                try:
                    await asyncio.sleep(1000)
                finally:
                    self.closed += 1

    async def main():
        slow = Slow(timeout_seconds=1, max_concurrency=1)

        async def consume():
            async with contextlib.aclosing(slow.stream("a")) as stream:
                async for _ in stream:
                    await asyncio.sleep(2)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consume(), 5)
        assert asyncio.get_running_loop().time() == 5
        assert (slow.closed, slow.in_progress()) == (1, ())

    run(main())


def test_an_exit_out_of_the_clean_up_of_a_stream_that_was_cut_off_ends_the_program():
    class Leaves(Letters):
        async def _stream(self, input_data, context):
            try:
                yield input_data
            finally:
                raise SystemExit(3)

    async def main():
        stream = Leaves(timeout_seconds=1).stream("a")
        await anext(stream)
        await asyncio.sleep(5)

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_shutdown_ends_streams_and_tells_their_consumers(fresh):
    async def main():
        letters = Letters()
        held = letters.stream("abc")
        await anext(held)
        heard = []
        listener = asyncio.create_task(listen(letters.stream("abcdefghij"), heard))
        await asyncio.sleep(2.5)
        await letters.shutdown(1)
        assert letters.closed == 2
        with pytest.raises(ShuttingDownError):
            await listener
        with pytest.raises(ShuttingDownError):
            await anext(held)
        with pytest.raises(ShuttingDownError):
            await anext(letters.stream("abc"))

    run(main())
    assert outcomes(fresh) == {"cancelled": 2}


def test_a_cancelled_consumer_gets_its_cancellation_and_the_work_ends(fresh):
    async def main():
        letters = Letters()

        listener = asyncio.create_task(listen(letters.stream("abcdefghij"), []))
        await asyncio.sleep(2.5)
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        assert letters.closed == 1

    run(main())
    assert outcomes(fresh) == {"cancelled": 1}


def test_streams_wait_for_their_turn_are_checked_and_ask_the_breaker():
    class Checked(Letters):
        def _validate_input(self, input_data, context):
            return bool(input_data)

    async def main():
        breaker = FakeBreaker()
        checked = Checked(max_concurrency=1, breaker=breaker)

        async def whole(word):
            return [letter async for letter in checked.stream(word)]

        assert await asyncio.gather(whole("ab"), whole("cd")) == [["a", "b"], ["c", "d"]]
        assert asyncio.get_running_loop().time() == 4
        with pytest.raises(InvalidInputError):
            await whole("")
        breaker.refusal = RuntimeError("open")
        with pytest.raises(CircuitRefusedError):
            await whole("x")
        assert breaker.endings == [None, None]

    run(main())


def test_the_breaker_hears_once_how_a_stream_ended():
    async def main():
        breaker = FakeBreaker()
        early, late = ConnectionError("early"), ConnectionError("late")
        for letters in (Letters(early, breaker=breaker), Letters(None, late, breaker=breaker)):
            with pytest.raises(DependencyError):
                await listen(letters.stream("ab"), [])
        async with contextlib.aclosing(Letters(breaker=breaker).stream("ab")) as stream:
            await anext(stream)
        with pytest.raises(ProcessingTimeoutError):
            await listen(Letters(breaker=breaker, timeout_seconds=1.5).stream("ab"), [])
        await listen(Letters(breaker=breaker).stream("ab"), [])
        await listen(Letters(breaker=breaker).stream(""), [])
        assert breaker.endings[:2] == [early, late]
        assert isinstance(breaker.endings[2], GeneratorExit)
        assert isinstance(breaker.endings[3], TimeoutError)
        assert breaker.endings[4:] == [None, None]

    run(main())


def test_the_context_of_the_work_is_not_that_of_the_consumer():
    class Asking(Upper):
        async def _stream(self, input_data, context):
            yield remaining_seconds()
            yield remaining_seconds()

    async def main():
        async for remaining in Asking(timeout_seconds=9).stream(1):
            assert remaining == 9
            assert remaining_seconds() is None

    run(main())


def test_a_batch_has_a_result_for_each_input_in_their_order():
    async def main():
        upper = Upper(max_concurrency=3)
        failure = ValueError("no")
        results = await upper.process_batch([3, 1, failure, 2, "word"], ProcessingContext(request_id="b"))
        assert [result.data for result in results] == [3, 1, None, 2, "WORD"]
        assert results[2].error.__cause__ is failure
        assert upper.most_inside <= 3
        assert [result.metadata["request_id"] for result in results] == ["b-0", "b-1", "b-2", "b-3", "b-4"]
        assert await upper.process_batch([]) == []
        assert await upper.process_batch(iter(())) == []

    run(main())


def test_a_batch_takes_inputs_as_it_has_hands_for_them():
    taken = []

    def inputs():
        for number in range(6):
            taken.append(number)
            yield 1

    async def main():
        upper = Upper(max_concurrency=10)
        batch = asyncio.create_task(upper.process_batch(inputs(), concurrency=2))
        await asyncio.sleep(0.5)
        assert taken == [0, 1]
        assert len(await batch) == 6
        assert upper.most_inside == 2
        with pytest.raises(ConfigurationError, match="concurrency=0"):
            await upper.process_batch([1], concurrency=0)

    run(main())


def test_a_batch_returns_failures_where_the_interface_raises_them():
    async def main():
        (result,) = await Upper(raises=True).process_batch([ValueError("no")])
        assert not result.is_success

    run(main())


def test_work_that_cancels_itself_is_a_value_in_a_batch_and_a_cancelled_batch_is_cancelled():
    async def give_up():
        raise asyncio.CancelledError

    async def main():
        upper = Upper()
        given_up, fine = await upper.process_batch([give_up, "word"])
        assert type(given_up.error) is ProcessingCancelledError
        assert given_up.status is ProcessStatus.CANCELLED
        assert fine.is_success
        batch = asyncio.create_task(upper.process_batch([10, 10]))
        await asyncio.sleep(1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert upper.ended.count(10) == 2

    run(main())


def test_a_cancelled_batch_begins_with_no_further_item():
    async def main():
        upper = Upper()
        batch = asyncio.create_task(upper.process_batch([10, 11, 12], concurrency=1))
        await asyncio.sleep(1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert upper.begun == [10]

    run(main())


def test_an_input_that_cannot_be_had_ends_the_batch():
    def inputs():
        yield 1
        raise KeyError("no more")

    async def main():
        with pytest.raises(KeyError):
            await Upper().process_batch(inputs())

    run(main())
