"""``start()`` builds everything or nothing, and ``stop()`` gives it back."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import agentgauge
from agentgauge import ConfigurationError, Threshold, start, stop, task
from agentgauge.exposition import listening


@pytest.fixture(autouse=True)
def nothing_left():
    threads = set(threading.enumerate())
    collectors = set(REGISTRY._collector_to_names)
    yield
    stop()
    deadline = time.monotonic() + 60  # a collector that is at work ends when it is done
    while new := {thread for thread in threading.enumerate() if thread.name.startswith("agentgauge")} - threads:
        assert time.monotonic() < deadline, new
        time.sleep(0.005)
    left = {type(collector).__name__ for collector in set(REGISTRY._collector_to_names) - collectors}
    assert left <= {"RecorderCollector"}


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
        return response.headers, response.read()


def test_metrics_are_served_as_prometheus_text_openmetrics_and_gzipped(fresh):
    @task("greet")
    def greet():
        pass

    greet()
    monitor = start(port=0, collector_timeout_seconds=60)
    _, text = get(monitor.url)
    names = {sample.name for family in parse_text(text.decode()) for sample in family.samples}
    assert {"agent_task_duration_seconds_count", "system_memory_limit_bytes", "process_threads", "agentgauge_build_info"} <= names
    headers, openmetrics = get(monitor.url, Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert any(family.name == "agent_task_duration_seconds" for family in parse_openmetrics(openmetrics.decode()))
    headers, packed = get(monitor.url, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert b"agent_task_duration_seconds_count" in gzip.decompress(packed)


def test_the_probes_answer_and_readiness_ends_with_stop():
    monitor = start(port=0)
    base = monitor.url.removesuffix("/metrics")
    assert get(f"{base}/livez")[1] == b"ok\n"
    assert get(f"{base}/readyz")[1] == b"ok\n"
    monitor.stop()
    with pytest.raises(urllib.error.URLError):
        get(f"{base}/livez")


def test_a_second_start_returns_what_runs():
    monitor = start(port=0)
    assert start() is monitor
    assert start(port=0) is monitor


def test_a_second_start_with_another_setting_is_refused_by_the_setting_s_name():
    start(port=0, series_limit=10)
    with pytest.raises(ConfigurationError, match=r"another series_limit: call stop\(\) first"):
        start(series_limit=20)
    with pytest.raises(ConfigurationError, match="another registry"):
        start(registry=CollectorRegistry())
    with pytest.raises(ConfigurationError, match="another thresholds"):
        start(thresholds=[])


def test_stop_gives_the_port_back_at_once():
    monitor = start(port=0)
    port = int(monitor.url.rpartition(":")[2].split("/")[0])
    stop()
    assert monitor.url is None
    assert start(port=port).url is not None


def test_stop_without_start_does_nothing():
    stop()
    stop()


def test_a_port_that_is_taken_is_named_with_the_fix_before_anything_starts(monkeypatch):
    monkeypatch.setattr(listening, "_SIBLING_SECONDS", 0.3)  # it may be one that has yet to answer
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        collectors = set(REGISTRY._collector_to_names)
        with pytest.raises(ConfigurationError, match=f"{port}.*port=.*AGENTGAUGE_PORT"):
            start(port=port)
        assert set(REGISTRY._collector_to_names) == collectors


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="no setting 'prot'; did you mean 'port'"):
        start(prot=1)


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="is no Threshold"):
        start(port=0, thresholds=[0.9])


def test_thresholds_and_the_service_are_series_until_stop(fresh):
    monitor = start(
        registry=fresh.registry,
        port=0,
        service_name="swarm",
        resource_attributes={"deployment.environment.name": "test"},
        thresholds=[Threshold("system_memory_utilization_ratio", 0.5, "critical")],
    )
    labels = {"metric": "system_memory_utilization_ratio", "severity": "critical", "operator": ">"}
    assert fresh.value("agentgauge_threshold", **labels) == 0.5
    assert fresh.value("target_info", service_name="swarm", deployment_environment_name="test") == 1
    monitor.stop()


def test_stop_takes_targets_and_collectors_back_and_keeps_what_was_recorded(fresh):
    @task("kept")
    def kept():
        pass

    kept()
    start(port=0, service_name="swarm")
    stop()
    names = {sample.name for family in fresh.registry.collect() for sample in family.samples}
    assert "agent_task_duration_seconds_count" in names
    assert not {"agentgauge_threshold", "target_info", "system_memory_limit_bytes"} & names


def test_a_registry_of_one_s_own_shows_everything_once():
    registry = CollectorRegistry()
    monitor = start(registry=registry, port=0, collector_timeout_seconds=60)
    page = get(monitor.url)[1].decode()
    helps = [line.split()[2] for line in page.splitlines() if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert "process_cpu_seconds_total" in helps


def test_without_the_server_everything_else_runs(fresh):
    monitor = start(is_server_enabled=False, registry=CollectorRegistry(), collector_timeout_seconds=60)
    assert monitor.url is None
    assert monitor.registry.get_sample_value("agentgauge_collector_success", {"collector": "host"}) == 1


def test_finished_calls_are_folded_when_nothing_scrapes(fresh):
    @task
    def work():
        pass

    start(port=0, drain_interval_seconds=0.01)
    work()
    deadline = time.monotonic() + 60
    while not fresh.recorder.folded and time.monotonic() < deadline:
        time.sleep(0.005)
    assert fresh.recorder.folded == 1


def test_a_scrape_states_the_duration_of_the_one_before():
    monitor = start(port=0)
    get(monitor.url)
    assert b"\nagentgauge_scrape_duration_seconds " in get(monitor.url)[1]


@pytest.mark.servers
def test_promtool_finds_nothing_to_say_about_the_page(fresh):
    @task("greet")
    def greet():
        pass

    greet()
    page = get(start(port=0).url)[1]
    result = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def run_program(code, **environment):
    import os

    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)


def test_disabled_nothing_starts_and_decorators_return_what_they_were_given():
    code = """
