"""A real Prometheus that holds every family of the catalogue answers every question of the dashboards and the runbooks."""

import itertools
import math
import re
import urllib.error
from functools import cache

import pytest
from prometheus_client.utils import floatToGoString

from agentgauge.catalogue import FAMILIES, TOKEN_TYPES, Kind, Outcome
from agentgauge.catalogue.analytics import SIGNAL_STATES, SWEEP_OUTCOMES
from agentgauge.catalogue.reliability import HEALTH_STATUSES, NOTIFICATION_OUTCOMES, RECOVERY_OUTCOMES, SHED_REASONS
from answers import answer_problems
from backfilled import BEGIN, ask, backfilled, sample
from expressions import ALL, dashboard_expressions, load_dashboard, load_dashboards, load_rules, runbook_expressions

pytestmark = pytest.mark.servers

_STEP = 15
_COUNT = 80
_END = BEGIN + (_COUNT - 1) * _STEP
_SPARSE_STEP = 240  # less than the five minutes for which Prometheus takes a sample for the present one
_DAY_BEFORE = range(BEGIN - 86400 - 3600, BEGIN, _SPARSE_STEP)
_TARGETS = ({"job": "agentgauge", "instance": "a:1"}, {"job": "bots", "instance": "b:1"})
_AGENTS = ["researcher", "writer"]
_VALUES = {
    "outcome": [str(outcome) for outcome in Outcome],
    "error_type": ["", "ValueError"],
    "gen_ai_agent_name": _AGENTS,
    "gen_ai_request_model": ["large", "small"],
    "gen_ai_tool_name": ["search", "sum"],
    "gen_ai_workflow_name": ["report", "digest"],
    "gen_ai_token_type": list(TOKEN_TYPES),
    "source": _AGENTS,
    "target": _AGENTS,
    "period": ["day", "month"],
    "component": ["database", "queue"],
    "circuit_breaker": ["models", "search"],
    **{family.name: list(family.states) for family in FAMILIES if family.states},
}
_VALUES_OF = {  # of a label that means something else elsewhere
    ("agent_health_checks_total", "status"): HEALTH_STATUSES,
    ("agent_recovery_attempts_total", "outcome"): RECOVERY_OUTCOMES,
    ("agent_tasks_shed_total", "reason"): SHED_REASONS,
    ("agentgauge_notifications_total", "outcome"): NOTIFICATION_OUTCOMES,
    ("agentgauge_history_sweeps_total", "outcome"): SWEEP_OUTCOMES,
    ("agentgauge_analysis_signals", "state"): SIGNAL_STATES,
}
_GAUGES = {"agent_objective_success_ratio": 0.9}
_NOT_HELD = {(family.name, state) for family in FAMILIES for state in family.states[1:]}  # a state set is in one state
_WINDOWS = {
    "15m": ({"__range": "15m", "__rate_interval": "1m"}, 900, _STEP),
    "24h": ({"__range": "24h", "__rate_interval": "16m"}, 86400, 600),
}


def _limited():
    """The metrics whose limits a panel draws."""
    texts = [panel.expr for board in load_dashboards().values() for panel in dashboard_expressions(board)]
    return sorted({metric for text in texts for metric in re.findall(r'agentgauge_threshold{[^}]*metric="(\w+)"', text)})


def _recorded():
    """The names of the recording rules."""
    rules = [rule for group in load_rules()["groups"] for rule in group["rules"]]
    return sorted({rule["record"] for rule in rules if "record" in rule})


def _children(family):
    if family.name == "agentgauge_threshold":
        return [
            {"metric": metric, "severity": severity, "operator": ">"}
            for metric, severity in itertools.product(_limited(), ("warning", "critical"))
        ]
    labels = family.labels or (("service_name",) if family.kind is Kind.INFO else ())
    combinations = itertools.product(*(_values(family, label) for label in labels))
    children = [dict(zip(labels, combination, strict=True)) for combination in combinations]
    is_of_errors = family.kind is Kind.COUNTER and "error_type" in labels
    return [child for child in children if child["error_type"]] if is_of_errors else children


def _values(family, label):
    return _VALUES_OF.get((family.name, label)) or _VALUES.get(label, ["some"])


def _series():
    """Yield name, labels and increase a step of every series; 0 is a gauge's that stays at 1."""
    for target, family in itertools.product(_TARGETS, FAMILIES):
        for child in _children(family):
            labels = target | {name: value for name, value in child.items() if value}
            if family.kind is Kind.HISTOGRAM:
                for index, bound in enumerate((*family.buckets, math.inf)):
                    yield f"{family.name}_bucket", labels | {"le": floatToGoString(bound)}, index + 1
                yield f"{family.name}_count", labels, len(family.buckets) + 1
                yield f"{family.name}_sum", labels, 1
            else:
                yield family.name, labels, 1 if family.kind is Kind.COUNTER else 0
    for target in _TARGETS:
        yield "agent_budget_usd", target | {"period": "day"}, 0
        for name in ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"):
            yield name, target, 0
        for alert in ("AgentgaugeWatchdog", "AgentgaugeHostCpuHigh"):
            labels = {"alertname": alert, "alertstate": "firing", "severity": "warning"}
            yield "ALERTS", target | labels | {"gen_ai_agent_name": "writer"}, 0
        for name, agent in itertools.product(_recorded(), _AGENTS):
            labels = {"job": target["job"], "gen_ai_agent_name": agent, "agent_task": "some", "period": "day"}
            yield name, labels, 0


