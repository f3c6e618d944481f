"""A real Prometheus that holds every family of the catalogue answers every question of the dashboard and the runbooks."""

import itertools
import math
import urllib.error

import pytest
from prometheus_client.utils import floatToGoString

from agentgauge.catalogue import FAMILIES, TOKEN_TYPES, Kind, Outcome
from agentgauge.targets import DEFAULT_THRESHOLDS
from backfilled import BEGIN, ask, backfilled, sample
from expressions import ALL, dashboard_expressions, load_dashboard, runbook_expressions

pytestmark = pytest.mark.servers

_STEP = 15
_COUNT = 80
_END = BEGIN + (_COUNT - 1) * _STEP
_TARGETS = ({"job": "agentgauge", "instance": "a:1"}, {"job": "bots", "instance": "b:1"})
_AGENTS = ["researcher", "writer"]
_VALUES = {
    "outcome": [str(outcome) for outcome in Outcome],
    "error_type": ["", "ValueError"],
    "gen_ai_agent_name": _AGENTS,
    "gen_ai_token_type": list(TOKEN_TYPES),
    "source": _AGENTS,
    "target": _AGENTS,
}


def _children(family):
    if family.name == "agentgauge_threshold":
        return [{"metric": limit.metric, "severity": limit.severity, "operator": limit.operator} for limit in DEFAULT_THRESHOLDS]
    labels = family.labels or (("service_name",) if family.kind is Kind.INFO else ())
    combinations = itertools.product(*(_VALUES.get(label, ["some"]) for label in labels))
    children = [dict(zip(labels, combination, strict=True)) for combination in combinations]
    is_of_errors = family.kind is Kind.COUNTER and "error_type" in labels
    return [child for child in children if child["error_type"]] if is_of_errors else children


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
        for name in ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"):
            yield name, target, 0
        for alert in ("AgentgaugeWatchdog", "AgentgaugeHostCpuHigh"):
            yield "ALERTS", target | {"alertname": alert, "alertstate": "firing", "severity": "warning"}, 0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    lines = (
        sample(name, labels, index * increase if increase else 1, BEGIN + index * _STEP)
        for name, labels, increase in _series()
        for index in range(_COUNT)
    )
    with backfilled(tmp_path_factory.mktemp("prometheus"), lines) as url:
        yield url


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"job": "bots", "instance": "b:1", "agent": "writer"},
        {"job": "(agentgauge|bots)", "instance": "(a:1|b:1)", "agent": "(researcher|writer)"},
    ],
    ids=["all", "one", "several"],
)
def test_every_panel_variable_and_annotation_has_finite_data_with_the_labels_of_its_legend(prometheus, chosen):
    problems = []
    for expression in dashboard_expressions(load_dashboard(), ALL | chosen):
        if expression.is_instant:
            found = ask(prometheus, "query", query=expression.expr, time=_END)
        else:
            found = ask(prometheus, "query_range", query=expression.expr, start=_END - 300, end=_END, step=_STEP)
        values = [float(value) for series in found for _, value in series.get("values", [series.get("value")])]
        if not values or not all(map(math.isfinite, values)):
            problems.append(f"{expression.title}: {values[:5]} for {expression.expr}")
        problems += [
            f"{expression.title}: no {missing} in {series['metric']}"
            for series in found
            if (missing := expression.legend_labels - set(series["metric"]))
        ]
    assert problems == []


def test_every_question_of_a_runbook_is_valid(prometheus):
    for expression in runbook_expressions():
        try:
            ask(prometheus, "query", query=expression.expr, time=_END)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{expression.title}: {error.read().decode()} for {expression.expr}")


def test_the_overview_counts_what_happened_in_the_time_range(prometheus):
    numbers = {
        expression.title: float(ask(prometheus, "query", query=expression.expr, time=_END)[0]["value"][1])
        for expression in dashboard_expressions(load_dashboard(), ALL | {"__range": "10m"})
        if expression.is_instant and not expression.legend_labels
    }
    children = 2 * 2  # targets and agents; each outcome's counter grows by the number of its buckets
    a_step = children * (len(next(family for family in FAMILIES if family.name == "agent_task_duration_seconds").buckets) + 1)
    steps = 600 / _STEP
    assert numbers["Programs"] == 2
    assert numbers["Alerts firing"] == 2
    assert numbers["Tasks in progress"] == children
    assert numbers["Tasks ended"] == pytest.approx(len(Outcome) * a_step * steps)
    assert numbers["Tasks failed"] == pytest.approx(2 * a_step * steps)
    assert numbers["Success"] == pytest.approx(1 / 3)
