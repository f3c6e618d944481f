"""Fixtures of the tests of AgentMetricsCollector."""

from __future__ import annotations

import pytest
from agent_desk import Desk

from agentgauge.recording import intake
from agentgauge.testing import reraise_internal_errors


@pytest.fixture
def loud(monkeypatch):
    """Let faults of agentgauge surface, and let every warning be the first of its kind."""
    monkeypatch.setattr(intake, "_fault_log", intake._FaultLog())
    with reraise_internal_errors():
        yield


@pytest.fixture
def desk():
    """Give a collector on a recorder and a registry of its own."""
    return Desk()
