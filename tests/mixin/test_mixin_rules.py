"""The alert rules fire when they should and stay silent when they should not."""

import copy
import re
import subprocess

import promql_parser
import pytest
import yaml

from expressions import (
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    dashboard_uids,
    load_cases,
    load_rules,
    read_yaml,
    rule_expressions,
    scaled_rules,
)
from mixin_checks import rule_problems, runbook_problems

CASE_FILES = sorted(path.name for path in RULE_TESTS.glob("*.yml"))


def _run(*command, cwd=None):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


@pytest.fixture
def rules():
    return copy.deepcopy(load_rules())


@pytest.fixture
def cases():
    return load_cases()


@pytest.fixture
def runbooks():
    return {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md")}


@pytest.mark.servers
def test_prometheus_accepts_the_rules():
    result = _run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES.glob("*.yml")))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.servers
@pytest.mark.parametrize("name", CASE_FILES)
def test_the_rules_fire_stay_silent_and_resolve_as_their_cases_say(name):
    result = _run("promtool", "test", "rules", name, cwd=RULE_TESTS)
    assert result.returncode == 0, result.stdout + result.stderr


CHANGES = {
    ("agents", "agents_test.yml"): [
        ('outcome=~"success|error|timeout"', 'outcome!=""'),
        ('outcome=~"error|timeout"', 'outcome!="success"'),
        ("or\n          0.1 * group", "or\n          0.5 * group"),
        ("increase30m >= 5", "increase30m >= 1"),
        ("10 * agent_objective_latency_seconds", "100 * agent_objective_latency_seconds"),
        ("300 # seconds", "3 # seconds"),
        ("> 0.5 *\n", "> 0.05 *\n"),
        ("> 0.2\n", "> 0.9\n"),
        ("> 1.5 * agent_queue_depth", "> 0.1 * agent_queue_depth"),
    ],
    ("agents", "hours_test.yml"): [
        ("increase6h > 2.5", "increase6h > 25"),
        ('outcome="success"}[2h]', 'outcome="success"}[1m]'),
        ('{outcome="cancelled"}[6h]', '{outcome=~"cancelled|error"}[6h]'),
        ("job_agent:agent_task_calls:increase1h offset 6h", "job_agent:agent_task_calls:increase1h"),
        ("sum by (job, gen_ai_agent_name) (agent_tasks_in_progress) > 0", "vector(0) > 0"),
        ("expected1h >= 20", "expected1h >= 10"),
        ("0.05 * job_agent", "0.5 * job_agent"),
    ],
    ("agents", "week_test.yml"): [("increase1h offset 1d < ", "increase1h offset 1d > ")],
    ("limits", "agents_test.yml"): [("50 *", "5 *"), ('severity="warning",operator=">"', 'severity="critical",operator=">"')],
    ("models", "models_test.yml"): [
        ("GeneratorExit|", ""),
        (".*RateLimit.*|", ""),
        ("calls:increase30m\n            > 0.05", "calls:increase30m\n            > 0.5"),
        ("failures:increase30m >= 5\n", "failures:increase30m >= 1\n"),
        ("unless agent_lm_unpriced_calls_total offset 1h", "and agent_lm_unpriced_calls_total offset 1h"),
        ("< 0.1 *", "< 0.0001 *"),
    ],
    ("machine", "machine_test.yml"): [
        ("avg_over_time(system_cpu_utilization_ratio[5m])", "system_cpu_utilization_ratio"),
        (" and on (job, instance) agentgauge_build_info", ""),
        ('{pressure_kind="full",pressure_resource="io"}', '{pressure_resource="io"}'),
        ("increase(system_network_errors_total[10m]) >= 10", "increase(system_network_errors_total[10m]) >= 0.1"),
        ("            and\n          container_memory_available_bytes offset 50m\n", ""),
        ('{error_type="uncorrected"}', ""),
    ],
    ("machine", "machine_filling_test.yml"): [
        ("system_filesystem_utilization_ratio > 0.5", "system_filesystem_utilization_ratio > 0.01")
    ],
    ("machine", "mounts_test.yml"): [("system_filesystem_stall_seconds > 0", "system_filesystem_stall_seconds > 1000")],
    ("models", "day_test.yml"): [
        ("(time() - 1) / 86400", "(time() + 7200) / 86400"),
        ("clamp_max(vector((86400 - time() % 86400) / 3600), 4)", "vector(4)"),
        ("offset 1h) >= 72", "offset 1h) >= 1"),
    ],
    ("slo", "slo_hours_test.yml"): [("0.05 *", "0.5 *")],
    ("escalation", "escalation_test.yml"): [("|AgentgaugeBudgetExhaustedSoon", "")],
    ("models", "month_test.yml"): [("day_of_month() <= 15", "day_of_month() <= 31")],
    ("tools", "tools_test.yml"): [
        ("GeneratorExit|", ""),
        ("failures:increase30m >= 5", "failures:increase30m >= 1"),
        ("0.95", "0.5"),
    ],
    ("adaptive", "adaptive_test.yml"): [
        ("offset 1h) >= 72", "offset 1h) >= 1"),
        ("_avg1d + 0.05", "_avg1d"),
        ("[5m])) > 0)", "[5m])) >= 0)"),
        ("< 0.1 *", "> 0.1 *"),
    ],
    ("reliability", "reliability_test.yml"): [
        ('=~"critical|down"}) == 1', '="down"}) == 1'),
        ('{agent_health_status="warning"}', '{agent_health_status=~"warning|down"}'),
        ("agent_health_flapping == 1", "agent_health_flapping >= 0"),
        ("> 3 * agent", "> 30 * agent"),
        ("            agent_health_check_interval_seconds\n", "            agent_health_last_check_timestamp_seconds\n"),
        ('{circuit_breaker!~"recovery of .+",', "{"),
        ('=~"open|half_open"}[2m]', '="half_open"}[2m]'),
        ('{agent_circuit_breaker_state="open"}[2m]', '{agent_circuit_breaker_state="half_open"}[2m]'),
        ("unless agent_recovery_escalations_total offset 10m", "and agent_recovery_escalations_total offset 10m"),
        ("increase(agent_recovery_escalations_total[10m])", "increase(agent_recovery_escalations_total[1h])"),
        ("agent_recovery_flapping == 1", "agent_recovery_flapping >= 0"),
        ('{reason!="shutting_down"}', '{reason!=""}'),
        ("> 0.05\n", "> 0.01\n"),
        ("agent_tasks_shed:increase15m >= 5", "agent_tasks_shed:increase15m >= 1"),
        ("                or\n              0 * job_agent_task", "                and\n              0 * job_agent_task"),
        ("failed|timed_out|dropped", "timed_out|dropped"),
        (
            "                unless\n              agentgauge_notifications_total",
            "                and\n              agentgauge_notifications_total",
        ),
    ],
    ("analytics", "analytics_test.yml"): [
        ("agentgauge_anomaly_score >= 1", "agentgauge_anomaly_score >= 9"),
        ("agentgauge_anomaly_score >= 1", "agentgauge_anomaly_score >= 0"),
        ("> 3 * agent", "> 30 * agent"),
        ("agentgauge_history_memory_only == 1\n            or", "agentgauge_history_memory_only == 2\n            or"),
        ("agentgauge_history_memory_only == 1", "agentgauge_history_memory_only >= 0"),
    ],
    ("self", "self_test.yml"): [
        ("absent(agentgauge_build_info)", "absent(up)"),
        ("max_over_time(agentgauge_build_info[1d])", "agentgauge_build_info"),
        ("unless agentgauge_internal_errors_total offset 30m", "and agentgauge_internal_errors_total offset 30m"),
        ("> 0.05\n", "> 0.5\n"),
        ("> 0.01\n", "> 0.0001\n"),
        ("agentgauge_collector_success[10m]) < 0.5", "agentgauge_collector_success[10m]) < 1"),
        ('{rule_group=~".*;agentgauge-.*"}', ""),
    ],
}


