"""Timeouts and deadlines, and how they reach nested requests."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from processing_desks import Upper
from processing_virtual import run

from agentgauge.processing import (
    DeadlineExceededError,
    ProcessingContext,
    ProcessingError,
    ProcessingTimeoutError,
    ProcessStatus,
    remaining_seconds,
)


def test_a_request_is_over_when_its_timeout_passes_and_its_work_is_cancelled():
    async def main():
        upper = Upper(timeout_seconds=2)
        result = await upper.process(10)
        assert (type(result.error), result.status) == (ProcessingTimeoutError, ProcessStatus.TIMED_OUT)
        assert isinstance(result.error, TimeoutError)
        assert (result.metadata["seconds"], upper.ended) == (2, [10])
        assert asyncio.current_task().cancelling() == 0
        assert (await upper.process(1)).is_success

    run(main())


def test_the_context_says_a_timeout_of_its_own():
    async def main():
        upper = Upper(timeout_seconds=2)
        assert (await upper.process(10, ProcessingContext(timeout_seconds=20))).is_success
        assert (await upper.process(1, ProcessingContext(timeout_seconds=0.5))).metadata["seconds"] == 0.5

    run(main())


def test_without_a_timeout_a_request_may_take_for_ever():
    async def main():
        assert (await Upper(timeout_seconds=None).process(80_000)).is_success

    run(main())


def test_a_deadline_that_has_passed_sheds_the_request(fresh):
    async def main():
        upper = Upper()
        result = await upper.process("word", ProcessingContext(deadline=datetime.now(UTC) - timedelta(seconds=1)))
        assert type(result.error) is DeadlineExceededError
        assert (result.status, result.error.retryable) == (ProcessStatus.TIMED_OUT, False)
        assert upper.begun == []

    run(main())
    assert fresh.value("agent_tasks_shed_total", gen_ai_agent_name="Upper", agent_task="process", reason="deadline") == 1


@pytest.mark.parametrize("seconds", [1, 86_400])
def test_of_a_deadline_that_has_passed_it_is_told_that_it_was_before_the_request_came(seconds):
    async def main():
        past = ProcessingContext(deadline=datetime.now(UTC) - timedelta(seconds=seconds))
        for error in ((await Upper().process("word", past)).error, await _raised_by(Upper().stream("word", past))):
            told = re.fullmatch(r"the deadline of the request had passed (\d+\.\d{3}) s before it came", str(error))
            assert float(told[1]) >= seconds

    run(main())


def test_of_a_deadline_that_passes_meanwhile_it_is_told_that_it_was_after_the_request_came():
    async def main():
        error = (await Upper().process(90, ProcessingContext(deadline=datetime.now(UTC) + timedelta(seconds=60)))).error
        assert re.fullmatch(r"the deadline of the request passed (5\d(\.\d)?|60) s after it came", str(error))

    run(main())


async def _raised_by(stream):
    with pytest.raises(DeadlineExceededError) as caught:
        await anext(stream)
    return caught.value


def test_a_deadline_cuts_the_work_off():
    async def main():
        upper = Upper()
        result = await upper.process(1000, ProcessingContext(deadline=datetime.now(UTC) + timedelta(seconds=60)))
        assert type(result.error) is DeadlineExceededError
        assert 50 < result.metadata["seconds"] <= 60

    run(main())


class Outer(Upper):
    """Asks another interface, in the way that it is told."""

    def __init__(self, inner, ask, **settings):
        super().__init__(**settings)
        self.inner = inner
        self.ask = ask
        self.heard = None

    async def _process(self, input_data, context):
        self.heard = await self.ask(self.inner, input_data)
        return self.heard.unwrap()


async def _directly(inner, seconds):
    return await inner.process(seconds)


async def _in_a_task(inner, seconds):
    return await asyncio.create_task(inner.process(seconds))


async def _in_a_group(inner, seconds):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(inner.process(seconds))
    return task.result()


@pytest.mark.parametrize("ask", [_directly, _in_a_task, _in_a_group])
def test_a_nested_request_has_the_smaller_of_its_own_time_and_that_of_the_one_around_it(ask):
    async def main():
        patient = Upper(timeout_seconds=100)
        outer = Outer(patient, ask, agent="outer", timeout_seconds=3)
        result = await outer.process(10)
        assert type(result.error) is ProcessingTimeoutError  # the outer's own
        assert (result.metadata["seconds"], patient.ended) == (3, [10])
        hasty = Upper(timeout_seconds=1)
        outer = Outer(hasty, ask, agent="outer", timeout_seconds=30)
        result = await outer.process(10)
        assert type(result.error) is ProcessingTimeoutError  # the inner's, which passes as it is
        assert result.error is outer.heard.error
        assert result.metadata["seconds"] == 1
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_a_task_that_outlives_its_request_keeps_its_deadline():
    async def main():
        inner = Upper(timeout_seconds=100)
        tasks = []

        async def leave_behind(_inner, seconds):
            tasks.append(asyncio.create_task(inner.process(seconds)))
            return await inner.process("word")

        assert (await Outer(inner, leave_behind, agent="outer", timeout_seconds=4).process(10)).is_success
        left = await tasks[0]
        assert type(left.error) is DeadlineExceededError
        assert left.metadata["seconds"] == 4

    run(main())


def test_the_work_can_ask_how_long_it_has_left():
    seen = []

    class Asking(Upper):
        async def _process(self, input_data, context):
            seen.append((remaining_seconds(), context.remaining_seconds()))
            await asyncio.sleep(2)
            seen.append((remaining_seconds(), context.remaining_seconds()))

    async def main():
        await Asking(timeout_seconds=5).process(1)
        await Asking(timeout_seconds=None).process(1)
        assert remaining_seconds() is None

    run(main())
    assert seen == [(5, 5), (3, 3), (None, None), (None, None)]


def test_waiting_for_a_turn_counts_against_the_time():
    async def main():
        upper = Upper(max_concurrency=1, timeout_seconds=5)
        first, second = await asyncio.gather(upper.process(3), upper.process(4))
        assert first.is_success
        assert (type(second.error), second.metadata["seconds"]) == (ProcessingTimeoutError, 5)
        assert second.metadata["queued_seconds"] == 3

    run(main())


def test_work_that_ends_well_although_it_was_cut_off_has_succeeded():
    class Stubborn(Upper):
        async def _process(self, input_data, context):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return "all the same"

    async def main():
        assert (await Stubborn(timeout_seconds=1).process(1)).data == "all the same"
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_what_cleaning_up_raises_is_what_the_request_ends_in():
    class Messy(Upper):
        async def _process(self, input_data, context):
            try:
                await asyncio.sleep(10)
            finally:
                raise KeyError("in cleaning up")

    async def main():
        error = (await Messy(timeout_seconds=1).process(1)).error
        assert isinstance(error, ProcessingError)
        assert isinstance(error.__cause__, KeyError)
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_a_cancellation_that_comes_with_the_timeout_wins():
    async def main():
        upper = Upper(timeout_seconds=2)
        request = asyncio.create_task(upper.process(10))
        asyncio.get_running_loop().call_later(2, request.cancel)
        with pytest.raises(asyncio.CancelledError):
            await request
        assert upper.ended == [10]

    run(main())


def test_an_attempt_has_a_limit_of_its_own():
    async def main():
        result = await Upper(attempt_timeout_seconds=2, timeout_seconds=50).process(10)
        assert type(result.error) is ProcessingTimeoutError
        assert "attempt took longer than 2 s" in str(result.error)
        assert result.metadata["seconds"] == 2

    run(main())


def test_a_request_that_has_ended_leaves_no_timer():
    async def main():
        upper = Upper(timeout_seconds=300, attempt_timeout_seconds=200, max_concurrency=1)
        await asyncio.gather(upper.process(1), upper.process(1), upper.process(ValueError("no")), return_exceptions=True)
        async for _ in upper.stream("word"):
            pass
        loop = asyncio.get_running_loop()
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []
        plain = Upper(timeout_seconds=300)
        await plain.process(1)
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []

    run(main())


async def in_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        await asyncio.sleep(60)


async def in_a_group_that_fails_meanwhile():
    async def fail():
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("while it was cancelled")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await asyncio.sleep(60)


def under_a_timeout(seconds):
    async def work():
        async with asyncio.timeout(seconds):
            await asyncio.sleep(60)

    return work


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (in_a_group, ProcessStatus.TIMED_OUT),
        (in_a_group_that_fails_meanwhile, ProcessStatus.FAILED),
        (under_a_timeout(1), ProcessStatus.TIMED_OUT),
        (under_a_timeout(2), ProcessStatus.TIMED_OUT),
        (under_a_timeout(3), ProcessStatus.TIMED_OUT),
    ],
)
def test_groups_and_timeouts_inside_the_work_leave_no_cancellation_behind_when_it_is_cut_off(work, status):
    async def main():
        upper = Upper(timeout_seconds=2)
        async with asyncio.timeout(10), asyncio.TaskGroup():
            assert (await upper.process(work)).status is status
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(1)
            assert (await upper.process("word")).data == "WORD"

    run(main())
