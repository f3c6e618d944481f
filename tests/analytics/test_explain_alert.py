"""Explaining an alert: its window, and what it is about."""

from __future__ import annotations

import numpy as np
import pytest

from agentgauge.analytics.explain import AlertWindow, explain, window_of_alert
from agentgauge.analytics.frames import Grid
from agentgauge.errors import ConfigurationError
from made_program import add_calls
from made_source import MadeSource

NOW = 1_700_010_000.0
DIGEST = {"gen_ai_agent_name": "digest", "agent_task": "sum up"}
LABELS = {"alertname": "AgentgaugeErrorRatioHigh", "gen_ai_agent_name": "researcher", "agent_task": "research"}


@pytest.mark.parametrize("labels", [None, [], "alertname", 7])
def test_labels_that_are_none_leave_all_that_people_feel_to_explain(labels):
    found = window_of_alert({"labels": labels, "startsAt": NOW - 600}, now=NOW)
    assert (found.name, found.labels) == ("", {})


def test_a_label_without_a_value_is_none_as_in_prometheus():
    found = window_of_alert({"labels": {"alertname": "Slow", "job": "swarm", "agent_task": ""}, "startsAt": NOW - 600}, now=NOW)
    assert (found.name, found.labels) == ("Slow", {"job": "swarm"})


def test_the_window_begins_before_the_alert_and_ends_with_it():
    alert = {"labels": LABELS, "startsAt": "2023-11-14T22:13:20.000Z", "endsAt": "2023-11-14T22:43:20Z"}
    found = window_of_alert(alert, now=NOW)
    assert found.name == "AgentgaugeErrorRatioHigh"
    assert found.labels == {"gen_ai_agent_name": "researcher", "agent_task": "research"}
    assert 1_700_000_000 - 1800 < found.window.start <= 1_700_000_000 - 1770
    assert 1_700_001_800 - 30 < found.window.end <= 1_700_001_800


@pytest.mark.parametrize("ends", ["0001-01-01T00:00:00Z", None, "", NOW + 300])
def test_the_window_of_an_alert_that_goes_on_ends_now(ends):
    found = window_of_alert({"labels": LABELS, "startsAt": NOW - 600, "endsAt": ends}, now=NOW)
    assert NOW - 30 < found.window.end <= NOW


def test_the_body_of_a_webhook_is_taken_by_its_first_alert_that_fires():
    gone = {"labels": {"alertname": "Gone"}, "startsAt": NOW - 900, "endsAt": NOW - 800, "status": "resolved"}
    found = window_of_alert({"status": "firing", "alerts": [gone, {"labels": LABELS, "startsAt": NOW - 600}]}, now=NOW)
    assert found.labels["agent_task"] == "research"


def test_of_what_prometheus_shows_the_first_that_fires_is_taken():
    pending = {"labels": {"alertname": "Soon"}, "state": "pending", "activeAt": "2023-11-14T22:00:00Z"}
    firing = {"labels": LABELS, "state": "firing", "activeAt": "2023-11-14T22:13:20.5Z", "value": "1e+00"}
    found = window_of_alert({"status": "success", "data": {"alerts": [pending, firing]}}, now=NOW)
    assert found.name == "AgentgaugeErrorRatioHigh"
    assert found.window.end == NOW // 30 * 30


@pytest.mark.parametrize("start", [None, "yesterday", NOW + 1, 0, True, float("nan")])
def test_an_alert_without_a_start_before_now_is_refused(start):
    with pytest.raises(ConfigurationError, match="startsAt"):
        window_of_alert({"labels": LABELS, "startsAt": start}, now=NOW)


