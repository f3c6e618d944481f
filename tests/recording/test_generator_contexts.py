"""Generators that are left early, driven from several contexts, and that keep their own context to themselves."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import logging

import pytest
from opentelemetry import trace

from agentgauge import agent, task, tool, track
from agentgauge.recording.site import current_agent

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


@task
async def endless():
    try:
        for number in range(10**9):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)


@pytest.fixture(params=[False, True], ids=["no SDK", "SDK"])
def maybe_spans(request):
    """Run a test once without an SDK and once with one."""
    return request.getfixturevalue("spans") if request.param else None


def assert_one_ended_span(exporter):
    if exporter is not None:
        assert [span.name for span in exporter.get_finished_spans()] == ["execute_task endless"]


async def test_a_consumer_that_breaks_and_forgets_abandons_when_the_loop_collects(fresh, maybe_spans):
    cleaned = asyncio.Event()

    @task("endless")
    async def numbers():
        try:
            for number in range(10**9):
                yield number
        finally:
            cleaned.set()

    async for item in numbers():
        if item == 2:
            break
    gc.collect()
    await asyncio.wait_for(cleaned.wait(), 60)

    assert outcomes(fresh, "endless") == {"abandoned": 1}
    assert_one_ended_span(maybe_spans)


def test_generators_left_open_are_closed_once_when_the_event_loop_ends(fresh, maybe_spans):
    kept = []

    async def main():
        for _ in range(4):
            items = endless()
            kept.append(items)
            async for _ in items:
                break

    asyncio.run(main())

    assert outcomes(fresh, "endless") == {"abandoned": 4}


async def test_a_sync_generator_may_be_consumed_in_other_threads(fresh, maybe_spans):
    @task("endless")
    def numbers():
        yield from range(3)

    generator = numbers()
    assert [await asyncio.to_thread(next, generator) for _ in range(3)] == [0, 1, 2]
    assert await asyncio.to_thread(list, generator) == []

    assert outcomes(fresh, "endless") == {"success": 1}
    assert_one_ended_span(maybe_spans)


# --- context --------------------------------------------------------------------------------------------------------------


def context():
    return current_agent.get(), trace.get_current_span()


@agent("streamer")
def stream():
    for _ in range(3):
        yield context()


@agent("streamer")
async def stream_async():
    for _ in range(3):
        await asyncio.sleep(0)
        yield context()


async def items_of(generator):
    if inspect.isgenerator(generator):
        for item in generator:
            yield item
    else:
        async for item in generator:
            yield item


@pytest.mark.parametrize("function", [stream, stream_async])
async def test_the_consumers_context_is_unchanged_between_items_and_the_generators_own_the_same(fresh, spans, function):
    before = context()
    inside = []

    async for item in items_of(function()):
        assert context() == before
        inside.append(item)

    assert context() == before
    assert len(set(inside)) == 1
    name, span = inside[0]
    assert name == "streamer"
    assert span.name == "invoke_agent streamer"


@pytest.mark.parametrize("function", [stream, stream_async])
async def test_what_the_consumer_opens_between_items_stays_open_and_its_own(fresh, spans, function):
    generator = items_of(function())
    tracer = trace.get_tracer("consumer")

    await anext(generator)
    with track("consumer", "consume"), tracer.start_as_current_span("mine") as mine:
        inside = await anext(generator)
        assert context() == ("consumer", mine)
    assert inside[0] == "streamer"
    assert inside[1].name == "invoke_agent streamer"
    assert current_agent.get() == ""
    await generator.aclose()


async def test_a_span_and_a_name_that_a_generator_holds_across_an_item_stay_with_it(fresh, spans):
    @agent("streamer")
    def sync_stream():
        with trace.get_tracer("t").start_as_current_span("held"), track("inner", "step"):
            yield context()
            yield context()
        yield context()

    @agent("streamer")
    async def async_stream():
        with trace.get_tracer("t").start_as_current_span("held"), track("inner", "step"):
            yield context()
            await asyncio.sleep(0)
            yield context()
        yield context()

    for function in (sync_stream, async_stream):
        seen = []
        async for item in items_of(function()):
            assert context() == ("", trace.INVALID_SPAN)
            seen.append((item[0], item[1].name))
        assert seen == [
            ("inner", "invoke_agent inner"),
            ("inner", "invoke_agent inner"),
            ("streamer", "invoke_agent streamer"),
        ]


async def test_interleaved_generators_do_not_see_each_other(fresh, spans):
    def make(name):
        @agent(name)
        async def numbers():
            for _ in range(3):
                await asyncio.sleep(0)
                yield current_agent.get(), trace.get_current_span().name

        return numbers()

    first, second = make("a"), make("b")
    for _ in range(3):
        assert await anext(first) == ("a", "invoke_agent a")
        assert await anext(second) == ("b", "invoke_agent b")
    await first.aclose()
    await second.aclose()
    assert context() == ("", trace.INVALID_SPAN)


async def test_what_runs_inside_a_generator_is_its_child_and_bears_its_agent(fresh, spans):
    @tool
    async def look():
        return 1

    @agent("streamer")
    async def work():
        for _ in range(2):
            yield await look()

    assert [item async for item in work()] == [1, 1]

    *tools, run = spans.get_finished_spans()
    assert [span.parent.span_id for span in tools] == [run.context.span_id] * 2
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="streamer", gen_ai_tool_name="look") == 2


async def test_a_generator_opened_and_closed_in_different_contexts_logs_nothing_and_leaves_nothing(fresh, spans):
    generator = stream_async()
    await asyncio.create_task(anext(generator))
    await anext(generator)
    await asyncio.create_task(generator.aclose())

    assert context() == ("", trace.INVALID_SPAN)
    assert [span.name for span in spans.get_finished_spans()] == ["invoke_agent streamer"]


def test_a_coroutine_closed_in_another_context_logs_nothing_and_ends_its_span(fresh, spans):
    @agent("scout")
    async def work():
        await asyncio.sleep(0)

    coroutine = work()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()

    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="work", outcome="abandoned") == 1
    assert context() == ("", trace.INVALID_SPAN)
    assert [span.name for span in spans.get_finished_spans()] == ["invoke_agent scout"]
