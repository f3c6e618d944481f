"""deploy/compose.yaml, checked without a container engine: schema, files, ports, and what its parts say of each other."""

import copy
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCHEMA = json.loads((Path(__file__).parent / "compose.schema.json").read_text(encoding="utf-8"))
OWN_PORTS = {
    "prometheus": {9090},
    "alertmanager": {9093},
    "grafana": {3000},
    "jaeger": {16686, 4317},
    "otel-collector": {4318},
    "demo": {9464},
}
"""What the images listen on by themselves, or as our files tell them."""


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def compose():
    return load(DEPLOY / "compose.yaml")


def mounted(compose, service):
    """Map each path in a container to the file or folder of the repository that is mounted there."""
    pairs = [volume.split(":") for volume in compose["services"][service]["volumes"]]
    return {inside: (DEPLOY / outside).resolve() for outside, inside, *_ in pairs if outside.startswith(".")}


def problems(compose):
    """Return what would keep the composition from starting as it is meant, a line each."""
    found = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(compose)]
    for name, service in compose["services"].items():
        tag = service.get("image", "").rpartition(":")[2]
        if "build" not in service and not re.fullmatch(r"v?\d+\.\d+\.\d+", tag):
            found.append(f"{name}: its image has no full version: {service.get('image')}")
        for port in service.get("ports", ()):
            if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port):
                found.append(f"{name}: {port} is not published on loopback alone")
            elif int(port.rpartition(":")[2]) not in OWN_PORTS[name]:
                found.append(f"{name}: nothing listens on {port}")
        for volume in service.get("volumes", ()):
            outside, _, *mode = volume.split(":")
            if outside.startswith(".") and not (DEPLOY / outside).exists():
                found.append(f"{name}: there is no {outside}")
            elif outside.startswith(".") and mode != ["ro"]:
                found.append(f"{name}: {outside} can be written to")
            elif not outside.startswith(".") and outside not in compose["volumes"]:
                found.append(f"{name}: {outside} is no volume")
        found += [f"{name}: it depends on {other}" for other in service.get("depends_on", ()) if other not in compose["services"]]
    published = [port.split(":")[1] for service in compose["services"].values() for port in service.get("ports", ())]
    return found + ([] if len(set(published)) == len(published) else ["a port is published twice"])


def test_the_composition_can_start_as_it_is_meant(compose):
    assert problems(compose) == []


@pytest.mark.parametrize(
    ("service", "change", "problem"),
    [
        ("grafana", {"image": "grafana/grafana"}, "its image has no full version"),
        ("grafana", {"image": "grafana/grafana:latest"}, "its image has no full version"),
        ("grafana", {"ports": ["3000:3000"]}, "is not published on loopback alone"),
        ("grafana", {"ports": ["127.0.0.1:9090:3000"]}, "a port is published twice"),
        ("grafana", {"ports": ["127.0.0.1:3000:80"]}, "nothing listens on"),
        ("grafana", {"volumes": ["./no-such.yaml:/etc/x:ro"]}, "there is no ./no-such.yaml"),
        ("grafana", {"volumes": ["../dashboards:/etc/x"]}, "can be written to"),
        ("grafana", {"volumes": ["data:/etc/x"]}, "data is no volume"),
        ("grafana", {"depends_on": ["loki"]}, "it depends on loki"),
        ("grafana", {"imagename": "x"}, "'imagename'"),
        ("grafana", {"restart": 1}, "is not of type 'string'"),
    ],
)
def test_a_composition_that_cannot_is_seen(service, change, problem, compose):
    changed = copy.deepcopy(compose)
    changed["services"][service].update(change)
    assert any(problem in line for line in problems(changed)), problems(changed)


