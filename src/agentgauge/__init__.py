"""Prometheus and OpenTelemetry instrumentation for AI agents."""

from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError
from agentgauge.monitor import start, stop
from agentgauge.recording.decorators import agent, task, tool, track, workflow
from agentgauge.targets import Objective, Threshold
from agentgauge.version import __version__

__all__ = [
    "AgentgaugeError",
    "Config",
    "ConfigurationError",
    "Objective",
    "Threshold",
    "__version__",
    "agent",
    "start",
    "stop",
    "task",
    "tool",
    "track",
    "workflow",
]