import threading, agentgauge
def f(): pass
assert agentgauge.task(f) is f and agentgauge.agent("a")(f) is f
monitor = agentgauge.start()
assert monitor.url is None and threading.active_count() == 1
monitor.stop()
"""
    result = run_program(code, AGENTGAUGE_DISABLED="true")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_environment_configures_a_program_that_says_nothing():
    code = "import agentgauge; m = agentgauge.start(); print(m.config.service_name, m.config.series_limit, m.url is not None)"
    environment = {"OTEL_EXPORTER_PROMETHEUS_PORT": "0", "OTEL_SERVICE_NAME": "swarm", "AGENTGAUGE_SERIES_LIMIT": "7"}
    assert run_program(code, **environment).stdout == "swarm 7 True\n"


def test_a_wrong_variable_ends_start_with_its_name_and_the_fix():
    result = run_program("import agentgauge; agentgauge.start()", AGENTGAUGE_PROT="1")
    assert "AGENTGAUGE_PROT is set, but there is no such setting; did you mean 'AGENTGAUGE_PORT'?" in result.stderr


def test_the_program_ends_with_its_own_status_while_everything_runs():
    result = run_program("import agentgauge, sys; agentgauge.start(port=0); sys.exit(3)")
    assert (result.returncode, result.stderr) == (3, "")


def test_the_service_s_own_name_wins_over_the_one_among_its_attributes():
    code = """
import agentgauge
registry = agentgauge.start(port=0).registry
print(registry.get_sample_value('target_info', {'service_name': 'right'}))
"""
    environment = {"OTEL_SERVICE_NAME": "right", "OTEL_RESOURCE_ATTRIBUTES": "service.name=wrong"}
    assert run_program(code, **environment).stdout == "1\n"


def test_a_scrape_that_outlives_stop_is_whole(fresh):
    start(port=0)
    families = list(REGISTRY.collect())
    stop()
    assert [sample for family in families for sample in family.samples]
    assert fresh.value("agentgauge_internal_errors_total", hook="exposition") is None


def test_stop_in_a_signal_handler_during_start_or_stop_ends_and_leaves_nothing():
    code = """
import os, signal, threading, time, agentgauge
from prometheus_client import REGISTRY
signal.signal(signal.SIGUSR1, lambda *_: agentgauge.stop())
registered = REGISTRY.register
def interrupted(collector):
    registered(collector)
    os.kill(os.getpid(), signal.SIGUSR1)
REGISTRY.register = interrupted
monitor = agentgauge.start(port=0)
REGISTRY.register = registered
names = [type(collector).__name__ for collector in REGISTRY._collector_to_names]
for _ in range(3000):
    if threading.active_count() > 1: time.sleep(0.01)
print(monitor.url, [name for name in names if name in ("Sweep", "TargetsCollector")], threading.active_count())
print(agentgauge.start(port=0).url is not None)
"""
    result = run_program(code)
    assert (result.stdout, result.stderr) == ("None [] 1\nTrue\n", "")


def test_stop_and_start_from_several_threads_leave_one_server_that_serves():
    port = int(start(port=0).url.rpartition(":")[2].split("/")[0])
    stop()

    def again():
        for _ in range(10):
            start(port=port).stop()

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monitor = start(port=port)
    assert get(monitor.url)[1]


def test_what_was_given_explicitly_must_be_what_runs():
    start(port=0, registry=CollectorRegistry(), thresholds=[])
    with pytest.raises(ConfigurationError, match="another registry"):
        start(registry=REGISTRY)
    with pytest.raises(ConfigurationError, match="another thresholds"):
        start(thresholds=agentgauge.targets.DEFAULT_THRESHOLDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"registry": 3}, "registry=3: give a CollectorRegistry"), ({"thresholds": 3}, "thresholds=3: give a list")],
)
def test_arguments_of_another_type_are_refused_by_name(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        start(port=0, **arguments)


def test_the_limit_on_series_is_given_back_and_does_not_touch_thresholds(fresh):
    monitor = start(port=0, series_limit=2)
    thresholds = [s for family in monitor.registry.collect() for s in family.samples if s.name == "agentgauge_threshold"]
    assert len(thresholds) == len(agentgauge.targets.DEFAULT_THRESHOLDS)
    monitor.stop()
    assert fresh.recorder.series_limit == 1000


def test_a_registry_of_one_s_own_keeps_what_was_recorded_after_stop(fresh):
    @task("kept")
    def kept():
        pass

    registry = CollectorRegistry()
    start(registry=registry, port=0)
    kept()
    stop()
    labels = {"agent_task": "kept", "outcome": "success"}
    assert registry.get_sample_value("agent_task_duration_seconds_count", labels) == 1


def test_a_threshold_that_is_given_twice_is_refused():
    limit = Threshold("process_open_fds", 5)
    with pytest.raises(ConfigurationError, match="is given twice"):
        start(port=0, thresholds=[limit, Threshold("process_open_fds", 6)])


def test_what_is_disabled_starts_whatever_else_is_set(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    monkeypatch.setenv("AGENTGAUGE_PORT", "abc")
    assert agentgauge.start().url is None
