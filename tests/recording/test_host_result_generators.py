"""However a generator ends, its span ends once, as what happened, and its consumer finds its own context and hears nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from agentgauge import agent, catalogue, task
from agentgauge.recording.site import current_agent

COUNT = "agent_task_duration_seconds_count"
ROOT = Path(__file__).parents[2]
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("host_variable", default="none")


@pytest.fixture(autouse=True)
def _silent(caplog):
    """Fail whatever makes OpenTelemetry, asyncio or agentgauge log, a second end of a span included."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


class Knot:
    """Holds what only the garbage collector frees."""

    def __init__(self, thing):
        self.thing = thing
        self.itself = self


def numbers():
    """Yield for ever; end well where a ``LookupError`` is thrown in."""
    with contextlib.suppress(LookupError):
        while True:
            yield trace.get_current_span(), current_agent.get()


async def numbers_async():
    with contextlib.suppress(LookupError):
        while True:
            await asyncio.sleep(0)
            yield trace.get_current_span(), current_agent.get()


async def stuck_async():
    yield trace.get_current_span(), current_agent.get()
    await asyncio.Event().wait()


# --- ways for a generator to end ------------------------------------------------------------------------------------------


def in_another_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def ends_well(generator):
    with contextlib.suppress(StopIteration):
        generator.throw(LookupError())


def raises(generator, error):
    with contextlib.suppress(BaseException):
        generator.throw(error)


def is_collected(generators):
    knot = Knot(generators.pop())
    del knot
    gc.collect()


SYNC_WAYS = {
    "ends": (lambda held: ends_well(held.pop()), "success"),
    "ends in another thread": (lambda held: in_another_thread(ends_well, held.pop()), "success"),
    "ends in another context": (lambda held: contextvars.Context().run(ends_well, held.pop()), "success"),
    "raises": (lambda held: raises(held.pop(), ValueError()), "error"),
    "times out": (lambda held: raises(held.pop(), TimeoutError()), "timeout"),
    "is cancelled": (lambda held: raises(held.pop(), asyncio.CancelledError()), "cancelled"),
    "is interrupted": (lambda held: raises(held.pop(), KeyboardInterrupt()), "cancelled"),
    "is closed": (lambda held: held.pop().close(), "abandoned"),
    "is closed in another thread": (lambda held: in_another_thread(held.pop().close), "abandoned"),
    "is closed in another context": (lambda held: contextvars.Context().run(held.pop().close), "abandoned"),
    "is dropped": (list.clear, "abandoned"),
    "is dropped in another thread": (lambda held: in_another_thread(held.clear), "abandoned"),
    "is collected": (is_collected, "abandoned"),
    "is collected in another thread": (lambda held: in_another_thread(is_collected, held), "abandoned"),
}