def _affected(before, after):
    """Return the titles of the rules that differ, and of those that are made of them."""
    pairs = zip(rule_expressions(before), rule_expressions(after), strict=True)
    found = {one.title for one, other in pairs if one.expr != other.expr}
    rules = list(rule_expressions(load_rules()))
    while more := {rule.title for rule in rules if any(name in rule.expr for name in found)} - found:
        found |= more
    return found


def _needed(titles):
    """Return these rules' titles, and those of the rules that they are made of."""
    found = set(titles)
    rules = list(rule_expressions(load_rules()))
    while more := {one.title for one in rules for rule in rules if rule.title in found and one.title in rule.expr} - found:
        found |= more
    return found


def _write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)), encoding="utf-8")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("rules_name", "cases_name", "old", "new"), [(*files, *change) for files, changes in CHANGES.items() for change in changes]
)
def test_the_cases_notice_a_changed_rule(tmp_path, rules_name, cases_name, old, new):
    changed = tmp_path / f"{rules_name}.yml"
    text = (RULES / changed.name).read_text(encoding="utf-8")
    assert old in text
    changed.write_text(text.replace(old, new), encoding="utf-8")
    affected = _affected(load_rules(RULES / changed.name), load_rules(changed))
    # Only the rules and cases about what the change affects: they are all that can notice, and the others take time.
    needed = _needed(affected)
    for path in RULES.glob("*.yml"):
        groups = load_rules(changed if path.name == changed.name else path)["groups"]
        for group in groups:
            group["rules"] = [rule for rule in group["rules"] if {rule.get("alert"), rule.get("record")} & needed]
        content = {"groups": [group for group in groups if group["rules"]]}
        _write(tmp_path / "rules" / path.name, content)
    text = (RULE_TESTS / cases_name).read_text(encoding="utf-8")
    content = read_yaml(text)
    for test, as_text in zip(content["tests"], read_yaml(text, "BaseLoader")["tests"], strict=True):
        test["input_series"] = as_text["input_series"]  # 0x60 is a notation there, and no number
        test["alert_rule_test"] = [case for case in test.get("alert_rule_test", ()) if case["alertname"] in affected]
        asked = test.get("promql_expr_test", ())
        test["promql_expr_test"] = [case for case in asked if any(title in case["expr"] for title in affected)]
    content["tests"] = [test for test in content["tests"] if test["alert_rule_test"] or test["promql_expr_test"]]
    cases = tmp_path / "tests" / cases_name
    _write(cases, content)
    result = _run("promtool", "test", "rules", cases_name, cwd=cases.parent)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "got:" in result.stdout + result.stderr


