"""A component's analytics bound their names, and rate it by what is told."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.analytics.infrastructure import InfrastructureAnalytics
from agentgauge.errors import ConfigurationError
from agentgauge.testing import FakeClock, reraise_internal_errors


@pytest.fixture
def store():
    with reraise_internal_errors():
        yield InfrastructureAnalytics("vector-store", clock=FakeClock(1000.0))


def test_nothing_recorded_is_no_score(store):
    assert store.get_component_health_score() is None
    assert "health_score: unknown" in store.generate_analytics_report("summary")


def test_what_goes_well_has_all_points(store):
    store.record_performance_metric("search", 12.5, True)
    store.record_resource_usage(cpu_percent=20, memory_percent=79.9)
    assert store.component_health() == (100.0, ())
    assert sorted(store.metrics()) == [
        "operation.search.duration_ms",
        "operation.search.success",
        "resource.cpu_percent",
        "resource.memory_percent",
    ]
    assert list(store.points("operation.search.duration_ms").times) == list(store.points("operation.search.success").times)


@pytest.mark.parametrize("success", ["no", "false", "error", "", 0, 1, None, 1.0])
def test_a_success_that_is_no_bool_is_refused_and_not_taken_for_one(store, success, caplog):
    store.record_performance_metric("search", 12.5, success)
    assert store.metrics() == []
    assert store.refused() == {"bad_value": 1}
    assert f"success is of type {type(success).__name__}: give True or False" in caplog.text


def test_a_success_may_be_what_a_comparison_in_numpy_returned(store):
    store.record_performance_metric("search", 12.5, np.float64(1.0) < 2)
    assert list(store.points("operation.search.success").values) == [1.0]


@pytest.mark.parametrize(("failed", "points"), [(1, 100.0), (2, 80.0), (4, 40.0), (5, 40.0), (10, 40.0)])
def test_failures_take_points_as_those_of_agents_do(store, failed, points):
    for number in range(10):
        store.record_performance_metric("search", 1.0, number >= failed)
        if number < failed:
            store.record_error(TimeoutError("the same failure"))
    assert store.get_component_health_score() == points


def test_errors_beside_failed_operations_take_points(store):
    store.record_error("CorruptPage", "row 7 of the user's")
    assert store.get_component_health_score() == 90.0
    for _ in range(9):
        store.record_error("CorruptPage")
    assert store.component_health().points == 70.0
    assert "row 7" not in store.generate_analytics_report("detailed")


@pytest.mark.parametrize(("cpu", "disk", "points"), [(80, 0, 85.0), (95, 0, 60.0), (95, 95, 20.0), (79.9, 80, 85.0)])
def test_full_resources_take_points(store, cpu, disk, points):
    store.record_resource_usage(cpu_percent=cpu, disk_percent=disk, network_bytes_per_second=1e12)
    assert store.get_component_health_score() == points


def test_more_than_all_is_kept_as_it_is_and_counts_as_all(store):
    for cpu in (800, 20):
        store.record_resource_usage(cpu_percent=cpu)
    assert list(store.points("resource.cpu_percent").values) == [800.0, 20.0]
    assert store.component_health() == (100.0, ())  # 60 % on average
    assert store.refused() == {}


EVENTS = st.one_of(
    st.tuples(st.just("success")),
    st.tuples(st.just("failure")),
    st.tuples(st.just("error")),
    st.tuples(st.just("failure and its error")),
    st.tuples(st.sampled_from(["cpu_percent", "memory_percent", "disk_percent"]), st.floats(0, 200)),
)


def rated(events):
    component = InfrastructureAnalytics("vector-store", clock=FakeClock(1000.0))
    for what, *reading in events:
        if what in {"success", "failure", "failure and its error"}:
            component.record_performance_metric("search", 1.0, what == "success")
        if what in {"error", "failure and its error"}:
            component.record_error("CorruptPage")
        if reading:
            component.record_resource_usage(**{what: reading[0]})
    return component.get_component_health_score()


@settings(max_examples=100, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), number=st.integers(0, 24), more=st.floats(0, 100))
def test_a_score_lies_within_its_range_and_nothing_bad_ever_raises_it(events, number, more):
    before = rated(events)
    assert before is None or 0 <= before <= 100
    before = 100.0 if before is None else before
    assert rated([*events, ("error",)]) <= before
    assert rated([*events, ("failure and its error",)]) <= before
    assert rated([*events, ("success",)]) >= before
    if number < len(events) and len(events[number]) > 1:
        what, reading = events[number]
        assert rated([*events[:number], (what, reading + more), *events[number + 1 :]]) <= before


def test_a_score_is_never_below_zero_and_every_reason_is_told(store):
    store.record_performance_metric("search", 1.0, False)
    store.record_resource_usage(99, 99, 99)
    found = store.component_health()
    assert found.points == 0.0
    assert len(found.reasons) == 4
    assert store.generate_analytics_report()["health_reasons"] == list(found.reasons)


def test_only_the_window_counts(store):
    store.record_performance_metric("search", 1.0, False, timestamp=50.0)
    store.record_performance_metric("search", 1.0, True, timestamp=900.0)
    assert store.get_component_health_score(200) == 100.0
    assert store.get_component_health_score(None) == 40.0
    with pytest.raises(ConfigurationError, match="time_window"):
        store.get_component_health_score(0)


def test_operations_and_errors_beyond_the_limit_share_other_and_still_count():
    store = InfrastructureAnalytics("store", max_names=2)
    for name in ("a", "b", "c", "d", "a"):
        store.record_performance_metric(name, 5.0, name != "d")
        store.record_error(name)
    assert len(store.points("operation.other.duration_ms")) == 2
    assert len(store.points("operation.a.duration_ms")) == 2
    assert len(store.points("error.other")) == 2
    assert store.get_component_health_score() == 80.0 - 30.0


def test_names_are_counted_right_when_threads_bring_them():
    store = InfrastructureAnalytics("store", max_names=5)
    begin = threading.Barrier(4)

    def record(thread):
        begin.wait()
        for number in range(200):
            store.record_performance_metric(f"{thread}-{number}", 1.0, True)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.metrics()) == 12
    assert sum(len(store.points(metric)) for metric in store.metrics() if metric.endswith(".success")) == 800


@pytest.mark.parametrize("duration", [-1, math.nan, math.inf, "fast", None, True])
def test_a_bad_duration_leaves_no_half_record(store, duration):
    store.record_performance_metric("search", duration, True)
    assert (store.metrics(), store.refused()) == ([], {"bad_value": 1})


def test_bad_names_and_percentages_are_refused(store):
    store.record_error("")
    store.record_error(None)
    store.record_performance_metric("x" * 151, 1.0, True)
    store.record_resource_usage(cpu_percent=-1)
    assert (store.metrics(), store.refused()) == ([], {"bad_name": 3, "bad_value": 1})


def test_what_cannot_even_be_told_true_or_false_costs_nothing(caplog):
    class Undecided:
        def __bool__(self):
            raise ValueError

    store = InfrastructureAnalytics("store")
    store.record_performance_metric("search", 1.0, Undecided())
    assert store.metrics() == []
    assert "analytics" in caplog.text


def test_names_come_back_from_a_file(tmp_path):
    store = InfrastructureAnalytics("store", max_names=2)
    for name in ("a", "b", "c"):
        store.record_performance_metric(name, 5.0, True, timestamp=1.0)
    store.save(tmp_path / "store.json")
    other = InfrastructureAnalytics("store", max_names=2)
    other.record_performance_metric("z", 5.0, True)
    other.load(tmp_path / "store.json")
    other.record_performance_metric("z", 5.0, True)
    other.record_performance_metric("b", 5.0, True)
    assert len(other.points("operation.other.success")) == 2
    assert len(other.points("operation.b.success")) == 2


@pytest.mark.parametrize("arguments", [{"component_name": ""}, {"component_name": "a", "max_names": 0}])
def test_bad_arguments_of_a_component_are_refused(arguments):
    with pytest.raises(ConfigurationError, match=r"component_name|max_names"):
        InfrastructureAnalytics(**arguments)
