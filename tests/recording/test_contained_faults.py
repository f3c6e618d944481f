"""Whatever fails inside agentgauge, the host sees its own value or exception, and the fault is a series."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler

from agentgauge import agent, task, track
from agentgauge.recording.site import current_agent
from agentgauge.testing import reraise_internal_errors

TASK_COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"


class InjectedError(Exception):
    """Stands for any fault of ours."""


def fail(*args, **kwargs):
    raise InjectedError


def fail_at(*numbers):
    """Return a clock that fails at the given calls, counted from 1."""
    calls = iter(range(1, 1_000))

    def clock():
        if next(calls) in numbers:
            raise InjectedError
        return 1_000.0

    return clock


class FailingSampler(Sampler):
    should_sample = fail

    def get_description(self):
        return "fails"


class FailingProcessor(SpanProcessor):
    def __init__(self, hook):
        setattr(self, hook, fail)


def the_clock_fails_at_the_start(fresh, set_provider, monkeypatch):
    fresh.recorder.clock = fail_at(1)
    return {"start"}


def the_clock_fails_at_the_end(fresh, set_provider, monkeypatch):
    fresh.recorder.clock = fail_at(2)
    return {"end"}


def the_clock_always_fails(fresh, set_provider, monkeypatch):
    fresh.recorder.clock = fail
    return {"start"}


def the_append_fails(fresh, set_provider, monkeypatch):
    fresh.recorder.append = fail
    return {"start"}


def the_target_cannot_be_found(fresh, set_provider, monkeypatch):
    monkeypatch.setattr(fresh.recorder.admission, "admit", fail)
    return {"start"}


def the_sampler_fails(fresh, set_provider, monkeypatch):
    set_provider(FailingSampler())
    return {"span_start"}


def the_processor_fails_on_start(fresh, set_provider, monkeypatch):
    set_provider(None, FailingProcessor("on_start"))
    return {"span_start"}


def the_processor_fails_on_end(fresh, set_provider, monkeypatch):
    set_provider(None, FailingProcessor("on_end"))
    return {"span_end"}


def the_provider_has_no_tracer(fresh, set_provider, monkeypatch):
    set_provider()
    trace.get_tracer_provider().get_tracer = fail
    return {"span_start"}


def the_relief_fails(fresh, set_provider, monkeypatch):
    fresh.recorder.buffer.extend([None] * 5_000)
    return {"start"}


def rebind(fresh):
    """Let wrappers take the exchanged parts of the recorder."""
    for dependent in list(fresh.recorder.dependents):
        dependent.forget()


FAULTS = [
    the_clock_fails_at_the_start,
    the_clock_fails_at_the_end,
    the_clock_always_fails,
    the_append_fails,
    the_target_cannot_be_found,
    the_sampler_fails,
    the_processor_fails_on_start,
    the_processor_fails_on_end,
    the_provider_has_no_tracer,
    the_relief_fails,
]


def make(kind, error, decorate):
    """Return a decorated callable of a kind that gives 42 or raises ``error``."""

    def finish():
        assert current_agent.get() in ("scout", "")  # the name may be lost to a fault, and is never another
        if error is not None:
            raise error
        return 42

    if kind == "plain":
        return decorate(finish)
    if kind == "coroutine":

        @decorate
        async def coroutine():
            return finish()

        return coroutine
    if kind == "generator":

        @decorate
        def generator():
            yield 1
            return finish()

        return generator

    @decorate
    async def async_generator():
        yield 1
        yield finish()

    return async_generator


async def drive(function):
    result = function()
    if inspect.iscoroutine(result):
        return await result
    if inspect.isgenerator(result):
        assert next(result) == 1
        try:
            next(result)
        except StopIteration as stop:
            return stop.value
    if inspect.isasyncgen(result):
        async with contextlib.aclosing(result):
            return [item async for item in result][-1]
    return result


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])
@pytest.mark.parametrize("decorate", [agent("scout"), task], ids=["agent", "task"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize(
    "error", [None, ValueError("theirs"), asyncio.CancelledError("theirs")], ids=lambda error: type(error).__name__
)
async def test_the_host_sees_its_own_end_and_the_fault_is_counted(fresh, set_provider, monkeypatch, kind, decorate, fault, error):
    function = make(kind, error, decorate)
    hooks = fault(fresh, set_provider, monkeypatch)
    rebind(fresh)

    if error is None:
        assert await drive(function) == 42
    else:
        with pytest.raises(type(error)) as caught:
            await drive(function)
        assert caught.value is error
        assert caught.value.__context__ is None

    assert current_agent.get() == ""
    assert trace.get_current_span() is trace.INVALID_SPAN
    counted = {
        sample.labels["hook"]
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == "agentgauge_internal_errors_total" and sample.value
    }
    assert counted - {"drain"} == hooks


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])
@pytest.mark.parametrize(
    "fault",
    [
        the_clock_fails_at_the_end,
        the_sampler_fails,
        the_processor_fails_on_start,
        the_processor_fails_on_end,
        the_provider_has_no_tracer,
    ],
    ids=lambda fault: fault.__name__,
)
async def test_a_fault_of_tracing_or_of_the_last_clock_costs_no_metric(fresh, set_provider, monkeypatch, kind, fault):
    function = make(kind, None, agent("scout"))
    fault(fresh, set_provider, monkeypatch)
    rebind(fresh)

    await drive(function)

    assert fresh.value(RUN_COUNT, gen_ai_agent_name="scout") == 1
    assert fresh.recorder.buffer == fresh.recorder.open == type(fresh.recorder.buffer)()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_tracked_block_is_as_safe(fresh, set_provider, monkeypatch, fault):
    hooks = fault(fresh, set_provider, monkeypatch)

    with track("scout", "work") as call:
        call.set_outcome("error", error_type="Bad")
        call.record_retry()
    with pytest.raises(KeyError) as caught, track("scout", "work"):
        raise KeyError

    assert caught.value.__context__ is None
    assert current_agent.get() == ""
    assert fresh.value("agentgauge_internal_errors_total", hook=next(iter(hooks))) >= 1


def test_a_fault_is_logged_once_a_minute_with_its_place(fresh, caplog, monkeypatch):
    from agentgauge.errors import contained_errors

    monkeypatch.setattr(contained_errors, "_next_log_by_hook", {})
    fresh.recorder.append = fail
    work = agent("scout")(lambda: 42)

    with caplog.at_level(logging.ERROR, logger="agentgauge"):
        for _ in range(50):
            assert work() == 42

    assert [record.getMessage() for record in caplog.records] == [
        "agentgauge contained an internal error in start; the host is not affected"
    ]
    assert fresh.value("agentgauge_internal_errors_total", hook="start") == 50


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])
@pytest.mark.parametrize("decorate", [agent("scout"), task], ids=["agent", "task"])
async def test_an_interrupt_while_a_call_begins_passes_and_ends_the_call(fresh, spans, kind, decorate):
    function = make(kind, None, decorate)
    append = fresh.recorder.append

    def interrupt(record):
        append(record)
        raise KeyboardInterrupt

    fresh.recorder.append = interrupt
    rebind(fresh)
    with pytest.raises(KeyboardInterrupt):
        await drive(function)
    fresh.recorder.append = append

    assert current_agent.get() == ""
    assert trace.get_current_span() is trace.INVALID_SPAN
    fresh.recorder.drain()
    assert not fresh.recorder.open
    assert len(spans.get_finished_spans()) == 1


def test_an_interrupt_while_a_tracked_block_begins_passes_and_ends_the_call(fresh, spans):
    append = fresh.recorder.append

    def interrupt(record):
        append(record)
        raise KeyboardInterrupt

    def enter():
        with pytest.raises(KeyboardInterrupt), track("scout", "work"):
            pytest.fail("the block ran")
        return current_agent.get(), trace.get_current_span()

    fresh.recorder.append = interrupt
    assert contextvars.copy_context().run(enter) == ("", trace.INVALID_SPAN)
    fresh.recorder.append = append

    fresh.recorder.drain()
    assert not fresh.recorder.open
    assert len(spans.get_finished_spans()) == 1


@pytest.mark.parametrize("spare", range(12))
async def test_a_full_stack_leaves_no_call_in_progress(fresh, spare):
    def undecorated(spare, function, depth):
        return undecorated(spare - 1, function, depth) if spare else function(depth)

    @task
    def work(depth):
        return work(depth - 1) if depth else 0

    @task
    async def work_async(depth):
        return await work_async(depth - 1) if depth else 0

    with pytest.raises(RecursionError):
        undecorated(spare, work, sys.getrecursionlimit())
    with pytest.raises(RecursionError):
        await undecorated(spare, work_async, sys.getrecursionlimit())

    for name in ("work", "work_async"):
        assert fresh.value("agent_tasks_in_progress", agent_task=name) == 0
        assert fresh.value(TASK_COUNT, agent_task=name, outcome="success") == 0


@pytest.mark.parametrize("has_sdk", [False, True], ids=["no SDK", "SDK"])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_host_that_just_fits_on_the_stack_gets_its_result_and_the_agent_is_left(fresh, set_provider, kind, has_sdk):
    if has_sdk:
        set_provider()
    ran, returned = [], []
    limit = sys.getrecursionlimit()

    def body():
        ran.append(depth)

    async def body_async():
        ran.append(depth)

    work = agent("scout")(body if kind == "plain" else body_async)

    def call_at(frames):
        if frames:
            return call_at(frames - 1)
        if kind == "plain":
            return work()
        try:
            return work().send(None)
        except StopIteration as stop:
            return stop.value

    for depth in range(limit - 200, limit):
        with contextlib.suppress(RecursionError):
            call_at(depth)
            returned.append(depth)
        assert current_agent.get() == "", f"{limit - depth} frames were left"
        assert trace.get_current_span() is trace.INVALID_SPAN, f"{limit - depth} frames were left"

    assert returned == ran
    assert 0 < len(returned) < 200  # the stack was full for some
    fresh.recorder.drain()
    assert not fresh.recorder.open


def test_in_tests_a_fault_can_be_made_to_surface(fresh):
    fresh.recorder.append = fail
    work = agent("scout")(lambda: 42)

    with reraise_internal_errors(), pytest.raises(InjectedError):
        contextvars.copy_context().run(work)  # a fault that surfaces leaves the agent's name behind
    assert work() == 42
