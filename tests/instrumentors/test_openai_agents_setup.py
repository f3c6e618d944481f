"""The OpenAI Agents SDK: instrumented and given back, beside what the user sets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import agents
import pytest
from agents import (
    Runner,
    TracingProcessor,
)
from agents.run_internal import run_loop, tool_execution
from agents.tracing import provider, setup
from agents.tracing import spans as sdk_spans
from prometheus_client import CollectorRegistry

import agentgauge
from agentgauge.instrumentors import roster
from agentgauge.instrumentors.content import Content
from tests.instrumentors.openai_agents_programs import (
    ListModel,
    adder,
    check_adder,
    instrumented,
)

if TYPE_CHECKING:
    from agentgauge.testing import Isolation


pytestmark = pytest.mark.usefixtures("offline")


class Listener(TracingProcessor):
    """A processor of the user's."""

    def __init__(self) -> None:
        self.ended = 0

    def on_trace_start(self, trace: Any) -> None: ...
    def on_trace_end(self, trace: Any) -> None: ...
    def on_span_start(self, span: Any) -> None: ...

    def on_span_end(self, span: Any) -> None:
        self.ended += 1

    def shutdown(self) -> None: ...
    def force_flush(self) -> None: ...


async def test_processors_that_the_user_sets_afterwards_work_beside_ours(
    fresh: Isolation, offline: provider.DefaultTraceProvider
) -> None:
    listener = Listener()
    with instrumented(fresh):
        agents.set_trace_processors([listener])
        await Runner.run(adder()[0], "x")
        check_adder(fresh)
    assert listener.ended == 5  # the run, the agent, two turns, a tool
    assert offline._multi_processor._processors == (listener,)


async def test_a_provider_that_is_made_afterwards_is_listened_to_and_none_is_made_for_us(
    fresh: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "GLOBAL_TRACE_PROVIDER", None)
    with instrumented(fresh):
        assert setup.GLOBAL_TRACE_PROVIDER is None
        agents.set_trace_provider(provider.DefaultTraceProvider())
        await Runner.run(adder()[0], "x")
        check_adder(fresh)


async def test_undoing_takes_back_the_processor_and_every_patch(fresh: Isolation, offline: provider.DefaultTraceProvider) -> None:
    owners: tuple[Any, ...] = (
        provider.DefaultTraceProvider,
        provider.SynchronousMultiTracingProcessor,
        sdk_spans.SpanImpl,
        sdk_spans.NoOpSpan,
        run_loop,
        tool_execution._FunctionToolBatchExecutor,
        ListModel,
    )
    before = [dict(vars(owner)) for owner in owners]
    with instrumented(fresh):
        await Runner.run(adder()[0], "x")
        assert all(dict(vars(owner)) != then for owner, then in zip(owners, before, strict=True))
    assert [dict(vars(owner)) for owner in owners] == before
    assert offline._multi_processor._processors == ()
    await Runner.run(adder()[0], "x")
    check_adder(fresh)


async def test_it_is_instrumented_by_start_and_given_back_by_stop(fresh: Isolation) -> None:
    agentgauge.start(registry=CollectorRegistry(), instrumentors=("openai-agents",), is_server_enabled=False, collectors=())
    try:
        await Runner.run(adder()[0], "x")
    finally:
        agentgauge.stop()
    await Runner.run(adder()[0], "x")
    check_adder(fresh)
    assert fresh.value("agentgauge_instrumentor_active", instrumentor="openai-agents") == 0


def missing(_: str) -> str:
    """Stand for ``version`` where nothing is installed."""
    raise roster.PackageNotFoundError


def test_asked_for_by_name_and_missing_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "version", missing)
    with pytest.raises(agentgauge.ConfigurationError, match=r"pip install 'agentgauge\[openai-agents\]'"):
        agentgauge.start(instrumentors=("openai-agents",), is_server_enabled=False, collectors=())


def test_missing_and_not_asked_for_it_is_passed_over_in_silence(
    fresh: Isolation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    framework = roster.FRAMEWORKS["openai-agents"]
    monkeypatch.setattr(roster, "FRAMEWORKS", {"openai-agents": framework})
    monkeypatch.setattr(roster, "version", missing)
    monkeypatch.delitem(sys.modules, framework.module)
    instrumentation = roster.Instrumentation(fresh.recorder, Content())
    instrumentation.start()
    instrumentation.stop()
    assert caplog.records == []
    assert fresh.value("agentgauge_instrumentor_active", instrumentor="openai-agents") is None
