from __future__ import annotations

import json
import logging
import math
import uuid
from collections import Counter, OrderedDict

import pytest
from agent_desk import FAULTS, Desk, Unprintable
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.errors import ConfigurationError
from agentgauge.recording import intake
from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.testing import FakeClock

pytestmark = pytest.mark.usefixtures("loud")


def test_ending_an_unknown_task_is_a_warning_and_a_count(desk, caplog):
    desk.metrics.complete_task("a")
    desk.metrics.fail_task("b", "message")
    assert desk.faults() == {"unknown": 2}
    [warning] = caplog.records
    assert (warning.name, warning.levelno) == ("agentgauge", logging.WARNING)
    assert "'clerk'" in warning.getMessage()
    assert "'a'" in warning.getMessage()


def test_the_second_start_of_an_open_task_counts_as_a_fault_and_not_as_a_task(desk):
    desk.metrics.start_task("a", "file")
    desk.clock.advance(4)
    desk.metrics.start_task("a", "copy", 5)
    desk.metrics.complete_task("a")
    assert desk.faults() == {"duplicate": 1}
    assert desk.value("agent_task_duration_seconds_sum", agent_task="file", outcome="success") == 4
    assert desk.registry.get_sample_value("agentgauge_events_recorded_total") == 1


def test_the_second_end_of_a_task_counts_as_a_fault_and_changes_nothing(desk):
    desk.do()
    desk.metrics.start_task("a", "file")
    desk.metrics.fail_task("a", "message")
    desk.metrics.complete_task("a")
    desk.metrics.fail_task("a", "message")
    assert desk.faults() == {"already_ended": 2}
    assert (desk.ended(), desk.ended(outcome="error")) == (1, 1)


def test_past_the_limit_the_oldest_open_task_ends_as_abandoned():
    desk = Desk(task_limit=2)
    for task_id in "abc":
        desk.metrics.start_task(task_id, "file")
        desk.clock.advance(1)
    assert desk.ended(outcome="abandoned") == 1
    assert desk.in_progress() == 2
    assert desk.value("agent_task_oldest_start_timestamp_seconds", agent_task="file") == 50_001
    desk.metrics.complete_task("a")
    desk.metrics.complete_task("b")
    assert desk.faults() == {"evicted": 1, "already_ended": 1}
    assert desk.ended() == 1
    assert desk.metrics.get_task_statistics().by_outcome == {"abandoned": 1, "success": 1}
    assert desk.metrics.get_error_summary().total == 0


@pytest.mark.parametrize("bad", [None, "", "  ", 5, b"x", Unprintable(), ["file"]])
def test_a_task_whose_type_is_no_name_is_still_measured(desk, bad):
    desk.metrics.start_task("a", bad)
    desk.metrics.complete_task("a")
    assert desk.faults() == {"bad_value": 1}
    assert desk.ended(task="unknown") == 1


@pytest.mark.parametrize("bad", [None, "", "x" * 257, 1.5, b"a", ["a"], Unprintable(), pytest.param(10**5000, id="huge")])
def test_a_value_that_cannot_be_an_id_starts_and_ends_nothing(desk, bad):
    desk.metrics.start_task(bad, "file")
    desk.metrics.complete_task(bad)
    desk.metrics.fail_task(bad, "message")
    assert desk.faults() == {"bad_value": 3}
    assert desk.registry.get_sample_value("agentgauge_events_recorded_total") == 0


@pytest.mark.parametrize(
    "bad", [-1, math.nan, math.inf, "12", None, True, pytest.param(10**400, id="huge"), [3], Unprintable(), 1j]
)
@pytest.mark.parametrize(
    ("report", "family"),
    [
        (lambda metrics, value: metrics.update_queue_size(value), "agent_queue_depth"),
        (lambda metrics, value: metrics.record_queue_wait(value), "agent_queue_wait_seconds_count"),
        (lambda metrics, value: metrics.update_connections(value), "agent_connections"),
        (lambda metrics, value: metrics.update_memory_usage(value), "agent_memory_usage_bytes"),
    ],
)
def test_a_value_that_cannot_be_such_a_reading_is_counted_and_left_out(desk, report, family, bad):
    report(desk.metrics, bad)
    assert desk.faults() == {"bad_value": 1}
    assert family not in {sample.name for metric in desk.registry.collect() for sample in metric.samples}


