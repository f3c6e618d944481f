"""What is exported for Kubernetes is what its schemas ask for, and says the same as the plain files."""

import copy
import json
import re

import pytest
import yaml

from agentgauge import cli
from agentgauge.errors import ConfigurationError
from agentgauge.export.keda import Scaling, capacity_query, query
from agentgauge.export.kubernetes import Cluster, manifests
from crds import problems
from expressions import read_yaml
from installation import ROOT, run

MOST_BYTES = 262_144  # of what kubectl apply notes in an annotation


@pytest.fixture
def export(tmp_path, capsys):
    def export(*options):
        assert cli.main(["export", str(tmp_path / "out"), "--format", "kubernetes", *options]) == 0
        capsys.readouterr()
        return {path.name: parsed(path) for path in sorted((tmp_path / "out" / "kubernetes").iterdir())}

    return export


def parsed(path):
    return json.loads(path.read_text()) if path.suffix == ".json" else read_yaml(path.read_text())


ALL = ("--namespace", "monitoring", "--label", "release=monitoring", "--keda", "research-agents")
PLANNED = (*ALL, "--keda-capacity", "researcher/research")


@pytest.mark.parametrize("options", [(), PLANNED, ("--monitor", "service")], ids=["plain", "all", "service"])
def test_each_object_is_valid_by_its_schema(options, export):
    exported = export(*options)
    assert {name: found for name, manifest in exported.items() if (found := problems(manifest))} == {}
    kinds = {manifest["kind"] for manifest in exported.values()}
    expected = {"ConfigMap", "PrometheusRule", "ServiceMonitor" if "service" in options else "PodMonitor"}
    assert kinds == expected | ({"ScaledObject"} if "--keda" in options else set())
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in exported.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("rules-self.yaml", lambda it: it["spec"]["groups"][0]["rules"][0].pop("expr"), "'expr' is a required property"),
        ("rules-self.yaml", lambda it: it["spec"]["groups"][0].update(intervall="1m"), "'intervall' was unexpected"),
        ("rules-self.yaml", lambda it: it["spec"]["groups"][0].update(interval="1 min"), "does not match"),
        ("pod-monitor.json", lambda it: it["spec"].pop("selector"), "'selector' is a required property"),
        ("pod-monitor.json", lambda it: it["spec"].update(endpoints=[]), "'endpoints' was unexpected"),
        ("scaled-object.json", lambda it: it["spec"]["triggers"][0]["metadata"].update(threshold=10), "is not of type 'string'"),
        ("scaled-object.json", lambda it: it["spec"]["fallback"].update(behavior="none"), "is not one of"),
        ("scaled-object.json", lambda it: it.update(apiVersion="keda.sh/v1"), "it is not keda.sh/v1alpha1"),
        ("dashboard-fleet.json", lambda it: it["data"].update(x=1), "1 is not of type 'string'"),
        ("dashboard-fleet.json", lambda it: it["metadata"].update(name="a_b"), "does not match"),
    ],
)
def test_an_object_that_is_not_valid_is_seen(file, change, problem, export):
    manifest = copy.deepcopy(export(*ALL)[file])
    change(manifest)
    assert any(problem in line for line in problems(manifest)), problems(manifest)


def test_each_rule_file_is_the_spec_of_an_object(export):
    rules = {path.stem: read_yaml(path.read_text()) for path in (ROOT / "alerts/rules").glob("*.yml")}
    made = {name: manifest["spec"] for name, manifest in export().items() if manifest["kind"] == "PrometheusRule"}
    assert made == {f"rules-{stem}.yaml": document for stem, document in rules.items()}


def test_each_dashboard_is_one_that_the_sidecar_finds_and_kubectl_can_apply(export, tmp_path):
    boards = {path.name: json.loads(path.read_text()) for path in (ROOT / "dashboards").glob("*.json")}
    made = {name: manifest for name, manifest in export().items() if manifest["kind"] == "ConfigMap"}
    assert {file: json.loads(text) for manifest in made.values() for file, text in manifest["data"].items()} == boards
    for name, manifest in made.items():
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(manifest)) < MOST_BYTES, name


def test_a_dashboard_that_no_config_map_holds_is_refused_by_name():
    board = json.dumps({"title": "x" * 1_050_000}).encode()
    with pytest.raises(ConfigurationError, match=r"dashboards/huge.json: \d+ bytes do not fit in a ConfigMap"):
        manifests({"dashboards/huge.json": board}, Cluster())


