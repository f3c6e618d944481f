"""Explaining over jobs and instances, from a history and from a real Prometheus: the same is found in both."""

from __future__ import annotations

import json

import pytest

from agentgauge import cli
from agentgauge.analytics.explain import explain
from agentgauge.analytics.history import History
from agentgauge.analytics.sources import open_source
from backfilled import BEGIN, backfilled, sample
from made_fleet import BAD, ONSET, STEP, fleet_series, fleet_times, fleet_window, made_fleet

LATE = BEGIN + ONSET * STEP + 300


def symptoms(found):
    return {(one.signal.measure.name, *one.signal.labels.values()) for one in found.symptoms}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_host_of_another_job_is_the_cause_and_a_fuller_one_of_the_same_name_is_not(seed):
    found = explain(made_fleet("host", BEGIN, seed), fleet_window(BEGIN))
    (cause,) = found.causes
    assert cause.signal.measure.name == "host_cpu"
    assert cause.labels == BAD
    assert ("task_duration_p95", "planner", "plan") in symptoms(found), "the planner runs in another job, and waits"
    assert {one.labels["job"] for one in found.bystanders} == {"batch", "front", "workers"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tool_that_is_slow_in_one_instance_alone_is_named_with_its_job_and_instance(seed):
    found = explain(made_fleet("tool", BEGIN, seed), fleet_window(BEGIN))
    (cause,) = found.causes
    assert cause.labels == {"gen_ai_tool_name": "search", **BAD}
    assert "in workers, pod-1:9464 alone" in cause.sentence
    assert ("task_duration_p95", "planner", "plan") in symptoms(found)


def test_instances_of_several_jobs_without_a_fault_have_no_cause():
    for seed in (1, 2):
        found = explain(made_fleet("none", BEGIN, seed), fleet_window(BEGIN))
        assert not found.causes
        assert not found.symptoms
        assert found.bystanders


# --- the same in both sources ---------------------------------------------------------------------------------------------

ALERT = {"labels": {"alertname": "Slow", "job": "front", "gen_ai_agent_name": "planner", "agent_task": "plan"}}
OF_API = [
    {**ALERT, "labels": {"alertname": "Other"}, "startsAt": "2020-01-01T00:00:00Z", "status": {"state": "suppressed"}},
    {**ALERT, "startsAt": LATE, "endsAt": LATE + 600, "status": {"state": "active"}},
]
OF_WEBHOOK = {"version": "4", "status": "firing", "alerts": [{**ALERT, "status": "firing", "startsAt": LATE}]}
OF_PROMETHEUS = {"status": "success", "data": {"alerts": [{**ALERT, "state": "firing", "activeAt": LATE, "value": "2e+00"}]}}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The path of a history and the address of a Prometheus with the same samples."""
    folder = tmp_path_factory.mktemp("fleet")
    series, times = list(fleet_series("host")), fleet_times(BEGIN)
    with History(folder / "history.db", clock=lambda: times[-1] + 1) as history:
        columns = [(name, tuple(sorted(labels.items())), values) for name, labels, values in series]
        for number, at in enumerate(times):
            history.write(at, [(name, labels, values[number]) for name, labels, values in columns])
    lines = [sample(name, own, value, at) for name, own, values in series for at, value in zip(times, values, strict=True)]
    with backfilled(folder, lines) as url:
        yield folder / "history.db", url


@pytest.mark.servers
def test_a_history_and_a_prometheus_with_the_same_samples_have_the_same_explanation(sources):
    path, url = sources
    told = [explain(open_source(source), fleet_window(BEGIN)) for source in (path, url)]
    shown = [
        [(one.sentence, one.role, dict(one.labels), one.onset, one.p_value, one.explains) for one in found.moved]
        for found in told
    ]
    assert shown[0] == shown[1]
    assert told[0].causes[0].labels == BAD
    assert told[0].looked_at == told[1].looked_at


@pytest.mark.servers
@pytest.mark.parametrize("alert", [OF_API, OF_WEBHOOK, OF_PROMETHEUS], ids=["api", "webhook", "prometheus"])
def test_an_alert_is_explained_from_either_source_as_alertmanager_and_prometheus_tell_it(sources, alert, tmp_path, capsys):
    (tmp_path / "alert.json").write_text(json.dumps(alert))
    told = []
    for source in sources:
        words = ["--source", str(source), "--since", "2d", "--alert", str(tmp_path / "alert.json"), "--json"]
        assert cli.main(["explain", *words]) == 0
        told.append(json.loads(capsys.readouterr().out)["sections"]["explanation"])
    assert told[0] == told[1]
    rows = told[0]["tables"]["moved"]["rows"]
    assert [(row["measure"], row["of"]) for row in rows if row["role"] == "cause"] == [("host_cpu", "workers, pod-1:9464")]
    assert any(row["role"] == "symptom" and row["of"] == "planner, plan" for row in rows)
