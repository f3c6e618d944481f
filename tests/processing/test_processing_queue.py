"""The concurrency limit, and the queue before it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processing_desks import Upper
from processing_virtual import run

from agentgauge.processing import (
    DeadlineExceededError,
    OverloadedError,
    Priority,
    ProcessingContext,
    ProcessingTimeoutError,
    ProcessStatus,
)
from agentgauge.testing import isolated


def test_no_more_requests_are_worked_on_at_once_than_the_limit_allows():
    async def main():
        upper = Upper(max_concurrency=3)
        results = await asyncio.gather(*(upper.process(1) for _ in range(10)))
        assert upper.most_inside == 3
        assert [result.metadata["queued_seconds"] for result in results] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
        assert asyncio.get_running_loop().time() == 4

    run(main())


@settings(max_examples=30)
@given(st.lists(st.integers(-3, 3), max_size=30))
def test_those_who_wait_come_by_priority_and_then_by_age(priorities):
    order = []

    class Noting(Upper):
        async def _process(self, input_data, context):
            order.append(input_data)
            await asyncio.sleep(1)

    async def main():
        noting = Noting(max_concurrency=1)
        first = asyncio.create_task(noting.process(-1))
        await asyncio.sleep(0.5)
        contexts = [ProcessingContext(priority=each) for each in priorities]
        await asyncio.gather(first, *(noting.process(number, context) for number, context in enumerate(contexts)))

    with isolated():
        run(main())
    assert order == [-1, *sorted(range(len(priorities)), key=lambda number: (-priorities[number], number))]


def test_a_full_queue_sheds_the_newcomer_unless_it_matters_more():
    async def main():
        upper = Upper(max_concurrency=1, queue_limit=2)

        def ask(priority):
            return asyncio.create_task(upper.process(1, ProcessingContext(priority=priority)))

        running, low, newer_low = ask(0), ask(Priority.LOW), ask(Priority.LOW)
        await asyncio.sleep(0.1)
        assert upper.queue_depth == 2
        same = ask(Priority.LOW)
        high = ask(Priority.HIGH)
        await asyncio.sleep(0.1)
        for shed in (same, newer_low):  # of those that matter least, the youngest
            error = shed.result().error
            assert (type(error), error.reason, error.retryable) == (OverloadedError, "queue_full", True)
            assert shed.result().status is ProcessStatus.REFUSED
        assert [(await each).status for each in (running, high, low)] == [ProcessStatus.COMPLETED] * 3
        assert high.result().metadata["queued_seconds"] < low.result().metadata["queued_seconds"]

    run(main())


def test_without_a_queue_whoever_finds_no_place_is_shed_at_once(fresh):
    async def main():
        upper = Upper(max_concurrency=1, queue_limit=0)
        first, second = await asyncio.gather(upper.process(1), upper.process(1))
        assert first.is_success
        assert second.error.reason == "queue_full"
        assert fresh.value("agent_queue_wait_seconds_count", gen_ai_agent_name="Upper", queue="process") is None  # nobody waited

    run(main())


def test_waiting_is_bounded():
    async def main():
        upper = Upper(max_concurrency=1, queue_timeout_seconds=2)
        _, late = await asyncio.gather(upper.process(5), upper.process(1))
        assert (late.error.reason, late.metadata["queued_seconds"], late.metadata["attempts"]) == ("wait_timeout", 2, 0)
        assert upper.begun == [5]

    run(main())


def test_whose_time_is_up_while_it_waits_is_shed():
    async def main():
        upper = Upper(max_concurrency=1)
        _, late = await asyncio.gather(upper.process(5), upper.process(1, ProcessingContext(timeout_seconds=2)))
        assert type(late.error) is ProcessingTimeoutError
        assert (late.status, late.metadata["queued_seconds"]) == (ProcessStatus.TIMED_OUT, 2)
        assert not isinstance(late.error, DeadlineExceededError)
        assert upper.begun == [5]

    run(main())


def test_who_is_cancelled_while_it_waits_leaves_the_queue():
    async def main():
        upper = Upper(max_concurrency=1)
        first, second, third = (asyncio.create_task(upper.process(number)) for number in (5, 6, 7))
        await asyncio.sleep(1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert upper.queue_depth == 1
        assert (await third).is_success
        assert first.result().is_success
        assert upper.begun == [5, 7]

    run(main())


def test_who_is_cancelled_with_the_place_already_in_its_hand_passes_it_on():
    async def main():
        upper = Upper(max_concurrency=1)
        release = asyncio.Event()
        first = asyncio.create_task(upper.process(release.wait))
        second, third = (asyncio.create_task(upper.process(word)) for word in ("b", "c"))
        await asyncio.sleep(1)
        release.set()
        for _ in range(10):  # until the place is handed over, and second has not run yet
            await asyncio.sleep(0)
            if upper.queue_depth == 1:
                break
        second.cancel()
        assert (await third).data == "C"
        with pytest.raises(asyncio.CancelledError):
            await second
        assert first.done()
        assert "b" not in upper.begun
        assert not upper.in_progress()

    run(main())


def test_who_is_cancelled_in_the_moment_in_which_a_place_is_free_is_passed_over():
    async def main():
        upper = Upper(max_concurrency=1)
        release = asyncio.Event()
        requests = []

        async def end_and_cancel_the_next():
            await release.wait()
            requests[1].cancel()

        for work in (end_and_cancel_the_next, "b", "c"):
            requests.append(asyncio.create_task(upper.process(work)))
            await asyncio.sleep(1)
        release.set()
        assert (await requests[2]).data == "C"
        assert (await requests[0]).is_success
        assert requests[1].cancelled()
        assert "b" not in upper.begun

    run(main())


def test_the_queue_is_shown_in_series(fresh):
    async def main():
        upper = Upper(agent="desk", task="say", max_concurrency=1)
        requests = [asyncio.create_task(upper.process(2)) for _ in range(3)]
        await asyncio.sleep(1)
        assert fresh.value("agent_queue_depth", gen_ai_agent_name="desk", queue="say") == 2
        await asyncio.gather(*requests)
        assert fresh.value("agent_queue_depth", gen_ai_agent_name="desk", queue="say") == 0
        assert fresh.value("agent_queue_wait_seconds_count", gen_ai_agent_name="desk", queue="say") == 2
        assert fresh.value("agent_queue_wait_seconds_sum", gen_ai_agent_name="desk", queue="say") == 6

    run(main())