def test_each_object_has_the_namespace_and_the_labels_that_are_asked_for(export):
    for manifest in export(*ALL, "--label", "team=agents").values():
        assert manifest["metadata"]["namespace"] == "monitoring"
        assert {("release", "monitoring"), ("team", "agents")} <= set(manifest["metadata"]["labels"].items())
    for manifest in export().values():
        assert "namespace" not in manifest["metadata"]


@pytest.mark.parametrize(
    ("monitor", "file", "endpoints"), [("pod", "pod-monitor", "podMetricsEndpoints"), ("service", "service-monitor", "endpoints")]
)
def test_programs_are_scraped_once_with_their_token(monitor, file, endpoints, export):
    exported = export("--monitor", monitor)
    assert [name for name in exported if "monitor" in name] == [f"{file}.json"]
    [endpoint] = exported[f"{file}.json"]["spec"][endpoints]
    assert endpoint["authorization"]["credentials"] == {"name": "agentgauge-metrics", "key": "token"}
    page = (ROOT / "docs/export.md").read_text()
    assert "create secret generic agentgauge-metrics --namespace agents --from-literal=token=" in page
    assert all(f"{key}: {value}" in page for key, value in exported[f"{file}.json"]["spec"]["selector"]["matchLabels"].items())


JOBS = [  # the labels, and the job by ours and by the one that is asked for
    ({}, "agentgauge", "agentgauge"),
    ({"agentgauge": "enabled", "app_kubernetes_io_name": "billing"}, "agentgauge", "billing"),
    ({"agentgauge_job": "agentgauge-billing"}, "agentgauge-billing", "agentgauge"),
    ({"agentgauge_job": ""}, "agentgauge", "agentgauge"),
    ({"agentgauge_job": "a", "app_kubernetes_io_name": "b"}, "a", "b"),
]


@pytest.mark.servers
@pytest.mark.parametrize("role", ["pod", "service"])
@pytest.mark.parametrize("options", [(), ("--job-label", "app.kubernetes.io/name")], ids=["our label", "another"])
def test_the_job_is_what_the_label_says_and_without_it_the_one_that_the_rules_know(options, role, export, tmp_path):
    [monitor] = [manifest for name, manifest in export("--monitor", role, *options).items() if name.endswith("-monitor.json")]
    assert problems(monitor) == []
    discovered = [{f"__meta_kubernetes_{role}_label_{label}": value for label, value in labels.items()} for labels, *_ in JOBS]
    assert jobs_of(monitor, discovered, tmp_path) == [jobs[bool(options)] for _, *jobs in JOBS]


