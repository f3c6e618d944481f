from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest
from agent_desk import Desk

from agentgauge.targets import Objective

pytestmark = pytest.mark.usefixtures("loud")


def test_an_idle_agent_has_the_full_score_and_no_ratio(desk):
    health = desk.metrics.get_health_metrics()
    assert (health.success_ratio, health.throughput_per_second, health.tasks_in_progress) == (None, 0.0, 0)
    assert (health.oldest_task_age_seconds, health.score, health.reasons) == (None, 100.0, ())


def test_health_counts_errors_and_timeouts_against_successes_and_leaves_the_cancelled_out(desk):
    desk.do(6)
    desk.do(1, category="RateLimit")
    desk.do(1, category="timeout")
    desk.do(2, category="cancelled")
    health = desk.metrics.get_health_metrics()
    assert health.success_ratio == 0.75
    assert health.throughput_per_second == 1.0
    assert health.score == 70.0
    assert health.reasons == ("2 of 8 tasks failed (25.0%; 10.0% may): 30.0 points off",)


def test_failures_within_the_objective_cost_no_points(desk):
    desk.recorder.admission.tracked_target("clerk", "file", is_entry=True, objective=Objective(success_ratio=0.5))
    desk.do(2)
    desk.do(2, category="RateLimit")
    assert desk.metrics.get_health_metrics().score == 100.0
    desk.do(1, category="RateLimit")
    assert desk.metrics.get_health_metrics().score == 80.0


def test_health_forgets_what_is_older_than_five_minutes(desk):
    desk.do(5, category="RateLimit")
    assert desk.metrics.get_health_metrics().score == 40.0
    desk.clock.advance(300)
    desk.do(3)
    health = desk.metrics.get_health_metrics()
    assert (health.success_ratio, health.score) == (1.0, 100.0)
    assert health.throughput_per_second == 3 / 300


def test_a_stuck_task_lowers_the_score_and_says_so(desk):
    desk.metrics.start_task("a", "file")
    desk.clock.advance(1800)
    assert desk.metrics.get_health_metrics().score == 100.0
    desk.clock.advance(1)
    health = desk.metrics.get_health_metrics()
    assert (health.tasks_in_progress, health.oldest_task_age_seconds, health.score) == (1, 1801, 90.0)
    assert health.reasons == ("1 task is stuck: 10.0 points off",)


def test_a_growing_queue_lowers_the_score_until_it_has_stayed_so_for_five_minutes(desk):
    desk.metrics.update_queue_size(30)
    desk.clock.advance(100)
    desk.metrics.update_queue_size(39)
    assert desk.metrics.get_health_metrics().score == 100.0
    desk.clock.advance(10)
    desk.metrics.update_queue_size(60)
    health = desk.metrics.get_health_metrics()
    assert health.score == 95.0
    assert health.reasons == ("the queues grew by 30 to 60 waiting items: 5.0 points off",)
    desk.metrics.update_queue_size(30)
    assert desk.metrics.get_health_metrics().score == 100.0
    desk.metrics.update_queue_size(60)
    for _ in range(40):
        desk.clock.advance(10)
        desk.metrics.update_queue_size(60)
    assert desk.metrics.get_health_metrics().score == 100.0
    assert len(desk.metrics._queues["default"]._marks) <= 12


def test_the_score_stays_within_its_bounds_when_everything_is_wrong(desk):
    desk.do(10, category="RateLimit")
    for number in range(20):
        desk.metrics.start_task(number, "file")
    desk.clock.advance(1790)
    desk.do(10, category="RateLimit")
    desk.metrics.update_queue_size(0)
    desk.metrics.update_queue_size(1000)
    desk.clock.advance(1)
    health = desk.metrics.get_health_metrics()
    assert health.score == 0.0
    assert [reason.rpartition(": ")[2] for reason in health.reasons] == ["60.0 points off", "30.0 points off", "10.0 points off"]


