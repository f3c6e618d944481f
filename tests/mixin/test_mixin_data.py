"""A real Prometheus that holds every family of the catalogue answers every question of the dashboard and the runbooks."""

import itertools
import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from prometheus_client.utils import floatToGoString

from agentgauge.catalogue import FAMILIES, Kind, Outcome
from agentgauge.targets import DEFAULT_THRESHOLDS
from expressions import ALL, dashboard_expressions, load_dashboard, runbook_expressions

pytestmark = pytest.mark.servers

_STEP = 15
_COUNT = 80
_BEGIN = int(time.time()) // 3600 * 3600 - 86400  # yesterday, so that nothing falls between a block and the head
_END = _BEGIN + (_COUNT - 1) * _STEP
_TARGETS = ({"job": "agentgauge", "instance": "a:1"}, {"job": "bots", "instance": "b:1"})
_VALUES = {
    "outcome": [str(outcome) for outcome in Outcome],
    "error_type": ["", "ValueError"],
    "gen_ai_agent_name": ["researcher", "writer"],
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


def _ask(url, path, **parameters):
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as response:
        return json.load(response)["data"]["result"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    lines = (
        f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels.items())}}}"
        f" {index * increase if increase else 1} {_BEGIN + index * _STEP}"
        for name, labels, increase in _series()
        for index in range(_COUNT)
    )
    (folder / "page.om").write_text("\n".join(lines) + "\n# EOF\n", encoding="utf-8")
    (folder / "prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", "page.om", "data"]
    subprocess.run(backfill, cwd=folder, check=True, timeout=60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(["prometheus", *options], cwd=folder, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            _await_ready(f"http://{address}", process, folder / "log")
            yield f"http://{address}"
        finally:
            process.terminate()


def _await_ready(url, process, log):
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"Prometheus did not become ready:\n{log.read_text()}")


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
            found = _ask(prometheus, "query", query=expression.expr, time=_END)
        else:
            found = _ask(prometheus, "query_range", query=expression.expr, start=_END - 300, end=_END, step=_STEP)
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
            _ask(prometheus, "query", query=expression.expr, time=_END)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{expression.title}: {error.read().decode()} for {expression.expr}")


def test_the_overview_counts_what_happened_in_the_time_range(prometheus):
    numbers = {
        expression.title: float(_ask(prometheus, "query", query=expression.expr, time=_END)[0]["value"][1])
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
