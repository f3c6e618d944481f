"""What ``opentelemetry-instrument`` finds of agentgauge, driven as its auto-instrumentation does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from importlib.metadata import distribution, entry_points

import pytest

from agentgauge import monitor
from agentgauge.entry_point import AgentgaugeInstrumentor

# What opentelemetry.instrumentation.auto_instrumentation does for each instrumentor, when its distro has set the provider.
AUTO_INSTRUMENTED = """
from importlib.metadata import entry_points
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
for entry_point in entry_points(group="opentelemetry_instrumentor", name="agentgauge"):
    entry_point.load()().instrument(skip_dep_check=True)

import urllib.request
import agentgauge
from agentgauge import agent

@agent("scout")
def scout(): pass

scout()
monitor = agentgauge.start()
page = urllib.request.urlopen(monitor.url).read().decode()
print([line for line in page.splitlines() if line.startswith("gen_ai_invoke_agent_duration_seconds_count")])
print([span.name for span in exporter.get_finished_spans()], trace.get_tracer_provider() is provider)
"""


@pytest.fixture
def instrumentor(monkeypatch):
    """The instrumentor as the auto-instrumentation loads it, with settings that leave this process as it was."""
    for name in [name for name in os.environ if name.startswith("AGENTGAUGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTGAUGE_IS_SERVER_ENABLED", "false")
    monkeypatch.setenv("AGENTGAUGE_INSTRUMENTORS", "none")
    [entry_point] = entry_points(group="opentelemetry_instrumentor", name="agentgauge")
    instrumentor = entry_point.load()()
    yield instrumentor
    instrumentor.uninstrument()


def test_the_entry_point_starts_agentgauge_and_stops_it(instrumentor):
    assert instrumentor.instrument(skip_dep_check=True) is None
    running = monitor._running
    assert running is not None
    assert instrumentor.instrument(skip_dep_check=True, raise_exception_on_conflict=True) is None
    assert monitor._running is running
    instrumentor.uninstrument()
    assert monitor._running is None


def test_there_is_one_instrumentor_and_it_depends_on_nothing(instrumentor):
    assert AgentgaugeInstrumentor() is instrumentor
    assert instrumentor.instrumentation_dependencies() == ()


def test_a_wrong_setting_is_logged_and_reaches_nobody(instrumentor, monkeypatch, caplog):
    monkeypatch.setenv("AGENTGAUGE_PORT", "many")
    with caplog.at_level(logging.ERROR, "agentgauge"):
        instrumentor.instrument(skip_dep_check=True)
    assert [(record.name, record.levelname, record.exc_info) for record in caplog.records] == [("agentgauge", "ERROR", None)]
    assert "AGENTGAUGE_PORT='many'" in caplog.text
    assert monitor._running is None


def test_a_program_that_is_auto_instrumented_is_measured_and_keeps_its_provider():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTGAUGE_", "OTEL_"))}
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", AUTO_INSTRUMENTED],
        check=False,
        env={**environment, "AGENTGAUGE_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    metrics, spans = ended.stdout.splitlines()
    assert metrics == """['gen_ai_invoke_agent_duration_seconds_count{gen_ai_agent_name="scout"} 1']"""
    assert spans == "['invoke_agent scout'] True"
    assert (ended.stderr.count("\n"), ended.returncode) == (1, 0)


def test_the_options_of_run_win_where_auto_instrumentation_started_agentgauge_before(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import agentgauge\nprint(agentgauge.start().config.service_name, agentgauge.start().url)\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTGAUGE_", "OTEL_"))}
    script = f"""
from agentgauge.cli import main
from agentgauge.entry_point import AgentgaugeInstrumentor
AgentgaugeInstrumentor().instrument(skip_dep_check=True)
main(["run", "--service-name", "option", "--no-server", {str(program)!r}])
"""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        check=False,
        env={**environment, "AGENTGAUGE_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stdout, ended.returncode) == ("option None\n", 0)


def test_the_command_is_installed_under_its_name():
    commands = {entry.name: entry.value for entry in distribution("agentgauge").entry_points if entry.group == "console_scripts"}
    assert commands == {"agentgauge": "agentgauge.cli:main"}
