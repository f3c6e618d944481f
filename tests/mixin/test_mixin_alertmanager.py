"""Alertmanager takes the shipped configuration, sends alerts to the right receiver, and mutes what another alert explains."""

import json
import re
import subprocess
import time
import urllib.request

import pytest
import yaml

from expressions import ALERTMANAGER, ROOT, load_cases, load_rules
from stack import Stack

pytestmark = pytest.mark.servers


def _amtool(*arguments):
    result = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_alertmanager_accepts_its_configuration():
    _amtool("check-config", str(ALERTMANAGER))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=AgentgaugeWatchdog", "severity=info"], "dead-man"),
        (["alertname=AgentgaugeTaskStuck", "severity=warning"], "operators"),
        (["alertname=AgentgaugeTargetDown", "severity=critical"], "on-call"),
        (["alertname=AgentgaugeSpendUnusual", "severity=info"], "digest"),
        (["alertname=AgentgaugeComponentDown", "severity=critical", "component=database"], "on-call"),
        (["alertname=AgentgaugeComponentDegraded", "severity=warning", "component=database"], "operators"),
        (["alertname=AgentgaugeCircuitBreakerOpen", "severity=info", "circuit_breaker=models"], "digest"),
        (["alertname=AgentgaugeCriticalUnresolved", "severity=critical", "escalation=true"], "second-line"),
        (["alertname=AnAlertOfSomebodyElse"], "operators"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels, receiver):
    _amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels)


@pytest.fixture(scope="module")
def alertmanager():
    with Stack([], rules=[]) as stack:
        yield f"{stack.alertmanager_url}/api/v2/alerts"


def _muted(url, alerts, expected):
    """Send alerts; return which are muted, by the label ``is``, as soon as it is those, or when time is up."""
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()
    names = {labels["is"] for labels in alerts}
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(url, timeout=60) as response:
            states = {alert["labels"]["is"]: alert["status"]["state"] for alert in json.load(response)}
        muted = {name for name in names if states.get(name) == "suppressed"}
        is_settled = all(states.get(name) in {"active", "suppressed"} for name in names)
        if (is_settled and muted == expected) or time.monotonic() > deadline:
            return muted
        time.sleep(0.05)


