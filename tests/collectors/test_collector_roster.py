from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agentgauge import catalogue
from agentgauge.collectors.roster import build
from agentgauge.config import Config

LEFT_TO_TIME = {"system_cpu_utilization_ratio", "process_cpu_utilization_ratio"}  # unknown at the first scrape


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


@pytest.mark.parametrize(("name", "prefix"), [("host", "system_"), ("process", "p")])
def test_only_the_collectors_that_are_named_run(build_into, name, prefix):
    registry = CollectorRegistry()
    build_into(registry, collectors=(name,))

    names = family_names(generate_latest(registry).decode())

    assert f'collector="{name}"' in generate_latest(registry).decode()
    assert all(family.startswith((prefix, "agentgauge_collector_")) for family in names)


def test_an_empty_registry_gets_every_family_of_the_catalogue(build_into):
    registry = CollectorRegistry()
    build_into(registry)

    names = family_names(generate_latest(registry).decode())

    prefixes = ("system_", "process_", "python_gc_", "agentgauge_collector_")
    expected = {family.name for family in catalogue.FAMILIES if family.name.startswith(prefixes)}
    assert set(names) == expected - LEFT_TO_TIME


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


def test_a_family_that_the_program_declared_itself_stays_its_own(build_into):
    registry = CollectorRegistry()
    Gauge("process_threads", "Threads as the program counts them.", registry=registry).set(7)
    build_into(registry)
    assert re.findall(r"^process_threads .*", generate_latest(registry).decode(), re.MULTILINE) == ["process_threads 7.0"]