def test_every_alert_has_its_texts_its_runbook_its_dashboard_and_cases_of_each_kind(rules, cases, runbooks):
    assert rule_problems(rules, cases, set(runbooks), dashboard_uids()) == []


def test_every_runbook_belongs_to_an_alert(rules, runbooks):
    assert set(runbooks) == {expression.title for expression in rule_expressions(rules) if expression.kind == "alert"}


def test_every_runbook_says_what_it_means_whom_it_hurts_what_to_look_at_and_what_to_do(runbooks):
    assert runbook_problems(runbooks) == []


def test_a_runbook_that_lacks_a_part_is_found(runbooks):
    text = runbooks["AgentgaugeTaskStuck"].replace("## Impact", "## Else").replace("```promql", "\n```")
    assert runbook_problems({"AgentgaugeTaskStuck": text}) == [
        "AgentgaugeTaskStuck: it is not so that it says what the impact is",
        "AgentgaugeTaskStuck: it is not so that it has a query to run",
        "AgentgaugeTaskStuck: it is not so that its parts stand in order, and there are no others",
        "AgentgaugeTaskStuck: it is not so that it has no two blank lines in a row",
    ]


def test_an_alert_that_lacks_something_is_found(rules, cases, runbooks):
    alert = next(rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == "AgentgaugeTaskStuck")
    alert["annotations"]["summary"] = "{{ $value }}"
    alert["annotations"]["dashboard_url"] = "/d/agentgauge-gone?var-job=a"
    alert["labels"]["severity"] = "page"
    del alert["for"]
    found = rule_problems(rules, {"tests": []}, set(runbooks) - {"AgentgaugeTaskStuck"}, dashboard_uids())
    for fact in (
        "its summary is static",
        "its severity is known",
        "its runbook exists",
        "it leads to a dashboard that exists",
        "it waits before it fires",
        "a case makes it fire",
    ):
        assert f"AgentgaugeTaskStuck: it is not so that {fact}" in found
    assert "AgentgaugeToolSlow: it is not so that a case keeps it silent" in found


def test_an_alert_that_no_case_resolves_is_found(rules, cases, runbooks):
    for test in cases["tests"]:
        test["alert_rule_test"] = [case for case in test.get("alert_rule_test", ()) if case["exp_alerts"]]
    found = rule_problems(rules, cases, set(runbooks), dashboard_uids())
    assert "AgentgaugeToolSlow: it is not so that a case resolves it" in found


def test_recorded_series_are_called_by_level_metric_and_operation(rules):
    names = [rule.title for rule in rule_expressions(rules) if rule.kind == "record"]
    assert len(names) > 20
    assert [name for name in names if not re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name)] == []


def test_scaled_rules_are_the_same_rules_in_less_time(rules):
    scaled = scaled_rules(rules, 0.01)
    texts = [rule.expr for rule in rule_expressions(scaled)]
    durations = r"\[[\w:]+\]|offset \w+|\d+(\.\d+)? # seconds"
    for rule, text in zip(rule_expressions(rules), texts, strict=True):
        promql_parser.parse(text)
        assert re.sub(durations, "", rule.expr) == re.sub(durations, "", text)
    windows = {window for text in texts for window in re.findall(r"\[([\w:]+)\]", text)}
    assert {"18000ms", "864000ms", "864000ms:3000ms"} <= windows
    assert all(re.fullmatch(r"\d+ms(:\d+ms)?", window) for window in windows)
    assert any("3 # seconds" in text for text in texts)
    by_name = {rule.get("alert"): rule for group in scaled["groups"] for rule in group["rules"]}
    assert by_name["AgentgaugeTargetDown"]["for"] == "1200ms"
    assert by_name["AgentgaugeErrorRatioHigh"]["keep_firing_for"] == "3000ms"


@pytest.mark.servers
def test_prometheus_accepts_scaled_rules(rules, tmp_path):
    path = tmp_path / "scaled.yml"
    path.write_text(yaml.safe_dump(scaled_rules(rules, 0.01)), encoding="utf-8")
    result = _run("promtool", "check", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr
