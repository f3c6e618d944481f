"""The alert rules fire when they should and stay silent when they should not."""

import copy
import re
import subprocess

import promql_parser
import pytest
import yaml

from expressions import RULE_TESTS, RULES, RUNBOOKS, load_rules, rule_expressions, scaled_rules
from mixin_checks import rule_problems


def _run(*command, cwd=None):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


@pytest.fixture
def rules():
    return copy.deepcopy(load_rules())


@pytest.fixture
def cases():
    return yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))


@pytest.fixture
def runbooks():
    return {path.stem for path in RUNBOOKS.glob("*.md")}


@pytest.mark.servers
def test_prometheus_accepts_the_rules():
    result = _run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.servers
def test_the_rules_fire_and_stay_silent_as_their_cases_say():
    result = _run("promtool", "test", "rules", str(RULE_TESTS))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.servers
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('outcome=~"success|error|timeout"', 'outcome!=""'),
        ('outcome=~"error|timeout"', 'outcome!="success"'),
        ("or\n          0.1 * group", "or\n          0.5 * group"),
        ("increase30m >= 5", "increase30m >= 1"),
        ("10 * agent_objective_latency_seconds", "100 * agent_objective_latency_seconds"),
        ("300 # seconds", "3 # seconds"),
        ("absent(agentgauge_build_info)", "absent(up)"),
        ("max_over_time(agentgauge_build_info[1d])", "agentgauge_build_info"),
        ('severity="critical",operator', 'severity="warning",operator'),
        ("avg_over_time(system_cpu_utilization_ratio[5m])", "max_over_time(system_cpu_utilization_ratio[5m])"),
        ("> 0.05", "> 0.03"),
    ],
)
def test_the_cases_notice_a_changed_rule(tmp_path, old, new):
    text = RULES.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "rules" / RULES.name).write_text(text.replace(old, new), encoding="utf-8")
    (tmp_path / "tests" / RULE_TESTS.name).write_text(RULE_TESTS.read_text(encoding="utf-8"), encoding="utf-8")
    result = _run("promtool", "test", "rules", RULE_TESTS.name, cwd=tmp_path / "tests")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "got:" in result.stdout + result.stderr


def test_every_alert_has_its_texts_its_runbook_and_cases_both_ways(rules, cases, runbooks):
    assert rule_problems(rules, cases, runbooks) == []


def test_every_runbook_belongs_to_an_alert(rules, runbooks):
    assert runbooks == {expression.title for expression in rule_expressions(rules) if expression.kind == "alert"}


def test_an_alert_that_lacks_something_is_found(rules, cases, runbooks):
    alert = next(rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == "AgentgaugeTaskStuck")
    alert["annotations"]["summary"] = "{{ $value }}"
    alert["labels"]["severity"] = "page"
    found = rule_problems(rules, {"tests": []}, runbooks - {"AgentgaugeTaskStuck"})
    for fact in ("its summary is static", "its severity is known", "its runbook exists", "a case makes it fire"):
        assert f"AgentgaugeTaskStuck: it is not so that {fact}" in found
    assert "AgentgaugeHostDiskFull: it is not so that a case keeps it silent" in found


def test_scaled_rules_are_the_same_rules_in_less_time(rules):
    scaled = scaled_rules(rules, 0.01)
    texts = [rule.expr for rule in rule_expressions(scaled)]
    for rule, text in zip(rule_expressions(rules), texts, strict=True):
        promql_parser.parse(text)
        assert re.sub(r"\[\w+\]|\d+ # seconds", "", rule.expr) == re.sub(r"\[\w+\]|\d+ # seconds", "", text)
    assert {window for text in texts for window in re.findall(r"\[(\w+)\]", text)} == {"18000ms", "3000ms", "864000ms"}
    assert any("3 # seconds" in text for text in texts)
    down = scaled["groups"][0]["rules"][1]
    assert (down["alert"], down["for"]) == ("AgentgaugeTargetDown", "1200ms")
    assert scaled["groups"][1]["rules"][3]["keep_firing_for"] == "3000ms"


@pytest.mark.servers
def test_prometheus_accepts_scaled_rules(rules, tmp_path):
    path = tmp_path / "scaled.yml"
    path.write_text(yaml.safe_dump(scaled_rules(rules, 0.01)), encoding="utf-8")
    result = _run("promtool", "check", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr
