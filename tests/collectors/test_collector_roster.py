from __future__ import annotations

import gc
import importlib.util
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agentgauge import catalogue
from agentgauge.collectors import roster
from agentgauge.collectors.roster import build
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError

LEFT_OUT = {
    "system_cpu_utilization_ratio",  # unknown at the first scrape, as the next
    "process_cpu_utilization_ratio",
    "process_unique_memory_bytes",  # dear: read where it is named
    "python_event_loop_lag_seconds",  # there is no loop here, nor for the next
    "python_event_loop_stall_seconds",
}


@pytest.fixture
def build_into():
    sweeps = []

    def build_and_register(registry, **settings):
        sweep = build(Config(collector_timeout_seconds=20, **settings), registry)
        sweeps.append(sweep)
        registry.register(sweep)

    yield build_and_register
    for sweep in sweeps:
        sweep.close()


def family_names(page):
    return re.findall(r"^# HELP (\S+)", page, re.MULTILINE)


def test_without_collectors_there_is_no_sweep():
    assert build(Config(collectors=()), CollectorRegistry()) is None


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("host", ("system_",)),
        ("process", ("process_", "python_")),
        ("container", ("container_",)),
        ("unique-memory", ("process_unique_memory_bytes",)),
    ],
)
def test_only_the_collectors_that_are_named_run(build_into, name, prefixes):
    registry = CollectorRegistry()
    build_into(registry, collectors=(name,))

    page = generate_latest(registry).decode()

    assert f'agentgauge_collector_success{{collector="{name}"}} 1.0' in page
    assert any(family.startswith(prefixes) for family in family_names(page))
    assert all(family.startswith((*prefixes, "agentgauge_collector_")) for family in family_names(page))


@pytest.fixture
def packages(monkeypatch):
    """Say which packages are installed, whatever is."""

    def install(*names):
        known = importlib.util.find_spec
        monkeypatch.setattr(roster, "find_spec", lambda name: known("agentgauge") if name in names else None)

    return install


@pytest.mark.parametrize("is_installed", [True, False])
def test_unless_named_all_run_but_the_dear_one_and_the_gpus_where_their_package_is_missing(build_into, packages, is_installed):
    packages(*["pynvml"] * is_installed)
    registry = CollectorRegistry()
    build_into(registry)

    ran = re.findall(r'^agentgauge_collector_success{collector="(\S+)"} 1.0', generate_latest(registry).decode(), re.MULTILINE)

    assert ran == ["host", "process", "container", *["gpu"] * is_installed]


def watchers():
    return set(threading.enumerate()), list(gc.callbacks)


def new_beside(before):
    """How many threads and callbacks there are that were not there before; some that were may have gone since."""
    threads, callbacks = before
    return len(set(threading.enumerate()) - threads), len([each for each in gc.callbacks if each not in callbacks])


def test_a_collector_that_is_named_and_needs_a_missing_package_is_refused_with_the_command_that_installs_it(packages):
    packages()
    before = watchers()
    with pytest.raises(
        ConfigurationError, match=r"^collectors: 'gpu' needs nvidia-ml-py: pip install 'agentgauge\[gpu\]', or leave it out$"
    ):
        build(Config(collectors=("process", "gpu")), CollectorRegistry())
    assert new_beside(before) == (0, 0)


def test_where_one_cannot_be_built_what_the_others_watch_is_given_back(monkeypatch):
    def fail(name):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(roster, "load", fail)
    before = watchers()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        build(Config(collectors=("process", "container")), CollectorRegistry())
    assert new_beside(before) == (0, 0)


def test_closing_the_sweep_gives_back_what_its_collectors_watch():
    before = watchers()
    sweep = build(Config(collectors=("process",)), CollectorRegistry())
    assert new_beside(before) == (1, 2)
    sweep.close()
    assert new_beside(before) == (0, 0)


def test_an_empty_registry_gets_every_family_of_host_and_process(build_into):
    registry = CollectorRegistry()
    build_into(registry)

    names = family_names(generate_latest(registry).decode())

    prefixes = ("system_", "process_", "python_", "agentgauge_collector_")
    expected = {family.name for family in catalogue.FAMILIES if family.name.startswith(prefixes)}
    assert {name for name in names if name.startswith(prefixes)} == expected - LEFT_OUT - set(hidden_here())


def hidden_here():
    """What some machines do not have."""
    if not Path("/proc/pressure").is_dir():
        yield "system_pressure_stall_time_seconds_total"


def test_openmetrics_parsers_read_what_the_collectors_say(build_into):
    registry = CollectorRegistry()
    build_into(registry)
    families = {family.name: family for family in text_string_to_metric_families(generate_openmetrics(registry).decode())}
    assert families["system_cpu_time_seconds"].type == "counter"
    assert families["system_memory_limit_bytes"].unit == "bytes"


@pytest.mark.servers
@pytest.mark.parametrize("is_described", [True, False])
@pytest.mark.parametrize("has_client_collectors", [True, False])
def test_nothing_is_exported_twice_beside_prometheus_clients_own_collectors(build_into, is_described, has_client_collectors):
    registry = CollectorRegistry(auto_describe=is_described)
    if has_client_collectors:
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
    build_into(registry)

    page = generate_latest(registry)

    result = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    names = family_names(page.decode())
    assert sorted(names) == sorted(set(names))
    assert {"process_cpu_seconds_total", "python_gc_collections_total", "process_threads"} <= set(names)


def test_a_stub_in_the_gpu_packages_place_is_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", types.ModuleType("pynvml"))  # as tests of programs make them: without a __spec__
    assert roster.default_names() == ("host", "process", "container")
    with pytest.raises(ConfigurationError, match="nvidia-ml-py"):
        build(Config(collectors=("gpu",)), CollectorRegistry())


def test_a_family_that_the_program_declared_itself_stays_its_own(build_into):
    registry = CollectorRegistry()
    Gauge("process_threads", "Threads as the program counts them.", registry=registry).set(7)
    build_into(registry)
    assert re.findall(r"^process_threads .*", generate_latest(registry).decode(), re.MULTILINE) == ["process_threads 7.0"]