def jobs_of(monitor, discovered, folder):
    """Return the job that Prometheus gives each target which it discovered with these labels.

    The operator has the monitor's or the Service's name as the job first, and the monitor's own relabelings after that.
    """
    [endpoint] = [*monitor["spec"].get("endpoints", ()), *monitor["spec"].get("podMetricsEndpoints", ())]
    rendered = [
        {re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), key): value for key, value in relabeling.items()}
        for relabeling in endpoint["relabelings"]
    ]
    scrape = {
        "job_name": "discovered",
        "static_configs": [{"targets": [f"a:{number}"], "labels": labels} for number, labels in enumerate(discovered)],
        "relabel_configs": [{"target_label": "job", "replacement": "agents/agentgauge"}, *rendered],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    for patience in ("1s", "10s"):  # it always waits to the end
        ended = run("promtool", "check", "service-discovery", f"--timeout={patience}", folder / "prometheus.yml", "discovered")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        if targets := json.loads(ended.stdout):
            break
    jobs = {target["labels"]["instance"]: target["labels"]["job"] for target in targets}
    return [jobs[f"a:{number}"] for number in range(len(discovered))]


def test_what_keda_asks_counts_the_pods_of_its_deployment_under_whatever_job():
    assert "job" not in query(Scaling("swarm", namespace="agents"))


def test_another_monitor_takes_the_place_of_the_first(export):
    export()
    assert [name for name in export("--monitor", "service") if "monitor" in name] == ["service-monitor.json"]


def test_an_answer_that_is_missing_scales_nothing_down(export):
    spec = export(*ALL)["scaled-object.json"]["spec"]
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["minReplicaCount"] == 1


def test_what_is_asked_of_keda_is_what_it_gets(export):
    spec = export(*ALL, "--keda-tasks", "7", "--keda-replicas", "3", "--prometheus", "http://p:9090/x")["scaled-object.json"][
        "spec"
    ]
    assert spec["scaleTargetRef"] == {"name": "research-agents"}
    assert spec["maxReplicaCount"] == 3
    metadata = spec["triggers"][0]["metadata"]
    assert (metadata["threshold"], metadata["serverAddress"]) == ("7", "http://p:9090/x")
    assert 'namespace="monitoring"' in metadata["query"]


POD = 'pod="swarm-7d9f-x2x4z"'
RUNS = f"agentgauge_build_info{{{POD}}}"
WAITING = f'agent_queue_depth{{{POD},queue="q"}}'
ELSEWHERE = WAITING.replace(POD, 'pod="swarm-7d9f-abcde"')
WORKING = f'agent_tasks_in_progress{{{POD},agent_task="t"}}'

CASES = {
    "what waits and what is worked on count": ({RUNS: "1x60", WAITING: "4x60", WORKING: "3x60"}, 7),
    "the pods' work is added": ({RUNS: "1x60", WAITING: "4x60", ELSEWHERE: "5x60"}, 9),
    "work that grows is foretold five minutes ahead": ({RUNS: "1x60", WAITING: "0+1x60"}, 40),
    "work that shrinks is taken as it is, not as it is foretold": ({RUNS: "1x60", WAITING: "60-1x60"}, 30),
    "a pod that has gone is not foretold to go on": (
        {RUNS: "1x60", WAITING: "4x60", ELSEWHERE: "5x16 stale"},
        4,
    ),
    "a program without queues has what it works on": ({RUNS: "1x60", WORKING: "3x60"}, 3),
    "a program that rests has no work": ({RUNS: "1x60"}, 0),
    "no program is no answer": ({WAITING.replace("swarm-", "other-"): "9x60", RUNS.replace("swarm-", "other-"): "1x60"}, None),
}


@pytest.mark.servers
@pytest.mark.parametrize("case", CASES)
def test_keda_gets_one_number_or_none(case, tmp_path):
    series, expected = CASES[case]
    assert_answer(query(Scaling("swarm")), series, expected, tmp_path)


AGENT = 'gen_ai_agent_name="a \\"b\\""'
PLANS = f'agent_capacity_replicas{{{POD},{AGENT},agent_task="t/u"}}'

PLANNED_CASES = {
    "the replicas that pods plan for themselves are added": (
        {RUNS: "1x60", PLANS: "1.5x60", PLANS.replace(POD, 'pod="swarm-7d9f-abcde"'): "0.75x60"},
        2.25,
    ),
    "another task's are not": ({RUNS: "1x60", PLANS: "1.5x60", PLANS.replace("t/u", "inner"): "9x60"}, 1.5),
    "nor another Deployment's": ({RUNS: "1x60", PLANS: "1.5x60", PLANS.replace("swarm-", "other-"): "9x60"}, 1.5),
    "who plans nothing yet leaves it to the other trigger": ({RUNS: "1x60"}, 0),
    "no program is no answer": ({PLANS.replace("swarm-", "other-"): "9x60"}, None),
}


@pytest.mark.servers
@pytest.mark.parametrize("case", PLANNED_CASES)
def test_keda_gets_the_planned_capacity_or_none(case, tmp_path):
    series, expected = PLANNED_CASES[case]
    assert_answer(capacity_query(Scaling("swarm", planned='a "b"/t/u')), series, expected, tmp_path)


def test_the_planned_capacity_is_a_trigger_beside_that_of_the_work(export):
    work, planned = export(*PLANNED)["scaled-object.json"]["spec"]["triggers"]
    assert work == export(*ALL)["scaled-object.json"]["spec"]["triggers"][0]
    assert planned["metadata"]["threshold"] == "1"
    assert planned["metadata"]["ignoreNullValues"] == "false"
    chosen = 'namespace="monitoring",pod=~"research-agents-[a-z0-9]+-[a-z0-9]+"'
    assert (
        f'agent_capacity_replicas{{{chosen},gen_ai_agent_name="researcher",agent_task="research"}}'
        in planned["metadata"]["query"]
    )


def assert_answer(promql, series, expected, folder):
    """Ask a Prometheus after a quarter of an hour of series, each 30 s a sample."""
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    test = {
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": name, "values": _values(values)} for name, values in series.items()],
                "promql_expr_test": [{"expr": f"round({promql}, 0.01)", "eval_time": "15m", "exp_samples": samples}],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    ended = run("promtool", "test", "rules", folder / "test.yml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def _values(text):
    """Spell ``1x60`` as promtool has it: one sample and 60 more of the same."""
    return re.sub(r"^([\d.]+)x(\d+)", r"\1+0x\2", text)