def test_statistics_tell_counts_and_exact_quantiles_of_successes(desk):
    for seconds in range(1, 21):
        desk.do(seconds=seconds, task="file" if seconds % 2 else "copy")
    desk.do(1, seconds=500, category="RateLimit")
    statistics = desk.metrics.get_task_statistics()
    assert statistics.count == 21
    assert statistics.by_outcome == {"success": 20, "error": 1}
    assert statistics.by_type == {"file": 11, "copy": 10}
    assert (statistics.mean_seconds, statistics.p50_seconds) == (10.5, 10)
    assert (statistics.p95_seconds, statistics.max_seconds) == (19, 20)


@pytest.mark.parametrize("window", [timedelta(seconds=30), 30, 30.0])
def test_statistics_look_back_as_far_as_asked(desk, window):
    desk.do(2)
    desk.clock.advance(60)
    desk.do(3)
    statistics = desk.metrics.get_task_statistics(window)
    assert (statistics.count, statistics.window_seconds) == (3, 30)
    everything = desk.metrics.get_task_statistics()
    assert (everything.count, everything.window_seconds) == (5, 65)


@pytest.mark.parametrize("bad", [-1, math.nan, "an hour", timedelta(seconds=-5)])
def test_a_window_that_is_none_is_a_fault_and_means_everything(desk, bad):
    desk.do(2)
    assert desk.metrics.get_task_statistics(bad).count == 2
    assert desk.faults() == {"bad_value": 1}


def test_statistics_of_a_full_history_say_what_time_they_really_cover():
    desk = Desk(history_limit=10)
    desk.do(100)
    statistics = desk.metrics.get_task_statistics()
    assert (statistics.count, statistics.window_seconds) == (10, 9)
    assert desk.metrics.get_health_metrics().throughput_per_second == 10 / 9
    assert desk.ended() == 100


def test_the_error_summary_keeps_the_latest_errors_with_their_messages_cut(desk):
    for number in range(60):
        desk.metrics.start_task(number, "file")
        desk.clock.advance(1)
        desk.metrics.fail_task(number, ValueError("x" * 1000), f"kind {number}")
    summary = desk.metrics.get_error_summary()
    assert summary.total == 60
    assert len(summary.by_type) == 17
    assert summary.by_type["_OTHER"] == 44
    assert [error.task_id for error in summary.recent] == [str(number) for number in range(10, 60)]
    assert summary.recent[-1].timestamp == 50_060
    assert summary.recent[-1].message == "x" * 200
    assert (summary.recent[-1].task_type, summary.recent[-1].error_type) == ("file", "kind 59")


def test_the_export_is_everything_as_json(desk):
    desk.metrics.set_state("idle")
    desk.metrics.update_queue_size(3)
    desk.metrics.update_connections(1)
    desk.metrics.set_custom_metric("temperature", 4)
    desk.metrics.set_custom_metric("temperature", math.nan)
    desk.do(2)
    desk.metrics.start_task("\udc80", "file")
    desk.metrics.fail_task("\udc80", "no\udc80", "timeout")
    exported = json.loads(json.dumps(desk.metrics.export_metrics(), allow_nan=False))
    assert exported["agent_id"] == "clerk"
    assert (exported["state"], exported["queues"], exported["connections"]) == ("idle", {"default": 3}, 1)
    assert (exported["memory_usage_bytes"], exported["custom"]) == (None, {"temperature": 4})
    assert exported["health"]["success_ratio"] == 2 / 3
    assert exported["tasks"]["by_outcome"] == {"success": 2, "timeout": 1}
    assert exported["errors"]["by_type"] == {"timeout": 1}
    assert exported["errors"]["recent"][0]["task_id"] == "\udc80"


def test_the_export_of_an_unused_collector_is_json(desk):
    exported = desk.metrics.export_metrics()
    assert json.loads(json.dumps(exported, allow_nan=False))["tasks"]["count"] == 0
