"""Thresholds and the service's attributes are series that no attribute can make invalid."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import agentgauge
from agentgauge import Threshold
from agentgauge.collectors.targets import TargetsCollector
from agentgauge.errors import ConfigurationError
from agentgauge.recording.points import clean_label
from agentgauge.targets import Budget


def labels_of(attributes):
    registry = CollectorRegistry()
    registry.register(TargetsCollector((), attributes))
    page = generate_latest(registry).decode()
    return [sample.labels for family in text_string_to_metric_families(page) for sample in family.samples]


def test_thresholds_are_series():
    registry = CollectorRegistry()
    registry.register(TargetsCollector([Threshold("process_open_fds", 5, "critical", ">=")], {}))
    labels = {"metric": "process_open_fds", "severity": "critical", "operator": ">="}
    assert registry.get_sample_value("agentgauge_threshold", labels) == 5
    assert registry.get_sample_value("target_info") is None


@pytest.mark.parametrize(
    ("attributes", "labels"),
    [
        ({"service.name": "swarm", "team": "red"}, {"service_name": "swarm", "team": "red"}),
        ({"a.b": "1", "a_b": "2"}, {"a_b": "1;2"}),
        ({"__name__": "evil"}, {"_name__": "evil"}),
        ({"9lives": "cat"}, {"_9lives": "cat"}),
        ({"name": "\ud800"}, {"name": "?"}),
        ({"gone": None, "empty": "", "kept": "x"}, {"kept": "x"}),
    ],
)
def test_any_attribute_becomes_a_valid_label(attributes, labels):
    assert labels_of(attributes) == [labels]


@pytest.mark.parametrize("name", ["a" * 250, "caf\udce9", "planner"])
def test_a_budget_has_its_agent_by_the_very_label_that_the_agents_calls_have(name):
    registry = CollectorRegistry()
    registry.register(TargetsCollector((), {}, [Budget(5, agent=name), Budget(20)]))
    page = generate_latest(registry).decode()
    budgets = {
        sample.labels["gen_ai_agent_name"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert budgets == {clean_label(name): 5, "": 20}


def test_budgets_of_agents_that_have_one_label_are_one_too_many():
    budgets = [Budget(5, agent="a" * 201), Budget(6, agent="a" * 202)]
    with pytest.raises(ConfigurationError, match=re.escape("is given twice")):
        agentgauge.start(registry=CollectorRegistry(), is_server_enabled=False, collectors=(), budgets=budgets)
