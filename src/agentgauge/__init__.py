"""Prometheus and OpenTelemetry instrumentation for AI agents."""

from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError
from agentgauge.monitor import start, stop
from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.decorators import agent, task, tool, track, workflow
from agentgauge.recording.fleet import fleet
from agentgauge.targets import Objective, Threshold
from agentgauge.version import __version__

__all__ = [
    "AgentMetricsCollector",
    "AgentgaugeError",
    "Config",
    "ConfigurationError",
    "Objective",
    "Threshold",
    "__version__",
    "agent",
    "fleet",
    "start",
    "stop",
    "task",
    "tool",
    "track",
    "workflow",
]
