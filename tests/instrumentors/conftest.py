"""Fixtures of several modules: a framework is imported only where a test asks for its fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.testing import Isolation


@pytest.fixture
def langchain(fresh: Isolation) -> Iterator[Isolation]:
    """Instrument LangChain, and see afterwards that no call is left open."""
    from tests.instrumentors import langchain_programs

    with langchain_programs.instrumented(fresh):
        yield fresh


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the OpenAI Agents SDK a provider without the exporter that would send traces to a server."""
    from agents.tracing import provider, setup

    made = provider.DefaultTraceProvider()
    monkeypatch.setattr(setup, "GLOBAL_TRACE_PROVIDER", made)
    return made


@pytest.fixture
def sdk(fresh: Isolation, offline: object) -> Iterator[Isolation]:
    """Instrument the OpenAI Agents SDK, and see afterwards that no call is left open."""
    from tests.instrumentors import openai_agents_programs

    with openai_agents_programs.instrumented(fresh):
        yield fresh