def addresses(compose):
    """Yield which service says of which host and port that it is to be found there."""
    for name in ("demo", "grafana"):
        for value in compose["services"][name].get("environment", {}).values():
            if "://" in str(value):
                yield name, urlsplit(value).hostname, urlsplit(value).port
    prometheus = load(DEPLOY / "prometheus.yml")
    configs = [*prometheus["scrape_configs"], *prometheus["alerting"]["alertmanagers"]]
    for target in [target for config in configs for group in config["static_configs"] for target in group["targets"]]:
        host, _, port = target.partition(":")
        yield "prometheus", "prometheus" if host == "localhost" else host, int(port)
    for path in mounted(compose, "grafana").values():
        if path.is_file():
            for source in load(path).get("datasources", ()):
                yield "grafana", urlsplit(source["url"]).hostname, urlsplit(source["url"]).port
    for exporter in load(DEPLOY / "otel-collector.yaml")["exporters"].values():
        host, _, port = exporter["endpoint"].partition(":")
        yield "otel-collector", host, int(port)


def test_each_part_finds_the_others(compose):
    found = list(addresses(compose))
    assert [(name, host, port) for name, host, port in found if port not in OWN_PORTS.get(host, ())] == []
    ways = {("demo", "otel-collector"), ("otel-collector", "jaeger"), ("prometheus", "demo"), ("prometheus", "alertmanager")}
    assert ways | {("grafana", "prometheus"), ("grafana", "jaeger")} <= {(name, host) for name, host, _ in found}


def test_the_parts_are_told_where_their_files_are_mounted(compose):
    for name, option in (("prometheus", "--config.file="), ("alertmanager", "--config.file="), ("otel-collector", "--config=")):
        [path] = [word.removeprefix(option) for word in compose["services"][name]["command"] if word.startswith(option)]
        assert mounted(compose, name)[path].is_file()
    [rules] = load(DEPLOY / "prometheus.yml")["rule_files"]
    assert list(mounted(compose, "prometheus")[str(Path(rules).parent)].glob(Path(rules).name))
    inside = mounted(compose, "grafana")
    [providers] = [load(path)["providers"] for path in inside.values() if path.is_file() and "providers" in load(path)]
    for provider in providers:
        assert list(inside[provider["options"]["path"]].glob("*.json"))


def test_the_target_is_scraped_with_its_token_as_the_job_that_the_rules_know(compose):
    [scrape] = [config for config in load(DEPLOY / "prometheus.yml")["scrape_configs"] if config["job_name"] == "agentgauge"]
    environment = compose["services"]["demo"]["environment"]
    assert scrape["authorization"]["credentials"] == environment["AGENTGAUGE_BEARER_TOKEN"]
    assert "ports" not in compose["services"]["demo"]  # a token that everyone can read guards nothing


def test_exemplars_lead_to_the_store_of_traces(compose):
    sources = [
        source for path in mounted(compose, "grafana").values() if path.is_file() for source in load(path).get("datasources", ())
    ]
    stores = {source["uid"] for source in sources if source["type"] == "jaeger"}
    [prometheus] = [source for source in sources if source["type"] == "prometheus"]
    links = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert {link["datasourceUid"] for link in links} == stores
    assert {link["name"] for link in links} == {"trace_id"}
    assert "--enable-feature=exemplar-storage" in compose["services"]["prometheus"]["command"]


def test_the_collector_uses_what_it_declares_and_declares_what_it_uses():
    config = load(DEPLOY / "otel-collector.yaml")
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == set(config[kind])
    [pipeline] = config["service"]["pipelines"].values()
    assert pipeline["processors"][0] == "memory_limiter"
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"


def test_the_image_of_the_demo_gets_the_files_that_it_is_made_of():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    taken = [line[1:] for line in ignored if line.startswith("!")]
    assert [name for name in taken if not (ROOT / name).exists()] == []
    assert {"pyproject.toml", "README.md", "LICENSE", "src", "examples", "dashboards", "alerts", "docs"} <= set(taken)
    command = json.loads((DEPLOY / "Dockerfile").read_text().rpartition("CMD ")[2])
    assert (ROOT / command[-1]).is_file()


@pytest.mark.servers
def test_the_servers_take_their_configurations(tmp_path):
    text = (DEPLOY / "prometheus.yml").read_text().replace("/etc/prometheus/rules", str(ROOT / "alerts/rules"))
    (tmp_path / "prometheus.yml").write_text(text)
    checked = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout
    checked = run("amtool", "check-config", DEPLOY / "alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)


def test_the_page_says_what_was_not_tried():
    assert "has been checked without a container engine" in " ".join((ROOT / "docs/deploy.md").read_text().split())