def two_agents():
    """Two agents, each with a model of its own that gets slow at the same time."""
    random, source = np.random.default_rng(1), MadeSource()
    times = [NOW - 60 * minute for minute in range(120, -1, -1)]
    for agent, task in (("researcher", "research"), ("writer", "write")):
        calls = [random.lognormal(-2, 0.5, 10) * (6 if at > NOW - 1200 else 1) for at in times]
        model = {"gen_ai_provider_name": "fake", "gen_ai_request_model": f"of {agent}"}
        whose = {"gen_ai_agent_name": agent, "job": "swarm", "instance": "a:9464"}
        add_calls(source, "gen_ai_client_operation_duration_seconds", times, calls, **model)
        add_calls(source, "agent_task_duration_seconds", times, calls, agent_task=task, outcome="success", **whose)
        spent = {"gen_ai_agent_name": agent, "gen_ai_request_model": f"of {agent}"}
        source.add("agent_cost_usd_total", times, [0.01 * number for number in range(len(times))], **spent)
    memory = [2e8 if at > NOW - 1200 else 1e8 for at in times]
    return source.add("process_resident_memory_bytes", times, memory, job="swarm", instance="a:9464")


@pytest.mark.parametrize("agent", ["researcher", "writer"])
def test_an_alert_is_explained_by_what_leads_to_what_it_names_and_the_rest_is_a_bystander(agent):
    """Its job and instance are those of the process too, which nobody asked about."""
    source, window = two_agents(), Grid.over(NOW - 1800, NOW, 60)
    about = {"gen_ai_agent_name": agent, "job": "swarm", "instance": "a:9464", "severity": "page"}
    found = explain(source, window, alert=AlertWindow("Slow", about, window))
    assert [cause.labels["gen_ai_request_model"] for cause in found.causes] == [f"of {agent}"]
    assert {one.labels["gen_ai_agent_name"] for one in found.symptoms} == {agent}
    assert {one.signal.measure.name for one in found.bystanders} >= {"process_memory", "lm_duration_p95"}
    assert len(explain(source, window).causes) == 2, "without an alert, both agents are asked about"


def test_of_an_alert_of_which_nothing_moved_that_is_said_and_all_that_people_feel_is_explained():
    window = Grid.over(NOW - 1800, NOW, 60)
    source = two_agents().add("agent_tasks_in_progress", [NOW - 60 * at for at in range(120, -1, -1)], [1.0] * 121, **DIGEST)
    found = explain(source, window, alert=AlertWindow("Slow", DIGEST, window))
    assert len(found.causes) == 2
    assert "Nothing that the alert names moved" in found.conclusion


def test_an_alert_about_what_no_signal_has_is_told_so():
    """Series that are no signals may have it, such as the state that an agent says it is in."""
    window, times = Grid.over(NOW - 1800, NOW, 60), [NOW - 60 * at for at in range(120, -1, -1)]
    source = two_agents().add("agent_state", times, [1.0] * 121, gen_ai_agent_name="digest", agent_state="stuck")
    found = explain(source, window, alert=AlertWindow("Slow", {**DIGEST, "severity": "page"}, window))
    assert len(found.causes) == 2
    told = """No signal that was looked at has the alert's gen_ai_agent_name="digest" and agent_task="sum up"; all that"""
    assert told in found.conclusion


def test_what_moved_without_leading_to_the_alert_is_no_cause_of_it():
    window = Grid.over(NOW - 1800, NOW, 60)
    found = explain(two_agents(), window, alert=AlertWindow("Memory", {"job": "swarm", "instance": "a:9464"}, window))
    assert [cause.signal.measure.name for cause in found.causes] == ["process_memory"], "it names no agent: the process is meant"


@pytest.mark.parametrize("count", [3, 7])
def test_too_short_a_window_is_refused_with_what_to_give(count):
    source = MadeSource().add("process_threads", [NOW - 60 * minute for minute in range(60, 0, -1)], [1.0] * 60)
    with pytest.raises(ConfigurationError, match="longer window"):
        explain(source, Grid(NOW // 60 * 60 - 600, 60, count))


def test_a_source_with_nothing_in_it_names_no_cause():
    grid = Grid(NOW // 60 * 60, 60, 30)
    found = explain(MadeSource(), grid)
    assert found.causes == ()
    assert found.looked_at == 0
    assert found.conclusion.startswith("No cause found")
