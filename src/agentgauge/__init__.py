"""Prometheus and OpenTelemetry instrumentation for AI agents."""

import typing as _typing

from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError
from agentgauge.fork_gate import load as _load
from agentgauge.recording.decorators import agent, task, tool, workflow
from agentgauge.targets import Objective, Threshold
from agentgauge.version import __version__

if _typing.TYPE_CHECKING:
    from agentgauge.monitor import start, stop
    from agentgauge.recording.agent_metrics import AgentMetricsCollector
    from agentgauge.recording.fleet import fleet
    from agentgauge.recording.track import track
else:
    # Loaded when first asked for: a program that only decorates its functions does without them.
    _LATE = {
        "AgentMetricsCollector": "agentgauge.recording.agent_metrics",
        "fleet": "agentgauge.recording.fleet",
        "start": "agentgauge.monitor",
        "stop": "agentgauge.monitor",
        "track": "agentgauge.recording.track",
    }

    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(_load(_LATE[name]), name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATE})


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
