"""Objectives and thresholds: what can be promised, and what is refused with its fix."""

from __future__ import annotations

import dataclasses

import pytest

from agentgauge import ConfigurationError, Objective, Threshold
from agentgauge.catalogue import FAMILIES
from agentgauge.targets import DEFAULT_THRESHOLDS


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
