"""How a call's end and its progress become series."""

from __future__ import annotations

import asyncio

import pytest

from agentgauge import Objective, agent, task, tool, workflow

TASK_COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"
WORKFLOW_COUNT = "gen_ai_invoke_workflow_duration_seconds_count"


class EmptyIndexError(Exception):
    pass


ERROR_TYPE = f"{__name__}.EmptyIndexError"


@task("work")
def fails_with(error):
    raise error


@task("work")
async def fails_later_with(error):
    await asyncio.sleep(0)
    raise error


FAILURES = [
    (EmptyIndexError("none"), "error", ERROR_TYPE),
    (ValueError("bad"), "error", "ValueError"),
    (TimeoutError(), "timeout", "TimeoutError"),
    (asyncio.CancelledError(), "cancelled", None),
    (KeyboardInterrupt(), "cancelled", None),
    (SystemExit(1), "cancelled", None),
    (GeneratorExit(), "abandoned", None),
    (ExceptionGroup("two", [ValueError(), TimeoutError()]), "error", "ExceptionGroup"),
]


@pytest.mark.parametrize(("error", "outcome", "error_type"), FAILURES, ids=lambda value: type(value).__name__)
def test_the_exception_that_leaves_a_call_tells_its_outcome(fresh, error, outcome, error_type):
    with pytest.raises(type(error)):
        fails_with(error)

    assert fresh.value(TASK_COUNT, agent_task="work", outcome=outcome) == 1
    assert fresh.value(TASK_COUNT, agent_task="work", outcome="success") == 0
    assert fresh.value("agent_task_errors_total", agent_task="work", error_type="_OTHER") == 0
    counted = {
        sample.labels["error_type"]: sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == "agent_task_errors_total" and sample.value
    }
    assert counted == ({error_type: 1} if error_type else {})


@pytest.mark.parametrize(("error", "outcome"), [(ValueError(), "error"), (TimeoutError(), "timeout")])
async def test_a_coroutine_tells_its_outcome_the_same(fresh, error, outcome):
    with pytest.raises(type(error)):
        await fails_later_with(error)

    assert fresh.value(TASK_COUNT, agent_task="work", outcome=outcome) == 1


async def test_a_cancelled_coroutine_is_cancelled_and_no_error(fresh):
    started = asyncio.Event()

    @task
    async def work():
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(work())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert fresh.value(TASK_COUNT, agent_task="work", outcome="cancelled") == 1
    assert fresh.value("agent_task_errors_total", agent_task="work", error_type="_OTHER") == 0


async def test_under_asyncio_timeout_the_callee_is_cancelled_and_the_caller_times_out(fresh):
    @task
    async def inner():
        await asyncio.Event().wait()

    @task
    async def outer():
        async with asyncio.timeout(0.001):
            await inner()

    with pytest.raises(TimeoutError):
        await outer()

    assert fresh.value(TASK_COUNT, agent_task="inner", outcome="cancelled") == 1
    assert fresh.value(TASK_COUNT, agent_task="outer", outcome="timeout") == 1


def test_a_coroutine_that_is_closed_is_abandoned(fresh):
    @task
    async def work():
        await asyncio.sleep(0)

    coroutine = work()
    coroutine.send(None)
    coroutine.close()

    assert fresh.value(TASK_COUNT, agent_task="work", outcome="abandoned") == 1
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0


@pytest.mark.parametrize(
    ("decorator", "family", "label"),
    [
        (tool, TOOL_COUNT, {"gen_ai_tool_name": "work"}),
        (workflow, WORKFLOW_COUNT, {"gen_ai_workflow_name": "work"}),
        (agent("scout"), RUN_COUNT, {"gen_ai_agent_name": "scout"}),
    ],
    ids=["tool", "workflow", "run"],
)
def test_the_families_of_the_conventions_bear_an_error_type_on_failure_alone(fresh, decorator, family, label):
    @decorator
    def work(error):
        if error is not None:
            raise error

    work(None)
    for error in (EmptyIndexError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            work(error)

    assert fresh.value(family, **label) == 1
    assert fresh.value(family, **label, error_type=ERROR_TYPE) == 1
    assert fresh.value(family, **label, error_type="asyncio.exceptions.CancelledError") == 1


# --- gauges ---------------------------------------------------------------------------------------------------------------


def test_calls_in_progress_show_their_number_and_the_oldest_start(fresh):
    seen = []

    @task
    def work(depth):
        fresh.clock.advance(1)
        if depth:
            work(depth - 1)
        else:
            seen.append(fresh.value("agent_tasks_in_progress", agent_task="work"))
            seen.append(fresh.value("agent_task_oldest_start_timestamp_seconds", agent_task="work"))

    work(2)

    assert seen == [3, 1_000]
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0
    assert fresh.value("agent_task_oldest_start_timestamp_seconds", agent_task="work") is None


async def test_a_task_that_was_scraped_while_it_ran_is_counted_once_when_it_ends(fresh):
    release = asyncio.Event()

    @task
    async def work():
        await release.wait()

    running = [asyncio.create_task(work()) for _ in range(5)]
    await asyncio.sleep(0)
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 5
    assert fresh.value("agentgauge_events_recorded_total") == 5
    release.set()
    await asyncio.gather(*running)

    assert fresh.value(TASK_COUNT, agent_task="work", outcome="success") == 5
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0
    assert fresh.value("agentgauge_events_recorded_total") == 5


def test_the_last_success_is_dated_by_its_end_and_absent_before_the_first(fresh):
    @task
    def work(error):
        fresh.clock.advance(7)
        if error:
            raise error

    with pytest.raises(ValueError):
        work(ValueError())
    assert fresh.value("agent_task_last_success_timestamp_seconds", agent_task="work") is None
    work(None)
    with pytest.raises(ValueError):
        work(ValueError())

    assert fresh.value("agent_task_last_success_timestamp_seconds", agent_task="work") == 1_014


def test_only_a_success_that_is_late_misses_the_latency_objective(fresh):
    @task(objective=Objective(latency_seconds=2))
    def work(seconds, error=None):
        fresh.clock.advance(seconds)
        if error:
            raise error

    for seconds in (1, 2, 2.5, 3):
        work(seconds)
    with pytest.raises(ValueError):
        work(9, ValueError())

    assert fresh.value("agent_objective_latency_missed_total", agent_task="work") == 2
    assert fresh.value("agent_objective_success_ratio", agent_task="work") is None


def test_a_new_task_shows_zeros_while_its_first_call_runs(fresh):
    @task
    def work():
        return [
            fresh.value(TASK_COUNT, agent_task="work", outcome="success"),
            fresh.value(TASK_COUNT, agent_task="work", outcome="error"),
            fresh.value("agent_task_errors_total", agent_task="work", error_type="_OTHER"),
            fresh.value("agent_task_retries_total", agent_task="work"),
        ]

    assert work() == [0, 0, 0, 0]