async def settle(condition):
    """Let the event loop finish what the garbage collector has given it."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the collector of garbage sets no event
            await asyncio.sleep(0)


async def ends_well_async(held):
    with contextlib.suppress(StopAsyncIteration):
        await held.pop().athrow(LookupError())


async def raises_async(held, error):
    with contextlib.suppress(BaseException):
        await held.pop().athrow(error)


async def breaks(held):
    async with contextlib.aclosing(held.pop()) as items:
        async for _ in items:
            break


async def forgets(held):
    async for _ in held.pop():
        break
    gc.collect()


async def is_collected_async(held):
    is_collected(held)


async def is_cancelled(held):
    async def consume():
        async for _ in held.pop():
            pass

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    consumer.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consumer


async def waits_for_an_item(held):
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(anext(held.pop()), 0.001)


async def times_out_around_it(held):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            async for _ in held.pop():
                pass


async def is_closed_by_another_task(held):
    await asyncio.create_task(held.pop().aclose())


async def is_driven_and_closed_by_other_tasks(held):
    generator = held.pop()
    for _ in range(3):
        await asyncio.create_task(anext(generator))
    await asyncio.create_task(generator.aclose())


ASYNC_WAYS = {
    "ends": (numbers_async, ends_well_async, "success"),
    "raises": (numbers_async, lambda held: raises_async(held, ValueError()), "error"),
    "times out": (numbers_async, lambda held: raises_async(held, TimeoutError()), "timeout"),
    "is thrown a cancellation": (numbers_async, lambda held: raises_async(held, asyncio.CancelledError()), "cancelled"),
    "is closed": (numbers_async, lambda held: held.pop().aclose(), "abandoned"),
    "is broken off and closed": (numbers_async, breaks, "abandoned"),
    "is broken off and forgotten": (numbers_async, forgets, "abandoned"),
    "is collected": (numbers_async, is_collected_async, "abandoned"),
    "is cancelled while it waits": (stuck_async, is_cancelled, "cancelled"),
    "is cancelled between its steps": (numbers_async, is_cancelled, "cancelled"),
    "is waited for in vain": (stuck_async, waits_for_an_item, "cancelled"),
    "runs out of its consumer's time": (numbers_async, times_out_around_it, "cancelled"),
    "is closed by another task": (numbers_async, is_closed_by_another_task, "abandoned"),
    "is driven and closed by other tasks": (numbers_async, is_driven_and_closed_by_other_tasks, "abandoned"),
}


def visible_context():
    """Return every context variable that says something."""
    return {variable.name: value for variable, value in contextvars.copy_context().items() if value}


def assert_ended_once(fresh, exporter, name, outcome):
    counts = {
        ending: fresh.value(COUNT, gen_ai_agent_name="streamer", agent_task=name, outcome=ending) or 0
        for ending in ("success", "error", "timeout", "cancelled", "abandoned")
    }
    assert counts == {ending: int(ending == outcome) for ending in counts}
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="streamer", agent_task=name) == 0
    if exporter is not None:
        [span] = exporter.get_finished_spans()
        assert span.name == "invoke_agent streamer"
        assert span.attributes.get("agent.outcome", "success") == outcome
        assert span.status.status_code is (StatusCode.ERROR if outcome in ("error", "timeout") else StatusCode.UNSET)


@pytest.fixture(params=[False, True], ids=["no SDK", "SDK"])
def maybe_spans(request):
    """Run a test once without an SDK and once with one."""
    return request.getfixturevalue("spans") if request.param else None


@pytest.mark.parametrize("way", SYNC_WAYS)
def test_a_generator_ends_once_and_leaves_its_consumers_context_alone(fresh, maybe_spans, way):
    end, outcome = SYNC_WAYS[way]
    before = visible_context()
    held = [agent("streamer")(numbers)()]
    for _ in range(2):
        span, name = next(held[0])
        assert (span is not trace.INVALID_SPAN, name) == (maybe_spans is not None, "streamer")
        assert visible_context() == before

    end(held)

    assert not held
    assert_ended_once(fresh, maybe_spans, "numbers", outcome)
    assert visible_context() == before


@pytest.mark.parametrize("way", ASYNC_WAYS)
async def test_an_async_generator_ends_once_and_leaves_its_consumers_context_alone(fresh, maybe_spans, way):
    function, end, outcome = ASYNC_WAYS[way]
    before = visible_context()
    held = [agent("streamer")(function)()]
    span, name = await anext(held[0])
    assert (span is not trace.INVALID_SPAN, name) == (maybe_spans is not None, "streamer")
    assert visible_context() == before

    await end(held)
    await settle(lambda: not fresh.value("agent_tasks_in_progress", gen_ai_agent_name="streamer", agent_task=function.__name__))

    assert not held
    assert_ended_once(fresh, maybe_spans, function.__name__, outcome)
    assert visible_context() == before


# --- the generator's own variables, and its duration ----------------------------------------------------------------------


def sets_variables():
    token = VARIABLE.set("first")
    yield VARIABLE.get()
    yield VARIABLE.get()
    VARIABLE.reset(token)
    yield VARIABLE.get()
    VARIABLE.set("last")


async def sets_variables_async():
    for item in sets_variables():
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("decorate", [lambda function: function, task, agent("streamer")], ids=["bare", "task", "agent"])
async def test_what_a_generator_sets_is_seen_as_python_has_it(fresh, maybe_spans, decorate):
    def consume():
        seen = []
        for item in decorate(sets_variables)():
            seen.append((item, VARIABLE.get()))
            VARIABLE.set(f"after {len(seen)}") if len(seen) == 1 else None
        return [*seen, VARIABLE.get()]

    async def consume_async():
        seen = []
        async for item in decorate(sets_variables_async)():
            seen.append((item, VARIABLE.get()))
            VARIABLE.set(f"after {len(seen)}") if len(seen) == 1 else None
        return [*seen, VARIABLE.get()]

    expected = [("first", "first"), ("after 1", "after 1"), ("none", "none"), "last"]
    assert contextvars.copy_context().run(consume) == expected
    assert await asyncio.create_task(consume_async()) == expected


async def test_an_async_generator_is_timed_from_its_first_item_to_its_end_its_consumers_time_included(fresh):
    @task
    async def work():
        fresh.clock.advance(1)
        yield 1
        fresh.clock.advance(1)

    generator = work()
    fresh.clock.advance(100)
    async for _ in generator:
        fresh.clock.advance(2)

    assert fresh.value("agent_task_duration_seconds_sum", agent_task="work", outcome="success") == 4


def test_the_documents_say_that_a_generators_duration_includes_its_consumers_time():
    said = "of a generator, from its first item to its end, the consumer's time included"
    assert said in catalogue.TASK_DURATION.help
    assert said in (ROOT / "docs/metrics.md").read_text()
    assert "duration of a generator includes the time that its consumer takes" in (ROOT / "README.md").read_text()