def test_a_bad_input_size_costs_only_itself(desk):
    desk.metrics.start_task("a", "file", -1)
    desk.metrics.complete_task("a")
    assert desk.faults() == {"bad_value": 1}
    assert desk.ended() == 1
    assert desk.value("agent_task_input_size_bytes_count", agent_task="file") is None


def test_a_failure_with_an_unprintable_message_and_a_bad_category_still_ends_its_task(desk):
    desk.metrics.start_task("a", "file")
    desk.metrics.fail_task("a", Unprintable(), 17)
    assert desk.faults() == {"bad_value": 1}
    assert desk.value("agent_task_errors_total", agent_task="file", error_type="error") == 1
    assert desk.metrics.get_error_summary().recent[0].message == "Unprintable"


def test_warnings_of_one_kind_come_once_a_minute_whatever_the_agent(desk, caplog, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(intake.time, "monotonic", clock)
    for number in range(100):
        AgentMetricsCollector(f"clerk {number}", recorder=desk.recorder).complete_task("a")
    desk.metrics.set_state("asleep")
    assert len(caplog.records) == 2
    clock.advance(60)
    desk.metrics.complete_task("a")
    assert len(caplog.records) == 3


def test_every_kind_of_fault_is_shown_before_the_first(desk):
    assert [desk.value("agent_task_protocol_faults_total", fault=fault) for fault in FAULTS] == [0] * 5


@pytest.mark.parametrize("bad", [None, "", 5])
def test_a_collector_without_a_name_is_refused(bad):
    with pytest.raises(ConfigurationError, match="agent_id"):
        AgentMetricsCollector(bad)


@pytest.mark.parametrize("setting", ["task_limit", "history_limit"])
@pytest.mark.parametrize("bad", [0, 1.5, None])
def test_a_limit_that_is_not_positive_is_refused(setting, bad):
    with pytest.raises(ConfigurationError, match=setting):
        AgentMetricsCollector("clerk", **{setting: bad})


IDS = st.one_of(
    st.sampled_from(["a", "b", "c", "d", 1, "1", uuid.UUID(int=1)]),
    st.text(max_size=2),
    st.none(),
    st.floats(),
    st.binary(max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["start", "complete", "fail", "cancel"]), IDS), max_size=60),
    task_limit=st.integers(1, 4),
)
def test_every_start_is_an_end_or_in_progress_or_abandoned_whatever_the_order(steps, task_limit):
    desk = Desk(task_limit=task_limit)
    is_open: OrderedDict[str, None] = OrderedDict()
    has_ended: set[str] = set()
    expected: Counter[str] = Counter()
    for step, task_id in steps:
        key = str(task_id) if isinstance(task_id, str | int | uuid.UUID) else ""
        if step == "start":
            desk.metrics.start_task(task_id, "file")
        elif step == "complete":
            desk.metrics.complete_task(task_id)
        else:
            desk.metrics.fail_task(task_id, "message", None if step == "fail" else "cancelled")
        if not key:
            expected["bad_value"] += 1
        elif step == "start" and key in is_open:
            expected["duplicate"] += 1
        elif step == "start":
            is_open[key] = None
            expected["starts"] += 1
            has_ended.discard(key)
            if len(is_open) > task_limit:
                has_ended.add(is_open.popitem(last=False)[0])
                expected["evicted"] += 1
        elif key in is_open:
            del is_open[key]
            has_ended.add(key)
            expected[step] += 1
        else:
            expected["already_ended" if key in has_ended else "unknown"] += 1
    ends = {outcome: desk.ended(outcome=outcome) or 0 for outcome in ("success", "error", "cancelled", "abandoned")}
    assert ends == {
        "success": expected["complete"],
        "error": expected["fail"],
        "cancelled": expected["cancel"],
        "abandoned": expected["evicted"],
    }
    assert (desk.in_progress() or 0) == len(is_open) <= task_limit
    assert expected["starts"] == sum(ends.values()) + len(is_open)
    assert desk.registry.get_sample_value("agentgauge_events_recorded_total") == expected["starts"]
    assert desk.faults() == {fault: expected[fault] for fault in FAULTS if expected[fault]}
    assert desk.metrics.get_task_statistics().count == sum(ends.values())
    assert desk.metrics.get_health_metrics().tasks_in_progress == len(is_open)
    json.dumps(desk.metrics.export_metrics(), allow_nan=False)
