"""Faults at other moments than a call: while decorating, constructing, stating an outcome, and being scraped."""

from __future__ import annotations

import pytest
from call_counts import counts
from fault_points import fallible
from prometheus_client import Counter as HostCounter
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from agentgauge import agent, catalogue, task, tool, track, workflow
from agentgauge.exposition.text import render
from agentgauge.recording import default
from agentgauge.recording.agent_metrics import AgentMetricsCollector


def our_page(registry):
    return b"".join(render(registry, openmetrics=False))


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("decorate", [task, tool, workflow, agent("scout"), task("named")])
def test_a_fault_while_decorating_leaves_a_function_that_works(decorate):
    with fallible(has_sdk=False) as bench:
        bench.switches.arm("label")
        decorated = decorate(lambda: 42)
        bench.switches.disarm()

        assert decorated() == 42
        assert bench.switches.fired["label"]
        assert bench.internal_errors()


def test_a_fault_while_decorating_a_class_leaves_a_class_that_works():
    with fallible(has_sdk=False) as bench:
        bench.switches.arm("label")

        @agent("scout")
        class Scout:
            def look(self):
                return 42

        bench.switches.disarm()

        assert Scout().look() == 42
        assert bench.switches.fired["label"]


def test_a_registry_that_refuses_us_costs_the_host_nothing(fresh, monkeypatch):
    asked = []

    def refuse(registry):
        asked.append(registry)
        raise ValueError("Duplicated timeseries")

    monkeypatch.setattr(default, "show_default_recorder", refuse)
    monkeypatch.setattr(default, "_is_at_home", False)

    assert task(lambda: 42)() == 42
    assert asked
    assert fresh.value("agentgauge_internal_errors_total", hook="register") == 1


@pytest.mark.parametrize("point", ["clock", "observation", "buffer length", "agent get"])
def test_a_collector_that_is_made_while_something_fails_works_afterwards(point):
    with fallible(has_sdk=False) as bench:
        bench.switches.arm(point)
        metrics = AgentMetricsCollector("clerk")
        metrics.start_task("a", "file")
        metrics.complete_task("a")
        assert metrics.export_metrics() is not None
        bench.switches.disarm()
        assert bench.switches.fired[point]
        assert bench.internal_errors()

        metrics.start_task("b", "file")
        metrics.complete_task("b")
        assert counts(bench.isolation.registry)["file", "success"] >= 1
        assert metrics.get_health_metrics().tasks_in_progress == 0


@pytest.mark.parametrize("value", [Unprintable(), None, 7, ["error"]])
def test_what_track_is_told_never_raises(fresh, value):
    with track("scout", value) as call:
        call.set_outcome(value, error_type=value)
        call.set_outcome("error", error_type=value)
        call.record_retry()
    with track(value, "work"):
        pass

    assert fresh.value("agentgauge_events_recorded_total") == 2


@pytest.mark.parametrize("point", ["label", "observation", "buffer length", "lock"])
def test_a_fault_while_an_outcome_is_stated_leaves_the_outcome(point):
    with fallible(has_sdk=False) as bench:
        with track("scout", "work") as call:
            bench.switches.arm(point)
            bench.isolation.recorder.observations.extend([(catalogue.OVERHEAD, (), 0.0)] * 600)  # so many are to be drained
            call.set_outcome("error", error_type="Bad")
            call.record_retry()
            bench.switches.disarm()

        assert bench.switches.fired[point]
        assert bench.internal_errors()
        assert counts(bench.isolation.registry)["work", "error"] == 1


@pytest.mark.parametrize("write", [generate_latest, generate_openmetrics, our_page])
@pytest.mark.parametrize("point", ["label text", "lock", "fold", "count", "buffer length"])
def test_a_fault_while_we_are_scraped_costs_no_metric_of_the_hosts_and_no_count_for_good(point, write):
    @task
    def work(error):
        if error is not None:
            raise error

    with fallible(has_sdk=False) as bench:
        registry = bench.isolation.registry
        HostCounter("host_orders", "Orders.", registry=registry).inc(7)
        work(None)
        with pytest.raises(ValueError):
            work(ValueError())
        bench.switches.arm(point)
        work(None)
        page = write(registry)
        bench.switches.disarm()

        assert b"host_orders_total 7.0" in page
        assert bench.switches.fired[point]
        assert bench.internal_errors()
        work(None)
        write(registry)
        counted = counts(registry)
        assert (counted["work", "success"], counted["work", "error"]) == (3, 1)
