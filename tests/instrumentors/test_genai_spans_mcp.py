"""Metrics from the spans that MCP makes itself, at both sides of a connection."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client
from mcp.client._memory import InMemoryTransport
from mcp.server import MCPServer
from mcp.shared import _otel
from opentelemetry import trace

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.tracing import span_frames
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation


@pytest.fixture
def kit(fresh: Isolation, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """Listen to the spans of MCP, whose tracer keeps to the provider that it found first."""
    spans.clear()
    monkeypatch.setattr(_otel, "_tracer", trace.get_tracer("mcp-python-sdk"))
    with reraise_internal_errors(), ExitStack() as undo:
        kit = Kit("genai-spans", fresh.recorder, Content(), undo)
        instrument(kit)
        yield kit
        assert not span_frames


@pytest.fixture
def server() -> MCPServer:
    server = MCPServer("sums")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    def fail() -> int:
        raise ValueError

    return server


def calls(fresh: Isolation, name: str, **labels: str) -> float | None:
    return fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name=name, **labels)


@pytest.mark.usefixtures("kit")
async def test_a_server_counts_the_calls_of_its_tools_and_those_that_fail(
    fresh: Isolation, server: MCPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "mcp")
    async with Client(server) as client:
        await client.list_tools()
        for _ in range(2):
            assert not (await client.call_tool("add", {"a": 1, "b": 2})).is_error
        assert (await client.call_tool("fail", {})).is_error

    assert calls(fresh, "add") == 2
    assert calls(fresh, "fail") == 0
    assert calls(fresh, "fail", error_type="tool_error") == 1
    assert fresh.value("agentgauge_events_recorded_total") == 3


@pytest.mark.usefixtures("kit")
async def test_client_and_server_in_one_process_count_a_call_once_with_the_failure_that_only_the_server_knows(
    fresh: Isolation, server: MCPServer, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "mcp")
    async with Client(InMemoryTransport(server)) as client:
        assert not (await client.call_tool("add", {"a": 1, "b": 2})).is_error
        assert (await client.call_tool("fail", {})).is_error

    names = [span.name for span in spans.get_finished_spans()]
    assert {"tools/call add", "MCP send tools/call add"} <= set(names), "both sides make a span"
    assert calls(fresh, "add") == 1
    assert calls(fresh, "fail", error_type="tool_error") == 1
    assert calls(fresh, "fail") == 0
    suppressed = {"instrumentor": "genai-spans", "owner": "mcp-python-sdk", "kind": "tool"}
    assert fresh.value("agentgauge_calls_suppressed_total", **suppressed) == 2


@pytest.mark.parametrize("name", ["add", "sums_add"])
async def test_a_tool_that_a_hook_counts_is_not_counted_again_over_mcp_under_a_prefix_neither(
    fresh: Isolation, server: MCPServer, kit: Kit, name: str
) -> None:
    async with Client(InMemoryTransport(server)) as client:
        hook = Kit("some-hook", fresh.recorder, Content(), kit.undo)
        operation: Any = hook.begin(SeriesKind.TOOL, name)
        await client.call_tool("add", {"a": 1, "b": 2})
        operation.end()
        await client.call_tool("add", {"a": 1, "b": 2})

    total = sum(
        sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == "gen_ai_execute_tool_duration_seconds_count"
    )
    assert total == 2, "one by the hook, one by the call outside of it"
    assert calls(fresh, name) == (2 if name == "add" else 1)
    assert fresh.value("agentgauge_calls_suppressed_total", instrumentor="genai-spans", owner="some-hook", kind="tool") == 2
