"""What doctor says of the tracer provider, without which some frameworks show nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agentgauge import task

MISSING = "No tracer provider is set: frameworks that show by GenAI spans alone are not counted"


@task("greet")
def greet():
    pass


@pytest.mark.parametrize(
    "name",
    [
        "pydantic-ai",
        "pydantic_ai_slim",
        "google-adk",
        "autogen-core",
        "autogen-agentchat",
        "opentelemetry-instrumentation-genai-openai",
    ],
)
def test_what_shows_by_spans_alone_is_warned_of_without_a_provider(visit, install, name):
    install(name, "1.2")
    finding = visit()["tracer-provider"]
    assert (finding["status"], finding["title"]) == ("warn", MISSING)
    assert finding["evidence"].endswith(f"; installed here: {name.replace('_', '-')} 1.2")
    assert "trace.set_tracer_provider(TracerProvider())" in finding["fix"]


def test_a_provider_that_is_set_is_seen(visit, install, spans):
    install("pydantic-ai-slim", "1.2")
    finding = visit(instrumentors=None)["tracer-provider"]
    assert (finding["status"], finding["title"]) == ("ok", "The program has set a tracer provider")
    assert finding["evidence"] == "agentgauge_sampled_traces_ratio = 1, genai-spans: active, 0 calls"


def test_a_provider_that_nobody_listens_to_shows_by_exemplars(visit, install, spans):
    install("pydantic-ai-slim", "1.2")
    greet()
    assert visit()["tracer-provider"]["status"] == "ok"


def test_where_nothing_needs_a_provider_none_is_missed(visit):
    finding = visit()["tracer-provider"]
    assert (finding["status"], finding["title"]) == ("ok", "No tracer provider is set, and nothing needs one")


def test_mcp_alone_may_be_there_for_the_sake_of_another_framework(visit, install):
    install("mcp", "2.3")
    finding = visit()["tracer-provider"]
    assert (finding["status"], finding["fix"][:27]) == ("unknown", "Where the program uses them")


@pytest.mark.parametrize(
    ("instrumentors", "status"), [("genai-spans", "warn"), ("dspy,genai-spans", "warn"), ("dspy", "ok"), ("none", "ok")]
)
def test_who_names_the_frameworks_says_whether_a_provider_is_needed(visit, install, monkeypatch, instrumentors, status):
    install("mcp", "2.3")
    monkeypatch.setenv("AGENTGAUGE_INSTRUMENTORS", instrumentors)
    assert visit()["tracer-provider"]["status"] == status


def test_beside_a_framework_that_is_at_work_it_is_unknown_whether_another_one_is_missed(doctor, install, answering):
    install("pydantic-ai", "1.2")
    page = b'agentgauge_build_info{version="1"} 1\nagentgauge_instrumentor_calls_total{instrumentor="dspy"} 4\n'
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    assert doctor("--url", f"{url}/metrics")["tracer-provider"]["status"] == "unknown"


def test_spans_of_which_none_is_a_genai_call_are_not_taken_for_calls(visit, spans):
    finding = visit(instrumentors=("genai-spans",))["instrumentors"]
    assert (finding["status"], finding["title"]) == ("unknown", "Spans are listened to, and none was of a GenAI call")
    assert finding["evidence"] == "genai-spans: active, 0 calls"
    assert finding["fix"]


PYDANTIC_AI = """
import sys
import agentgauge
print(agentgauge.start(port=0, instrumentors=("genai-spans",)).url, flush=True)
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
if sys.argv[1] == "with":
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
Agent.instrument_all()
Agent(TestModel(), name="clerk").run_sync("hello")
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("provider", "status"), [("without", "warn"), ("with", "ok")])
def test_a_program_of_pydantic_ai_is_told_of_the_provider_and_counted_with_it(provider, status):
    with subprocess.Popen([sys.executable, "-c", PYDANTIC_AI, provider], stdin=-1, stdout=-1, text=True) as program:
        url, done = (program.stdout.readline().strip() for _ in range(2))
        assert done == "done"
        command = [sys.executable, "-m", "agentgauge", "doctor", "--json", "--url", url]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        program.stdin.close()
    found = {each["check"]: each for each in json.loads(said.stdout)["findings"]}
    assert found["tracer-provider"]["status"] == status
    assert "pydantic-ai-slim" in found["tracer-provider"]["evidence"] or status == "ok"
    assert found["tracer-provider"]["evidence"].startswith(
        "agentgauge_sampled_traces_ratio = absent"
        if status == "warn"
        else "agentgauge_sampled_traces_ratio = 1, genai-spans: active, 2"
    )