def _samples(name, labels, increase):
    times = (*_DAY_BEFORE, *range(BEGIN, _END + 1, _STEP))
    prefix = sample(name, labels, 0, 0).removesuffix("0 0")
    if not increase:
        value = 0 if (name, labels.get(name)) in _NOT_HELD else _GAUGES.get(name, 1)
        return (f"{prefix}{value} {time}" for time in times)
    return (f"{prefix}{(time - times[0]) * increase / _STEP} {time}" for time in times)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    lines = (line for series in _series() for line in _samples(*series))
    with backfilled(tmp_path_factory.mktemp("prometheus"), lines) as url:
        yield url


@cache
def _board(name):
    return load_dashboards()[name]


@pytest.mark.parametrize("window", _WINDOWS)
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {
            "job": "bots",
            "instance": "b:1",
            "agent": "writer",
            "model": "small",
            "tool": "search",
            "workflow": "report",
            "component": "queue",
            "breaker": "search",
        },
        {
            "job": "(agentgauge|bots)",
            "instance": "(a:1|b:1)",
            "agent": "(researcher|writer)",
            "model": "(large|small)",
            "tool": "(search|sum)",
            "workflow": "(digest|report)",
            "component": "(database|queue)",
            "breaker": "(models|search)",
        },
    ],
    ids=["all", "one", "several"],
)
@pytest.mark.parametrize("name", sorted(load_dashboards()))
def test_every_panel_variable_and_annotation_has_finite_data_with_the_labels_of_its_legend(prometheus, name, chosen, window):
    variables, length, step = _WINDOWS[window]
    expressions = list(dashboard_expressions(_board(name), ALL | chosen | variables))
    assert {expression.kind for expression in expressions} == {"panel", "variable", "annotation"}
    assert answer_problems(prometheus, expressions, _END - length, _END, step) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agent_task_duration_seconds_count", "agent_task_duration_count"),  # a metric is renamed
        ("(gen_ai_agent_name)", "(agent_name)"),  # a label is dropped
        ('job=~".+"', 'job="another"'),  # the data source holds nothing of this
    ],
)
def test_a_metric_that_was_renamed_and_a_label_that_was_dropped_leave_a_panel_without_its_data(prometheus, old, new):
    agents = load_dashboard()
    (panel,) = [each for each in agents["panels"] if each["title"] == "Tasks in progress" and each["type"] == "timeseries"]
    panel["targets"][0] |= {
        "expr": "sum by (gen_ai_agent_name) (rate(agent_task_duration_seconds_count"
        '{job=~"$job",instance=~"$instance"}[$__rate_interval]))',
        "legendFormat": "{{gen_ai_agent_name}}",
    }
    expressions = [each for each in dashboard_expressions(agents) if each.title == "Tasks in progress" and not each.is_instant]
    assert answer_problems(prometheus, expressions, _END - 900, _END, _STEP) == []
    panel["targets"][0]["expr"] = panel["targets"][0]["expr"].replace('job=~"$job"', 'job=~".+"').replace(old, new)
    broken = [each for each in dashboard_expressions(agents) if each.title == "Tasks in progress" and not each.is_instant]
    assert broken != expressions
    assert answer_problems(prometheus, broken, _END - 900, _END, _STEP)


def test_every_question_of_a_runbook_is_valid(prometheus):
    for expression in runbook_expressions():
        try:
            ask(prometheus, "query", query=expression.expr, time=_END)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{expression.title}: {error.read().decode()} for {expression.expr}")


def test_the_overview_counts_what_happened_in_the_time_range(prometheus):
    numbers = {
        expression.title: float(ask(prometheus, "query", query=expression.expr, time=_END)[0]["value"][1])
        for expression in dashboard_expressions(_board("fleet"), ALL | {"__range": "10m"})
        if expression.is_instant and not expression.legend_labels
    }
    children = 2 * 2  # targets and agents; each outcome's counter grows by the number of its buckets
    a_step = children * (len(next(family for family in FAMILIES if family.name == "agent_task_duration_seconds").buckets) + 1)
    steps = 600 / _STEP
    assert numbers["Programs"] == 2
    assert numbers["Agents"] == 2
    assert numbers["Alerts firing"] == 2
    assert numbers["Tasks in progress"] == children
    assert numbers["Tasks ended"] == pytest.approx(len(Outcome) * a_step * steps)
    assert numbers["Tasks failed"] == pytest.approx(2 * a_step * steps)
    assert numbers["Success"] == pytest.approx(1 / 3)
