"""Generators and async generators behave as they did, however they are driven, and are measured to their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from agentgauge import task

COUNT = "agent_task_duration_seconds_count"


@pytest.fixture(autouse=True)
def _silent(caplog):
    """Fail whatever makes OpenTelemetry, asyncio or agentgauge log."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


def outcomes(fresh, name):
    return {
        outcome: count
        for outcome in ("success", "error", "timeout", "cancelled", "abandoned")
        if (count := fresh.value(COUNT, agent_task=name, outcome=outcome))
    }


def bare(function):
    return function


def echo():
    """Yield what was sent and caught, and return a value."""
    received = []
    while len(received) < 3:
        try:
            received.append((yield len(received)))
        except ValueError as error:
            received.append(error.args[0])
    return received


async def echo_async():
    received = []
    while len(received) < 3:
        try:
            received.append((yield received[-1:]))
        except ValueError as error:
            received.append(error.args[0])


# --- driving --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decorate", [bare, task])
def test_send_throw_and_the_return_value_pass_through(fresh, decorate):
    generator = decorate(echo)()

    assert next(generator) == 0
    assert generator.send("a") == 1
    assert generator.throw(ValueError("b")) == 2
    with pytest.raises(StopIteration) as stop:
        generator.send("c")
    assert stop.value.value == ["a", "b", "c"]
    with pytest.raises(StopIteration):
        next(generator)

    assert outcomes(fresh, "echo") == ({"success": 1} if decorate is task else {})


def test_yield_from_a_decorated_generator_gives_its_value(fresh):
    def outer():
        return (yield from task(echo)())

    assert list(outer()) == [0, 1, 2]
    assert outcomes(fresh, "echo") == {"success": 1}


@pytest.mark.parametrize("decorate", [bare, task])
async def test_asend_and_athrow_pass_through(fresh, decorate):
    generator = decorate(echo_async)()

    assert await generator.asend(None) == []
    assert await generator.asend("a") == ["a"]
    assert await generator.athrow(ValueError("b")) == ["b"]
    with pytest.raises(StopAsyncIteration):
        await generator.asend("c")
    with pytest.raises(StopAsyncIteration):
        await anext(generator)

    assert outcomes(fresh, "echo_async") == ({"success": 1} if decorate is task else {})


@pytest.mark.parametrize("decorate", [bare, task])
async def test_closing_runs_the_generators_own_clean_up(fresh, decorate):
    cleaned = []

    @decorate
    def work():
        try:
            yield 1
            yield 2
        finally:
            cleaned.append("sync")

    @decorate
    async def work_async():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append("async")

    generator, async_generator = work(), work_async()
    next(generator)
    generator.close()
    await anext(async_generator)
    await async_generator.aclose()

    assert cleaned == ["sync", "async"]
    if decorate is task:
        assert outcomes(fresh, "work") == outcomes(fresh, "work_async") == {"abandoned": 1}
        assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0


@pytest.mark.parametrize("decorate", [bare, task])
async def test_a_generator_that_returns_when_it_is_closed_is_abandoned_too(fresh, decorate):
    @decorate
    def work():
        with contextlib.suppress(GeneratorExit):
            yield 1

    @decorate
    async def work_async():
        with contextlib.suppress(GeneratorExit):
            yield 1

    generator, async_generator = work(), work_async()
    next(generator)
    generator.close()
    await anext(async_generator)
    await async_generator.aclose()

    if decorate is task:
        assert outcomes(fresh, "work") == outcomes(fresh, "work_async") == {"abandoned": 1}


@pytest.mark.parametrize("decorate", [bare, task])
async def test_a_generator_that_ignores_its_closing_is_told_so_and_goes_on(fresh, decorate):
    @decorate
    def work():
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2
        yield 3

    @decorate
    async def work_async():
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2
        yield 3

    generator, async_generator = work(), work_async()
    next(generator)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        generator.close()
    assert list(generator) == [3]
    await anext(async_generator)
    with pytest.raises(RuntimeError, match="async generator ignored GeneratorExit"):
        await async_generator.aclose()
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == (0 if decorate is task else None)


@pytest.mark.parametrize("decorate", [bare, task])
async def test_a_generator_that_raises_when_it_is_closed_raises(fresh, decorate):
    @decorate
    def work():
        try:
            yield 1
        finally:
            raise LookupError

    @decorate
    async def work_async():
        try:
            yield 1
        finally:
            raise LookupError

    generator, async_generator = work(), work_async()
    next(generator)
    with pytest.raises(LookupError):
        generator.close()
    await anext(async_generator)
    with pytest.raises(LookupError):
        await async_generator.aclose()

    if decorate is task:
        assert outcomes(fresh, "work") == outcomes(fresh, "work_async") == {"error": 1}


@pytest.mark.parametrize("decorate", [bare, task])
async def test_a_generator_that_never_begins_is_never_counted(fresh, decorate):
    generator, async_generator = decorate(echo)(), decorate(echo_async)()
    generator.close()
    await async_generator.aclose()
    with pytest.raises(StopIteration):
        next(generator)
    with pytest.raises(StopAsyncIteration):
        await anext(async_generator)

    assert fresh.value("agentgauge_events_recorded_total") == 0


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
async def test_an_exception_that_leaves_a_generator_is_its_outcome(fresh, error):
    @task
    def work():
        yield 1
        raise error

    @task
    async def work_async():
        yield 1
        raise error

    with pytest.raises(error):
        list(work())
    with pytest.raises(error):
        [item async for item in work_async()]

    expected = {"timeout" if error is TimeoutError else "error": 1}
    assert outcomes(fresh, "work") == outcomes(fresh, "work_async") == expected


@pytest.mark.parametrize("decorate", [bare, task])
async def test_stop_iteration_inside_a_generator_becomes_a_runtime_error(fresh, decorate):
    @decorate
    def work():
        yield 1
        raise StopIteration  # noqa: PLR1708 - its conversion is what is tested

    @decorate
    async def work_async():
        yield 1
        raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(work())
    with pytest.raises(RuntimeError, match="async generator raised StopAsyncIteration"):
        [item async for item in work_async()]
    if decorate is task:
        assert outcomes(fresh, "work") == outcomes(fresh, "work_async") == {"error": 1}


def test_a_generator_is_timed_from_its_first_item_to_its_end(fresh):
    @task
    def work():
        fresh.clock.advance(1)
        yield 1
        fresh.clock.advance(1)

    generator = work()
    fresh.clock.advance(100)
    for _ in generator:
        fresh.clock.advance(2)

    assert fresh.value("agent_task_duration_seconds_sum", agent_task="work", outcome="success") == 4
