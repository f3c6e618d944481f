"""Traces as OpenTelemetry's own SDK writes them: read from a file, walked, and told beside what moved."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from agentgauge import cli
from agentgauge.analytics.explain import read_spans
from made_minute import START, write
from span_file import SpanFile


def trace(provider, begin, seconds_of_tool):
    """Let an agent ask a model for a second and then wait for a tool, while a cache is asked beside it."""
    tracer = provider.get_tracer("made")

    def ended(name, parent, start, end, **attributes):
        of = set_span_in_context(parent) if parent else None
        one = tracer.start_span(name, context=of, start_time=int((begin + start) * 1e9), attributes=attributes)
        return one, int((begin + end) * 1e9)

    whole = 1.5 + seconds_of_tool
    agent, agent_end = ended("invoke_agent", None, 0, whole, **{"gen_ai.agent.name": "researcher"})
    parts = (
        ended("chat", agent, 0.25, 1.25, **{"gen_ai.request.model": "big"}),
        ended("execute_tool", agent, 1.25, 1.25 + seconds_of_tool, **{"gen_ai.tool.name": "search"}),
        ended("cache", agent, 0.25, 1.0),
    )
    parts[1][0].set_status(Status(StatusCode.ERROR))
    for one, end in (*parts, (agent, agent_end)):
        one.end(end)


@pytest.fixture
def files(tmp_path):
    """What two exporters wrote of the same traces: the SDK's own, and that of the examples."""
    provider = TracerProvider()
    with (tmp_path / "console.json").open("w") as console:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=console)))
        provider.add_span_processor(SimpleSpanProcessor(SpanFile(tmp_path / "spans.jsonl")))
        trace(provider, START + 2, 9.0)  # before the window, and slower than all in it
        for second in range(20, 28):
            trace(provider, START + second, 2.0 if second == 23 else 0.5)
        provider.shutdown()
    return tmp_path / "console.json", tmp_path / "spans.jsonl"


def test_both_exporters_spans_are_read_and_are_the_same(files):
    console, lines = (read_spans(file) for file in files)
    assert len(console) == len(lines) == 9 * 4
    for one, other in zip(console, lines, strict=True):
        assert int(one.trace_id, 16) == int(other.trace_id, 16)
        assert int(one.span_id, 16) == int(other.span_id, 16)
        assert (one.parent_id is None) == (other.parent_id is None)
        assert one.start == pytest.approx(other.start, abs=1e-5)
        assert one.end == pytest.approx(other.end, abs=1e-5)
        assert other.attributes.items() <= one.attributes.items()
        assert one.is_error == other.is_error == (one.name == "execute_tool")
    assert console[0].attributes["service.name"]


@pytest.mark.parametrize("which", [0, 1], ids=["console exporter", "examples"])
def test_the_command_walks_the_slowest_traces_of_the_window_and_no_other(files, which, tmp_path, capsys):
    write(tmp_path / "history.db", 30, slow_from=18)
    words = ["--source", str(tmp_path / "history.db"), "--since", "2023-11-14T00:00:00Z", "--json"]
    assert cli.main(["explain", *words, "--traces", str(files[which])]) == 0
    section = json.loads(capsys.readouterr().out)["sections"]["critical_path"]
    (told,) = section["sentences"]
    assert "The slowest 8 of 8 traces" in told, "the trace before the window is none of it"
    rows = {
        (row["operation"], row["agent"], row["model"], row["tool"]): row["seconds"]
        for row in section["tables"]["critical_path"]["rows"]
    }
    assert rows == {
        ("chat", "researcher", "big", ""): pytest.approx(8.0, abs=1e-3),
        ("execute_tool", "researcher", "", "search"): pytest.approx(7 * 0.5 + 2.0, abs=1e-3),
        ("invoke_agent", "researcher", "", ""): pytest.approx(8 * 0.5, abs=1e-3),
    }, "the cache was asked beside the model: nobody waited for it"


def test_spans_of_another_time_are_said_to_be_so(files, tmp_path, capsys):
    write(tmp_path / "history.db", 60)
    words = ["--source", str(tmp_path / "history.db"), "--since", "2023-11-14T00:00:00Z", "--window", "15s"]
    assert cli.main(["explain", *words, "--traces", str(files[1])]) == 0
    assert "none of the spans given is of a trace that ended in the window" in " ".join(capsys.readouterr().out.split())
