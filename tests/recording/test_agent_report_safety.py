from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import pytest
from agent_desk import AGENT, Desk

from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.default import default_recorder
from agentgauge.recording.recorder import SOFT_LIMIT
from agentgauge.testing import isolated

pytestmark = pytest.mark.usefixtures("loud")


def test_a_fault_of_the_recorder_reaches_no_caller(desk, monkeypatch):
    from agentgauge.errors import contained_errors

    def broken():
        raise OSError("the clock stopped")

    contained_errors.is_reraising = False  # the fixture sets it back
    before = contained_errors.count_by_hook.get("agent_metrics", 0)
    desk.metrics.start_task("a", "file")
    desk.recorder.clock = broken
    desk.metrics.start_task("b", "file")
    assert desk.metrics.get_health_metrics().score == 100.0
    assert desk.metrics.get_task_statistics().count == 0
    assert contained_errors.count_by_hook["agent_metrics"] == before + 3
    desk.metrics.complete_task("a")
    assert desk.ended() == 1


def test_disabled_everything_is_a_no_op(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    desk = Desk()
    desk.do(3)
    desk.do(1, category="RateLimit")
    desk.metrics.set_state("asleep")
    desk.metrics.update_queue_size(-1)
    desk.metrics.set_custom_metric("temperature", 4)
    assert desk.metrics.get_task_statistics("soon").count == 0
    assert desk.metrics.get_error_summary().total == 0
    assert desk.metrics.export_metrics()["custom"] == {}
    assert not [sample for metric in desk.registry.collect() for sample in metric.samples if "gen_ai_agent_name" in sample.labels]
    assert AgentMetricsCollector("clerk")._recorder is not default_recorder()


def test_it_records_where_the_decorators_do_by_default():
    with isolated() as isolation:
        metrics = AgentMetricsCollector("clerk")
        metrics.start_task("a", "file")
        assert isolation.value("agent_tasks_in_progress", **AGENT, agent_task="file") == 1


def test_a_copied_agent_reports_to_the_same_collector_and_a_pickled_one_starts_anew(desk):
    metrics = AgentMetricsCollector("clerk", recorder=desk.recorder, task_limit=5)
    assert copy.deepcopy({"metrics": metrics})["metrics"] is metrics
    other = pickle.loads(pickle.dumps(metrics))
    assert (other._agent, other._task_limit, other._recorder) == ("clerk", 5, default_recorder())


def test_the_given_signatures_are_kept():
    signature = inspect.signature(AgentMetricsCollector.start_task)
    assert list(signature.parameters) == ["self", "task_id", "task_type", "input_size_bytes"]
    signature = inspect.signature(AgentMetricsCollector.fail_task)
    assert list(signature.parameters) == ["self", "task_id", "error_message", "error_category"]


def test_of_many_threads_that_end_one_task_exactly_one_counts(desk):
    ids = range(300)
    for task_id in ids:
        desk.metrics.start_task(task_id, "file")
    barrier = threading.Barrier(4)

    def finish():
        barrier.wait()
        for task_id in ids:
            desk.metrics.complete_task(task_id)

    threads = [threading.Thread(target=finish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.ended() == 300
    assert desk.faults() == {"already_ended": 900}
    assert desk.metrics.get_task_statistics().count == 300


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_starts_with_no_open_tasks_and_the_parent_keeps_its_own():
    program = """
        import os
        import threading
        from agentgauge.errors import contained_errors
        from agentgauge.recording.agent_metrics import AgentMetricsCollector
        from agentgauge.recording.collector import RecorderCollector
        from agentgauge.recording.recorder import Recorder
        from prometheus_client import CollectorRegistry

        recorder = Recorder()
        registry = CollectorRegistry()
        registry.register(RecorderCollector(recorder))
        metrics = AgentMetricsCollector("clerk", recorder=recorder)
        metrics.start_task("a", "file")
        is_inside, may_leave = threading.Event(), threading.Event()

        def stay_inside():
            with metrics._ledger._lock:
                is_inside.set()
                may_leave.wait(60)

        threading.Thread(target=stay_inside).start()
        is_inside.wait(60)
        child = os.fork()
        if child:
            may_leave.set()
            os.waitpid(child, 0)
        metrics.complete_task("a")
        labels = {"gen_ai_agent_name": "clerk"}
        print(
            "parent" if child else "child",
            registry.get_sample_value(
                "agent_task_duration_seconds_count", {**labels, "agent_task": "file", "outcome": "success"}
            ),
            registry.get_sample_value("agent_task_protocol_faults_total", {**labels, "fault": "unknown"}),
            metrics.get_task_statistics().count,
            contained_errors.count_by_hook,
            flush=True,
        )
        if not child:
            os._exit(0)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=240, check=True
    )
    assert result.stdout.splitlines() == ["child None 1 0 {}", "parent 1 0 1 {}"]
    assert "Traceback" not in result.stderr


def test_memory_stays_bounded_when_nobody_scrapes():
    desk = Desk(task_limit=50, history_limit=100)
    for number in range(3 * SOFT_LIMIT):
        desk.metrics.start_task(number, f"type {number % 400}", 10)
        desk.metrics.update_queue_size(number, f"queue {number}")
        desk.metrics.set_custom_metric(f"metric {number}", number)
        desk.metrics.set_state("idle")
        if number % 3:
            desk.metrics.fail_task(number, "message", f"category {number}")
    ledger = desk.metrics._ledger
    assert 48 <= len(ledger._open) <= 50
    assert len(ledger._history) == len(ledger._ended_ids) == 100
    assert len(ledger._errors_by_type) <= 17
    assert len(desk.metrics._queues) == len(desk.metrics._custom) == desk.recorder.series_limit
    assert len(desk.recorder.observations) <= 2 * SOFT_LIMIT
    assert len(desk.recorder.buffer) + len(desk.recorder.open) <= 2 * SOFT_LIMIT
    assert len(desk.metrics.get_task_statistics().by_type) <= 101


def test_tasks_of_a_collector_that_is_gone_end_as_abandoned(desk):
    desk.metrics.start_task("a", "file")
    assert desk.in_progress() == 1
    del desk.metrics
    gc.collect()
    assert desk.in_progress() == 0
    assert desk.ended(outcome="abandoned") == 1


def test_an_exception_tells_its_own_category(desk):
    desk.metrics.start_task("a", "file")
    desk.metrics.fail_task("a", ValueError("bad"))
    desk.metrics.start_task("b", "file")
    desk.metrics.fail_task("b", TimeoutError())
    assert desk.value("agent_task_errors_total", agent_task="file", error_type="ValueError") == 1
    assert desk.ended(outcome="timeout") == 1
