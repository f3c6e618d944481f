from __future__ import annotations

import contextvars
import enum
import threading

import pytest
from agent_desk import Desk

from agentgauge.catalogue import AGENT_STATES
from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.site import current_agent

pytestmark = pytest.mark.usefixtures("loud")


def test_a_completed_task_is_a_success_of_its_duration(desk):
    desk.metrics.start_task("a", "file")
    desk.clock.advance(2.5)
    desk.metrics.complete_task("a")
    assert desk.ended() == 1
    assert desk.value("agent_task_duration_seconds_sum", agent_task="file", outcome="success") == 2.5
    assert desk.value("agent_task_last_success_timestamp_seconds", agent_task="file") == 50_002.5
    assert desk.in_progress() == 0
    assert desk.faults() == {}


def test_an_open_task_is_in_progress_since_it_started(desk):
    desk.clock.advance(10)
    desk.metrics.start_task("a", "file")
    desk.clock.advance(5)
    desk.metrics.start_task("b", "file")
    assert desk.in_progress() == 2
    assert desk.value("agent_task_oldest_start_timestamp_seconds", agent_task="file") == 50_010


@pytest.mark.parametrize(
    ("category", "outcome", "error_type"),
    [
        (None, "error", "error"),
        ("RateLimit", "error", "RateLimit"),
        ("timeout", "timeout", "timeout"),
        ("TimeoutError", "timeout", "TimeoutError"),
        ("cancelled", "cancelled", None),
        ("CANCELED", "cancelled", None),
    ],
)
def test_the_category_of_a_failure_tells_its_outcome_and_error_type(desk, category, outcome, error_type):
    desk.metrics.start_task("a", "file")
    desk.metrics.fail_task("a", "no room in cabinet 7", category)
    assert desk.ended(outcome=outcome) == 1
    summary = desk.metrics.get_error_summary()
    if error_type is None:
        assert desk.value("agent_task_errors_total", agent_task="file", error_type="_OTHER") == 0
        assert (summary.total, summary.by_type, summary.recent) == (0, {}, ())
    else:
        assert desk.value("agent_task_errors_total", agent_task="file", error_type=error_type) == 1
        assert summary.by_type == {error_type: 1}


def test_an_error_message_or_task_id_is_never_in_a_series(desk):
    desk.metrics.start_task("id-4711", "file")
    desk.metrics.fail_task("id-4711", "secret message", "RateLimit")
    desk.metrics.fail_task("id-0815", "secret message")
    page = repr([metric.samples for metric in desk.registry.collect()])
    assert "RateLimit" in page
    assert not any(text in page for text in ("secret", "4711", "0815"))


def test_a_task_outside_decorated_calls_is_the_agents_run(desk):
    desk.do(seconds=3)
    assert desk.value("gen_ai_invoke_agent_duration_seconds_count") == 1
    assert desk.value("gen_ai_invoke_agent_duration_seconds_sum") == 3


def test_a_task_inside_a_decorated_call_of_its_agent_is_no_run_of_its_own(desk):
    token = current_agent.set("clerk")
    desk.do()
    current_agent.reset(token)
    assert desk.ended() == 1
    assert desk.value("gen_ai_invoke_agent_duration_seconds_count") is None


def test_a_task_may_start_in_one_thread_and_end_in_another_without_touching_the_context(desk):
    before = dict(contextvars.copy_context().items())
    thread = threading.Thread(target=desk.metrics.start_task, args=("a", "file"))
    thread.start()
    thread.join()
    desk.metrics.complete_task("a")
    desk.metrics.start_task("b", "file")
    assert desk.ended() == 1
    assert dict(contextvars.copy_context().items()) == before


def test_input_sizes_are_observed_where_they_are_stated(desk):
    desk.metrics.start_task("a", "file", 300)
    desk.metrics.start_task("b", "file", input_size_bytes=0)
    desk.metrics.start_task("c", "file")
    for task_id in "abc":
        desk.metrics.complete_task(task_id)
    assert desk.value("agent_task_input_size_bytes_count", agent_task="file") == 2
    assert desk.value("agent_task_input_size_bytes_sum", agent_task="file") == 300
    assert desk.value("agent_task_input_size_bytes_bucket", agent_task="file", le="256.0") == 1
    assert desk.metrics.get_task_statistics().input_bytes == 300


def test_an_id_may_be_used_again_after_its_task_has_ended(desk):
    for _ in range(3):
        desk.metrics.start_task(7, "file")
        desk.metrics.complete_task("7")
    assert desk.ended() == 3
    assert desk.faults() == {}


def test_the_ids_that_ended_last_are_remembered():
    desk = Desk(history_limit=2)
    for task_id in "abac":
        desk.metrics.start_task(task_id, "file")
        desk.metrics.complete_task(task_id)
    for task_id in "abc":
        desk.metrics.complete_task(task_id)
    assert desk.faults() == {"already_ended": 2, "unknown": 1}


def test_collectors_of_one_agent_share_its_series(desk):
    other = AgentMetricsCollector("clerk", recorder=desk.recorder)
    desk.do()
    other.start_task("a", "file")
    other.complete_task("a")
    assert desk.ended() == 2
    assert other.get_task_statistics().count == 1


class State(enum.Enum):
    IDLE = "idle"
    SHUTTING_DOWN = 5


@pytest.mark.parametrize(
    ("given_state", "state"),
    [("idle", "idle"), ("PROCESSING", "processing"), (State.IDLE, "idle"), (State.SHUTTING_DOWN, "shutting_down")],
)
def test_one_state_holds_at_a_time(desk, given_state, state):
    desk.metrics.set_state("error")
    desk.metrics.set_state(given_state)
    held = {name: desk.value("agent_state", agent_state=name) for name in AGENT_STATES}
    assert held == {name: float(name == state) for name in AGENT_STATES}


@pytest.mark.parametrize("bad", ["asleep", "", None, 3])
def test_an_unknown_state_changes_nothing(desk, bad):
    desk.metrics.set_state("idle")
    desk.metrics.set_state(bad)
    assert desk.value("agent_state", agent_state="idle") == 1
    assert desk.faults() == {"bad_value": 1}


def test_readings_become_gauges_and_waits_a_histogram(desk):
    desk.metrics.update_queue_size(3)
    desk.metrics.update_queue_size(4, "urgent")
    desk.metrics.update_queue_size(1)
    desk.metrics.record_queue_wait(0.5)
    desk.metrics.record_queue_wait(1.5)
    desk.metrics.update_connections(2)
    desk.metrics.update_memory_usage(bytes=1024)
    desk.metrics.set_custom_metric("temperature", -4.5)
    assert desk.value("agent_queue_depth", queue="default") == 1
    assert desk.value("agent_queue_depth", queue="urgent") == 4
    assert desk.value("agent_queue_wait_seconds_count", queue="default") == 2
    assert desk.value("agent_queue_wait_seconds_sum", queue="default") == 2
    assert desk.value("agent_connections") == 2
    assert desk.value("agent_memory_usage_bytes") == 1024
    assert desk.value("agent_custom_metric", agent_metric="temperature") == -4.5
