"""``track``: a block measured as a task, with an outcome that the program may state."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentgauge import Objective, agent, task, track
from agentgauge.recording.call import TrackedCall
from agentgauge.recording.site import current_agent

COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
RERANK = {"gen_ai_agent_name": "researcher", "agent_task": "rerank"}


def count(fresh, outcome):
    return fresh.value(COUNT, **RERANK, outcome=outcome)


def test_a_block_is_a_task_and_a_run(fresh):
    with track("researcher", "rerank") as call:
        fresh.clock.advance(3)
        assert isinstance(call, TrackedCall)
        assert fresh.value("agent_tasks_in_progress", **RERANK) == 1
        assert fresh.value("agent_task_oldest_start_timestamp_seconds", **RERANK) == 1_000

    assert count(fresh, "success") == 1
    assert fresh.value("agent_task_duration_seconds_sum", **RERANK, outcome="success") == 3
    assert fresh.value(RUN_COUNT, gen_ai_agent_name="researcher") == 1
    assert fresh.value("agent_tasks_in_progress", **RERANK) == 0


async def test_an_async_block_is_measured_the_same(fresh):
    async with track("researcher", "rerank") as call:
        await asyncio.sleep(0)
        call.set_outcome("timeout")

    assert count(fresh, "timeout") == 1
    assert fresh.value("agent_task_errors_total", **RERANK, error_type="timeout") == 1


@pytest.mark.parametrize("outcome", ["success", "error", "timeout", "cancelled", "abandoned"])
def test_every_outcome_can_be_stated(fresh, outcome):
    with track("researcher", "rerank") as call:
        call.set_outcome(outcome, error_type="EmptyIndex")

    assert count(fresh, outcome) == 1
    counted = fresh.value("agent_task_errors_total", **RERANK, error_type="EmptyIndex")
    assert counted == (1 if outcome in {"error", "timeout"} else None)


def test_the_last_stated_outcome_counts(fresh):
    with track("researcher", "rerank") as call:
        call.set_outcome("error", error_type="EmptyIndex")
        call.set_outcome("success")

    assert count(fresh, "success") == 1
    assert count(fresh, "error") == 0


def test_an_unknown_outcome_counts_as_an_error_and_is_reported(fresh):
    with track("researcher", "rerank") as call:
        call.set_outcome("failed")

    assert count(fresh, "error") == 1
    assert fresh.value("agentgauge_internal_errors_total", hook="set_outcome") == 1


@pytest.mark.parametrize(
    ("error_type", "label"),
    [("x" * 5_000, "x" * 200), ("\ud800", "?"), (ValueError, "<class 'ValueError'>"), ("", "error"), (None, "error")],
)
def test_any_error_type_is_made_fit_for_a_label(fresh, error_type, label):
    with track("researcher", "rerank") as call:
        call.set_outcome("error", error_type=error_type)

    assert fresh.value("agent_task_errors_total", **RERANK, error_type=label) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError(), "error"), (TimeoutError(), "timeout"), (asyncio.CancelledError(), "cancelled"), (SystemExit(), "cancelled")],
    ids=lambda value: type(value).__name__,
)
async def test_an_exception_passes_through_and_tells_the_outcome_better(fresh, error, outcome):
    def fail():
        with track("researcher", "rerank") as call:
            call.set_outcome("success")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert caught.value.__context__ is None

    with pytest.raises(type(error)):
        async with track("researcher", "rerank"):
            raise error

    assert count(fresh, outcome) == 2


def test_retries_are_counted(fresh):
    with track("researcher", "rerank") as call:
        assert fresh.value("agent_task_retries_total", **RERANK) == 0
        call.record_retry()
        call.record_retry()
    call.record_retry()  # too late: it has ended

    assert fresh.value("agent_task_retries_total", **RERANK) == 2


def test_an_objective_is_exported_and_the_last_one_holds(fresh):
    for seconds in (5, 1):
        with track("researcher", "rerank", objective=Objective(success_ratio=0.9, latency_seconds=seconds)):
            fresh.clock.advance(2)
        fresh.recorder.drain()
    with track("researcher", "rerank"):
        fresh.clock.advance(0.5)

    assert fresh.value("agent_objective_success_ratio", **RERANK) == 0.9
    assert fresh.value("agent_objective_latency_seconds", **RERANK) == 1
    assert fresh.value("agent_objective_latency_missed_total", **RERANK) == 1


def test_a_wrong_objective_does_not_reach_the_host(fresh):
    with track("researcher", "rerank", objective="soon"):
        pass

    assert fresh.value("agentgauge_internal_errors_total", hook="start") == 1


def test_an_empty_agent_means_that_of_the_enclosing_call(fresh):
    @agent("scout")
    def work():
        with track("", "rerank"):
            return 1

    work()
    with track("", "rerank"):
        pass

    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="rerank", outcome="success") == 1
    assert fresh.value(COUNT, agent_task="rerank", outcome="success") == 1
    assert fresh.value(RUN_COUNT, gen_ai_agent_name="scout") == 1


def test_the_name_flows_into_the_block_and_ends_with_it(fresh):
    step = task("step")(current_agent.get)

    with track("researcher", "rerank"):
        assert step() == "researcher"
        with track("writer", "draft"):
            assert step() == "writer"
        assert step() == "researcher"
    assert step() == ""

    assert fresh.value(RUN_COUNT, gen_ai_agent_name="researcher") == 1
    assert fresh.value(RUN_COUNT, gen_ai_agent_name="writer") == 1


def test_a_very_long_agent_name_is_entered_once(fresh):
    name = "x" * 5_000
    with track(name, "outer"), track(name, "inner"):
        pass

    assert fresh.value(RUN_COUNT, gen_ai_agent_name="x" * 200) == 1


def test_one_track_can_serve_one_block_after_another(fresh):
    rerank = track("researcher", "rerank")
    for _ in range(3):
        with rerank:
            fresh.clock.advance(1)

    assert count(fresh, "success") == 3
    assert fresh.value("agent_tasks_in_progress", **RERANK) == 0


def test_a_block_that_ends_in_another_thread_is_counted_and_raises_nothing(fresh):
    block = track("researcher", "rerank")
    block.__enter__()
    ender = threading.Thread(target=block.__exit__, args=(None, None, None))
    ender.start()
    ender.join()
    current_agent.set("")  # this thread never left the block

    assert count(fresh, "success") == 1


def test_leaving_twice_counts_once(fresh):
    block = track("researcher", "rerank")
    with block:
        pass
    block.__exit__(None, None, None)

    assert count(fresh, "success") == 1
    assert fresh.value("agentgauge_events_recorded_total") == 1


def test_a_wrong_objective_is_reported_and_costs_no_call(fresh):
    with track("scout", "rerank", objective=0.99):
        pass

    labels = {"agent_task": "rerank", "gen_ai_agent_name": "scout", "outcome": "success"}
    assert fresh.value("agent_task_duration_seconds_count", **labels) == 1
    assert fresh.value("agentgauge_internal_errors_total", hook="start") == 1
