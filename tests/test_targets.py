"""Objectives and thresholds: what can be promised, and what is refused with its fix."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from agentgauge import ConfigurationError, Objective, Threshold, start, stop
from agentgauge.catalogue import FAMILIES
from agentgauge.targets import DEFAULT_THRESHOLDS, Budget


@pytest.mark.parametrize(
    "promise",
    [
        {"success_ratio": 0.99},
        {"latency_seconds": 5},
        {"success_ratio": 0.5, "latency_seconds": 0.001},
        {"success_ratio": 1e-9},
        {"latency_seconds": 1e9},
    ],
)
def test_an_objective_promises_success_latency_or_both(promise):
    objective = Objective(**promise)

    assert dataclasses.asdict(objective) == {"success_ratio": None, "latency_seconds": None, **promise}


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        ({}, r"Objective\(\) promises nothing: give success_ratio, latency_seconds or both"),
        ({"success_ratio": 0}, r"Objective\(success_ratio=0\): give a ratio between 0 and 1, both excluded, such as 0\.99"),
        ({"success_ratio": 1}, r"Objective\(success_ratio=1\): give a ratio between 0 and 1"),
        ({"success_ratio": 99}, r"Objective\(success_ratio=99\): give a ratio between 0 and 1"),
        ({"success_ratio": float("nan")}, r"Objective\(success_ratio=nan\): give a ratio between 0 and 1"),
        ({"latency_seconds": 0}, r"Objective\(latency_seconds=0\): give a positive, finite number of seconds, such as 5"),
        ({"latency_seconds": -1}, r"Objective\(latency_seconds=-1\): give a positive, finite number"),
        ({"latency_seconds": float("inf")}, r"Objective\(latency_seconds=inf\): give a positive, finite number"),
        ({"latency_seconds": float("nan")}, r"Objective\(latency_seconds=nan\): give a positive, finite number"),
        ({"success_ratio": 0.9, "latency_seconds": 0}, r"Objective\(latency_seconds=0\): give a positive, finite number"),
    ],
)
def test_an_objective_that_cannot_be_kept_is_refused_with_the_fix(promise, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        Objective(**promise)


@pytest.mark.parametrize("severity", ["info", "warning", "critical"])
@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
def test_a_threshold_has_a_severity_and_an_operator(severity, operator):
    threshold = Threshold("system_memory_utilization_ratio", 0.9, severity, operator)

    assert (threshold.severity, threshold.operator) == (severity, operator)
    assert (Threshold("m", 1).severity, Threshold("m", 1).operator) == ("warning", ">")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"severity": "page"}, r"Threshold\(severity='page'\): give one of info, warning, critical"),
        ({"operator": "=="}, r"Threshold\(operator='=='\): give one of >, >=, <, <="),
        ({"value": float("nan")}, r"Threshold\(value=nan\): give a finite number"),
        ({"value": float("inf")}, r"Threshold\(value=inf\): give a finite number"),
        ({"unit": 3}, r"Threshold\(unit=3\): give a text such as 'GiB', 'ms' or '%'"),
        ({"metric": "x_bytes", "unit": "ms"}, r"Threshold\(unit='ms'\): x_bytes is in bytes; give one of 'B', 'kB'"),
        ({"metric": "x_seconds_total", "unit": "%"}, r"Threshold\(unit='%'\): x_seconds_total is in seconds; give one of"),
        ({"metric": "x_bytes", "unit": "gb"}, r"Threshold\(unit='gb'\): x_bytes is in bytes; give one of 'B', .*'GB'.*'GiB'"),
        ({"metric": "x_celsius", "unit": "K"}, r"Threshold\(unit='K'\): x_celsius is in celsius; give one of '°C', 'celsius'$"),
        (
            {"metric": "system_cpu_utilization_ratio", "value": 90},
            r"Threshold\(value=90\): system_cpu_utilization_ratio is between 0 and 1; give a share such as 0\.9, or unit='%'",
        ),
        ({"labels": ["a"]}, r"Threshold\(labels=\['a'\]\): give a dict such as"),
        ({"labels": {"not a name": "x"}}, r"Threshold\(labels\): 'not a name' is no label's name"),
        ({"labels": {"path": 3}}, r"Threshold\(labels\): 'path': 3 is neither a text nor re\.compile"),
        ({"labels": {"path": re.compile(b"x")}}, r"Threshold\(labels\): 'path': .* is neither a text nor re\.compile"),
        ({"per_second": 1}, r"Threshold\(per_second=1\): give True or False"),
        ({"hold_seconds": -1}, r"Threshold\(hold_seconds=-1\): give 0 or a positive, finite number, such as 300"),
        ({"hold_seconds": float("nan")}, r"Threshold\(hold_seconds=nan\): give 0 or a positive, finite number"),
        ({"hysteresis": -0.1}, r"Threshold\(hysteresis=-0\.1\): give 0 or a positive, finite number, such as 0\.05"),
        (
            {"metric": "system_cpu_utilization_ratio", "value": 90, "unit": "%", "hysteresis": 95},
            r"Threshold\(hysteresis=95\): the alert would end at -5, and \w+ is never below 0; give a smaller one, such as 9$",
        ),
        (
            {"metric": "container_cpu_utilization_ratio", "value": 0.4, "operator": "<", "hysteresis": 0.7},
            r"Threshold\(hysteresis=0\.7\): the alert would end at 1\.1, and \w+ is never above 1; give .* such as 0\.06$",
        ),
        (
            {"metric": "x_bytes", "value": 2, "operator": ">=", "unit": "GiB", "hysteresis": 2},
            r"Threshold\(hysteresis=2\): the alert would end at 0, and x_bytes is never below 0; give .* such as 0\.2$",
        ),
        ({"metric": "agent_queue_depth", "value": 10, "hysteresis": 20}, r"Threshold\(hysteresis=20\): .* is never below 0"),
        ({"metric": "m", "value": 1, "per_second": True, "hysteresis": 2}, r"Threshold\(hysteresis=2\): .* is never below 0"),
        ({"minimum_samples": 0}, r"Threshold\(minimum_samples=0\): give a whole number from 1 on, such as 3"),
        ({"minimum_samples": 1.5}, r"Threshold\(minimum_samples=1\.5\): give a whole number"),
    ],
)
def test_a_threshold_that_cannot_hold_is_refused_with_the_fix(arguments, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        Threshold(**{"metric": "m", "value": 1, **arguments})


def test_targets_cannot_be_changed_and_compare_by_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Objective(success_ratio=0.9).success_ratio = 0.1
    assert Objective(success_ratio=0.9) == Objective(success_ratio=0.9)
    assert len({Threshold("m", 1), Threshold("m", 1)}) == 1


def test_each_default_threshold_is_about_a_ratio_of_the_catalogue_and_a_critical_one_is_stricter():
    names = {family.name for family in FAMILIES}
    limits = {(threshold.metric, threshold.severity): threshold.value for threshold in DEFAULT_THRESHOLDS}

    assert len(limits) == len(DEFAULT_THRESHOLDS)
    for metric in {threshold.metric for threshold in DEFAULT_THRESHOLDS}:
        assert metric in names
        assert 0 < limits[metric, "warning"] < limits[metric, "critical"] < 1


@pytest.mark.parametrize(
    ("metric", "value", "unit", "limit"),
    [
        ("system_memory_usage_bytes", 8, "GiB", 8 * 2**30),
        ("system_network_io_bytes_total", 5, "MB", 5e6),
        ("agent_queue_wait_seconds_sum", 250, "ms", 0.25),
        ("system_cpu_utilization_ratio", 90, "%", 0.9),
        ("process_cpu_utilization_ratio", 3, "", 3),
        ("hw_temperature_celsius", 85, "°C", 85),
        ("queue_depth", 5, "jobs", 5),
        ("my_memory", 5, "GiB", 5),
    ],
)
def test_a_limit_is_converted_where_the_metric_s_name_tells_its_unit_and_is_for_display_else(metric, value, unit, limit):
    threshold = Threshold(metric, value, unit=unit)

    assert threshold.limit == pytest.approx(limit)
    assert threshold.shown(threshold.limit) == pytest.approx(value)


@settings(deadline=None)
@given(
    st.sampled_from([">", ">=", "<", "<="]),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.sampled_from(["", "ms"]),
)
def test_what_breaches_a_limit_is_within_what_still_does_and_without_hysteresis_they_are_the_same(
    operator, value, reading, back, unit
):
    assume(value < 0 or back < value or operator.startswith("<"))  # any other is refused
    threshold = Threshold("x_seconds", value, "warning", operator, unit=unit, hysteresis=back)

    if threshold.is_breached_by(reading):
        assert threshold.is_still_breached_by(reading)
    without = dataclasses.replace(threshold, hysteresis=0)
    assert without.is_breached_by(reading) == without.is_still_breached_by(reading) == threshold.is_breached_by(reading)


def test_the_hysteresis_is_in_the_unit_of_the_limit():
    threshold = Threshold("x_bytes", 4, unit="GiB", hysteresis=1)

    assert threshold.is_still_breached_by(3.5 * 2**30)
    assert not threshold.is_still_breached_by(3 * 2**30)


@pytest.mark.parametrize(
    ("metric", "operator", "value", "hysteresis", "end"),
    [
        ("x_bytes", ">", 5, 5, 0),
        ("x_celsius", ">", 5, 10, -5),
        ("x_seconds", ">", -5, 10, -15),  # who sets a limit below 0 knows that readings are
        ("my_balance", ">", 5, 10, -5),
        ("process_cpu_utilization_ratio", "<", 0.5, 1, 1.5),
        ("system_cpu_utilization_ratio", "<", 0.5, 0.5, 1),
    ],
)
def test_a_hysteresis_that_a_reading_can_come_back_by_is_taken_to_the_very_end(metric, operator, value, hysteresis, end):
    threshold = Threshold(metric, value, "warning", operator, hysteresis=hysteresis)

    assert not threshold.is_still_breached_by(end)
    assert threshold.is_still_breached_by(end + (0.01 if operator == ">" else -0.01))


def test_a_threshold_matches_labels_by_text_or_whole_pattern_and_a_missing_one_is_empty():
    threshold = Threshold("m", 1, labels={"path": re.compile("/data|/srv"), "kind": "ext4", "gone": ""})

    assert threshold.matches({"path": "/srv", "kind": "ext4", "other": "x"})
    assert not threshold.matches({"path": "/srv/1", "kind": "ext4"})
    assert not threshold.matches({"path": "/srv"})
    assert not threshold.matches({"path": "/srv", "kind": "ext4", "gone": "x"})
    assert (threshold.is_exact, Threshold("m", 1).is_exact, Threshold("m", 1, per_second=True).is_exact) == (False, True, False)


def test_a_threshold_can_be_copied_sent_and_compared_whatever_the_caller_does_with_its_labels():
    labels = {"path": re.compile("/data")}
    threshold = Threshold("m", 1, labels=labels)
    labels["path"] = "other"

    assert threshold == Threshold("m", 1, labels={"path": re.compile("/data")})
    assert threshold == pickle.loads(pickle.dumps(threshold)) == copy.deepcopy(threshold)
    assert len({threshold, pickle.loads(pickle.dumps(threshold)), Threshold("m", 1)}) == 2
    assert dataclasses.asdict(threshold)["labels"] == {"path": re.compile("/data")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"usd": 0}, r"Budget\(usd=0\): give a positive, finite number of US dollars, such as 20"),
        ({"usd": float("nan")}, r"Budget\(usd=nan\): give a positive"),
        ({"usd": float("inf")}, r"Budget\(usd=inf\): give a positive"),
        ({"usd": "20"}, r"Budget\(usd='20'\): give a positive"),
        ({"usd": True}, r"Budget\(usd=True\): give a positive"),
        ({"usd": 1, "period": "week"}, r"Budget\(period='week'\): give one of day, month"),
        ({"usd": 1, "agent": " "}, r"Budget\(agent=' '\): give the name of an agent, or leave it out"),
        ({"usd": 1, "agent": 3}, r"Budget\(agent=3\): give the name of an agent"),
    ],
)
def test_a_budget_that_cannot_hold_is_refused_with_the_fix(arguments, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        Budget(**arguments)


@pytest.fixture
def registry():
    yield CollectorRegistry()
    stop()


def test_budgets_are_series_until_stop(registry):
    monitor = start(
        port=0, registry=registry, collectors=(), budgets=[Budget(20), Budget(300, "month"), Budget(5, agent="writer")]
    )

    def budget(agent, period):
        return registry.get_sample_value("agent_budget_usd", {"gen_ai_agent_name": agent, "period": period})

    assert (budget("", "day"), budget("", "month"), budget("writer", "day"), budget("writer", "month")) == (20, 300, 5, None)
    assert monitor.budgets[0] == Budget(20)
    assert start(budgets=monitor.budgets) is monitor
    with pytest.raises(ConfigurationError, match="another budgets"):
        start(budgets=[Budget(21)])
    stop()
    assert budget("", "day") is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budgets": 20}, r"budgets=20: give a list, such as \[Budget\(20, 'day'\)\]"),
        ({"budgets": [20]}, r"budgets: 20 is no Budget; write Budget\(20, 'day'\)"),
        ({"budgets": [Budget(1), Budget(2)]}, r"budgets: \(None, 'day'\) is given twice; keep one"),
        (
            {"thresholds": [Threshold("system_filesystem_utilization_ratio", 0.5, labels={"system_device": "x"})]},
            r"thresholds: the one on system_filesystem_utilization_ratio has labels or per_second, which rules cannot obey",
        ),
    ],
)
def test_targets_that_rules_could_not_obey_end_start_with_the_fix(registry, given, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        start(port=0, registry=registry, **given)


def test_a_limit_is_exported_in_the_unit_of_its_metric(registry):
    start(port=0, registry=registry, collectors=(), thresholds=[Threshold("process_resident_memory_bytes", 2, unit="GiB")])

    labels = {"metric": "process_resident_memory_bytes", "severity": "warning", "operator": ">"}
    assert registry.get_sample_value("agentgauge_threshold", labels) == 2 * 2**30