def test_every_alert_that_ships_has_a_receiver_of_its_severity():
    receivers = {"critical": "on-call", "warning": "operators", "info": "digest"}
    special = {"AgentgaugeWatchdog": "dead-man", "AgentgaugeCriticalUnresolved": "second-line"}
    alerts = [rule for group in load_rules()["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 40
    expected = {_described(rule): special.get(rule["alert"], receivers[rule["labels"]["severity"]]) for rule in alerts}
    assert {labels: _receiver(*labels) for labels in expected} == expected


def _described(rule):
    return (f"alertname={rule['alert']}", *(f"{name}={value}" for name, value in rule["labels"].items()))


def _receiver(*labels):
    return _amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels).strip()


@pytest.mark.parametrize(
    ("name", "severity", "repeated"),
    [
        ("AgentgaugeBudgetExhaustedSoon", "critical", "24h"),  # nobody can end it before the day or month is over
        ("AgentgaugeBudgetExhaustedSoon", "warning", "4h"),
        ("AgentgaugeErrorRatioHigh", "critical", "1h"),
    ],
)
def test_what_nobody_can_end_is_repeated_once_a_day_only(tmp_path, name, severity, repeated):
    config = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    routes = [config["route"], *config["route"]["routes"]]
    for route in routes:  # amtool tells the receiver alone
        route["receiver"] = route["repeat_interval"]
        route.pop("mute_time_intervals", None)
    receivers = [{"name": interval} for interval in {route["repeat_interval"] for route in routes}]
    path = tmp_path / "alertmanager.json"
    path.write_text(json.dumps({"route": config["route"], "receivers": receivers}), encoding="utf-8")
    labels = [f"alertname={name}", f"severity={severity}"]
    assert _amtool("config", "routes", "test", f"--config.file={path}", *labels).strip() == repeated


def test_no_secret_stands_in_the_configuration():
    text = ALERTMANAGER.read_text(encoding="utf-8")
    keys = re.findall(r"^\s*-?\s*\w*(?:api_url|password|routing_key|service_key|credentials|token)\w*:", text, re.MULTILINE)
    keys += re.findall(r"{(?:api_url|password|credentials|token)\w*:", text)
    assert len(keys) >= 5
    assert [key for key in keys if not key.rstrip(":").endswith("_file")] == []


def test_a_warning_about_an_agent_waits_while_its_calls_fail(alertmanager):
    of_agent = {"job": "mute", "gen_ai_agent_name": "r"}
    elsewhere = {"alertname": "AgentgaugeQueueGrowing", "severity": "warning"}
    expected = {"the same alert", "of another task", "another alert"}
    muted = _muted(
        alertmanager,
        [
            of_agent | {"alertname": "AgentgaugeErrorRatioHigh", "agent_task": "t", "severity": "critical", "is": "critical"},
            of_agent
            | {"alertname": "AgentgaugeErrorRatioHigh", "agent_task": "t", "severity": "warning", "is": "the same alert"},
            of_agent
            | {"alertname": "AgentgaugeErrorRatioHigh", "agent_task": "u", "severity": "warning", "is": "of another task"},
            of_agent | {"alertname": "AgentgaugeQueueGrowing", "severity": "warning", "is": "another alert"},
            of_agent | {"alertname": "AgentgaugeBudgetExhaustedSoon", "period": "day", "severity": "warning", "is": "of money"},
            of_agent | {"alertname": "AgentgaugeLatencyBudgetBurnSlow", "severity": "warning", "is": "of time"},
            of_agent | {"alertname": "AgentgaugeSpendUnusual", "severity": "info", "is": "information"},
            of_agent | {"alertname": "AgentgaugeMemory", "severity": "critical", "is": "also critical"},
            of_agent | elsewhere | {"job": "other", "is": "in another job"},
            of_agent | elsewhere | {"gen_ai_agent_name": "s", "is": "else's"},
            {"job": "mute", "alertname": "AgentgaugeHostCpuHigh", "instance": "a:1", "severity": "warning", "is": "of a host"},
        ],
        expected,
    )
    assert muted == expected


@pytest.mark.parametrize(
    "name", ["AgentgaugeBudgetExhaustedSoon", "AgentgaugeLatencyBudgetBurnFast", "AgentgaugeCriticalUnresolved"]
)
def test_what_explains_nothing_else_mutes_no_other_warning_about_the_agent(alertmanager, name):
    of_agent = {"job": name, "gen_ai_agent_name": "r"}
    warning = of_agent | {"agent_task": "t", "severity": "warning"}
    muted = _muted(
        alertmanager,
        [
            of_agent | {"alertname": name, "severity": "critical", "is": "critical"},
            warning | {"alertname": "AgentgaugeTaskStuck", "instance": "a:1", "is": "stuck"},
            warning | {"alertname": "AgentgaugeErrorRatioHigh", "is": "failing"},
        ],
        set(),
    )
    assert muted == set()


def _labels_by_alert():
    """Map each alert that comes both critical and as a warning to the labels that it has in the cases of the rules."""
    rules = [rule for group in load_rules()["groups"] for rule in group["rules"] if "alert" in rule]
    severities = {(rule["alert"], rule["labels"]["severity"]) for rule in rules}
    both = {name for name, severity in severities if severity == "critical" and (name, "warning") in severities}
    labels = {name: set() for name in both}
    for test in load_cases()["tests"]:
        for case in test.get("alert_rule_test", ()):
            if case["alertname"] in both:
                labels[case["alertname"]].update(*(alert["exp_labels"] for alert in case["exp_alerts"]))
    return {name: sorted(found - {"severity"}) for name, found in labels.items()}


def test_what_is_critical_mutes_the_warning_about_the_same_subject_and_about_no_other(alertmanager):
    by_alert = _labels_by_alert()
    assert len(by_alert) > 10
    assert {"gen_ai_request_model", "period", "agent_task", "metric"} <= set().union(*by_alert.values())
    alerts, expected = [], set()
    for name, labels in by_alert.items():
        for label in labels:
            subject = {"alertname": name} | dict.fromkeys(labels, f"{name} {label}")  # each label on its own, in a job of its own
            if label != "gen_ai_agent_name":
                subject.pop("gen_ai_agent_name", None)  # what is said of all tasks of an agent is tested above
            alerts += [
                subject | {"severity": "critical", "is": f"{name} {label} critical"},
                subject | {"severity": "warning", "is": f"{name} {label} same"},
                subject | {label: "another", "severity": "warning", "is": f"{name} of another {label}"},
            ]
            expected.add(f"{name} {label} same")
    muted = _muted(alertmanager, alerts, expected)
    assert (expected - muted, muted - expected) == (set(), set())


def test_what_is_critical_mutes_the_warning_about_the_same_machine_only(alertmanager):
    disk = {"alertname": "AgentgaugeHostDiskFull", "job": "disk", "instance": "a:1"}
    gpu = {"alertname": "AgentgaugeGpuHot", "job": "disk", "instance": "a:1"}
    expected = {"muted disk", "muted GPU"}
    muted = _muted(
        alertmanager,
        [
            disk | {"severity": "critical", "system_filesystem_mountpoint": "/", "is": "critical disk"},
            disk | {"severity": "warning", "system_filesystem_mountpoint": "/", "is": "muted disk"},
            disk | {"severity": "warning", "system_filesystem_mountpoint": "/data", "is": "another disk"},
            gpu | {"severity": "critical", "hw_id": "GPU-1", "is": "critical GPU"},
            gpu | {"severity": "warning", "hw_id": "GPU-1", "is": "muted GPU"},
            gpu | {"severity": "warning", "hw_id": "GPU-2", "is": "another GPU"},
            {"alertname": "AgentgaugeHostCpuHigh", "job": "disk", "instance": "a:1", "severity": "warning", "is": "CPU"},
        ],
        expected,
    )
    assert muted == expected


def test_a_fast_burn_mutes_the_slow_one_of_the_same_objective_only(alertmanager):
    nobodys = {"job": "burn", "agent_task": "t"}  # of no agent, so that the agent's own rule is not what mutes
    agents = {"job": "burn", "agent_task": "t", "gen_ai_agent_name": "r"}
    late = {"alertname": "AgentgaugeLatencyBudgetBurnSlow", "severity": "warning", "objective": "latency"}
    slow = {"alertname": "AgentgaugeErrorBudgetBurnSlow", "severity": "warning", "objective": "success"}
    fast = {"alertname": "AgentgaugeErrorBudgetBurnFast", "severity": "critical", "objective": "success"}
    expected = {"slow", "slow of an agent"}
    muted = _muted(
        alertmanager,
        [
            nobodys | fast | {"is": "fast"},
            nobodys | slow | {"is": "slow"},
            nobodys | slow | {"agent_task": "u", "is": "slow elsewhere"},
            nobodys | late | {"is": "of another objective"},
            agents | fast | {"is": "fast of an agent"},
            agents | slow | {"is": "slow of an agent"},
            agents | late | {"is": "of an agent's other objective"},
        ],
        expected,
    )
    assert muted == expected


def test_a_target_that_is_down_mutes_what_is_said_about_it_and_the_absence_of_all_metrics(alertmanager):
    expected = {"muted", "muted absence"}  # that it stays down is still said
    muted = _muted(
        alertmanager,
        [
            {"alertname": "AgentgaugeTargetDown", "job": "down", "instance": "a:1", "severity": "critical", "is": "down"},
            {"alertname": "AgentgaugeTaskStuck", "job": "down", "instance": "a:1", "severity": "warning", "is": "muted"},
            {
                "alertname": "AgentgaugeCriticalUnresolved",
                "job": "down",
                "instance": "a:1",
                "severity": "critical",
                "is": "escalated",
            },
            {"alertname": "AgentgaugeMetricsAbsent", "severity": "critical", "is": "muted absence"},
            {"alertname": "AgentgaugeTaskStuck", "job": "down", "instance": "a:2", "severity": "warning", "is": "elsewhere"},
            {
                "alertname": "AgentgaugeMetricsAbsent",
                "job": "x",
                "instance": "x:1",
                "severity": "critical",
                "is": "elsewhere too",
            },
            {"alertname": "AgentgaugeErrorRatioHigh", "job": "down", "severity": "warning", "is": "about all instances"},
        ],
        expected,
    )
    assert muted == expected


@pytest.mark.parametrize("name", ["AgentgaugeComponentDown", "AgentgaugeRecoveryEscalated"])
def test_a_component_that_is_down_or_given_up_mutes_its_own_warnings_only(alertmanager, name):
    ours = {"job": f"{name} job", "instance": "a:1", "component": "database"}
    warning = ours | {"severity": "warning"}
    expected = {f"degraded {name}", f"flapping {name}", f"not recovered for long {name}"}
    muted = _muted(
        alertmanager,
        [
            ours | {"alertname": name, "severity": "critical", "is": f"source {name}"},
            warning | {"alertname": "AgentgaugeComponentDegraded", "is": f"degraded {name}"},
            warning | {"alertname": "AgentgaugeComponentFlapping", "is": f"flapping {name}"},
            warning | {"alertname": "AgentgaugeRecoveryFlapping", "is": f"not recovered for long {name}"},
            warning | {"alertname": "AgentgaugeHealthChecksStale", "is": f"stale {name}"},
            warning | {"alertname": "AgentgaugeComponentFlapping", "component": "cache", "is": f"of another component {name}"},
            warning | {"alertname": "AgentgaugeComponentFlapping", "instance": "a:2", "is": f"of another instance {name}"},
            {"job": f"{name} job", "instance": "a:1", "alertname": "AgentgaugeCircuitBreakerOpen", "severity": "warning"}
            | {"circuit_breaker": "database", "is": f"of a breaker {name}"},
            ours | {"alertname": "AgentgaugeHostDiskFull", "severity": "critical", "is": f"also critical {name}"},
        ],
        expected,
    )
    assert muted == expected


def test_a_target_that_is_down_mutes_what_its_components_are_said_to_be(alertmanager):
    ours = {"job": "gone", "instance": "a:1"}
    down = ours | {"alertname": "AgentgaugeComponentDown", "component": "database", "severity": "critical"}
    expected = {"gone component", "gone checks", "gone breaker"}
    muted = _muted(
        alertmanager,
        [
            ours | {"alertname": "AgentgaugeTargetDown", "severity": "critical", "is": "gone target"},
            down | {"is": "gone component"},
            down | {"alertname": "AgentgaugeHealthChecksStale", "severity": "warning", "is": "gone checks"},
            ours
            | {"alertname": "AgentgaugeCircuitBreakerOpen", "circuit_breaker": "m", "severity": "warning", "is": "gone breaker"},
            down | {"instance": "a:2", "is": "as another instance sees it"},
        ],
        expected,
    )
    assert muted == expected


def test_each_component_is_told_of_by_itself():
    route = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["route"]
    assert {"alertname", "job", "component"} <= set(route["group_by"])


@pytest.mark.parametrize(
    ("name", "receivers"),
    [
        ("AgentgaugeComponentDown", "recovery,on-call"),
        ("AgentgaugeTaskStuck", "recovery,operators"),
        ("AgentgaugeRecoveryEscalated", "on-call"),  # or it would be recovered from again
        ("AgentgaugeCriticalUnresolved", "second-line"),
    ],
)
def test_the_documented_route_to_recovery_takes_those_alerts_alone_and_people_are_told_as_ever(tmp_path, name, receivers):
    page = (ROOT / "docs" / "alerting.md").read_text(encoding="utf-8")
    shown = re.search(r"## Alerts that recover.*?```yaml\n(.*?)```", page, re.DOTALL)
    config = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    first, last = yaml.safe_load(shown[1])["route"]["routes"]
    config["route"]["routes"] = [first, *config["route"]["routes"], last]
    config["receivers"].append({"name": "recovery"})
    path = tmp_path / "alertmanager.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    rules = [rule for group in load_rules()["groups"] for rule in group["rules"] if rule.get("alert") == name]
    chosen = ["config", "routes", "test", f"--config.file={path}"]
    assert {_amtool(*chosen, *_described(rule)).strip() for rule in rules} == {receivers}
