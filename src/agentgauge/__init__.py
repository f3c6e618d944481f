"""Prometheus and OpenTelemetry instrumentation for AI agents."""

from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError
from agentgauge.recording.decorators import agent, task, tool, track, workflow
from agentgauge.targets import Objective, Threshold

__version__ = "0.1.0"

__all__ = [
    "AgentgaugeError",
    "Config",
    "ConfigurationError",
    "Objective",
    "Threshold",
    "agent",
    "task",
    "tool",
    "track",
    "workflow",
]
