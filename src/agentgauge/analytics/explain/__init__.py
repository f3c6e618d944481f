"""What moved in a window, what of it is a likely cause and what a symptom, and where the slowest traces spent their time."""

from agentgauge.analytics.explain.alert import AlertWindow, window_of_alert
from agentgauge.analytics.explain.critical_path import CriticalPath, Share, critical_path
from agentgauge.analytics.explain.explained import explain
from agentgauge.analytics.explain.explanation import Cause, Explanation, Role
from agentgauge.analytics.explain.spans import Span, read_spans

__all__ = [
    "AlertWindow",
    "Cause",
    "CriticalPath",
    "Explanation",
    "Role",
    "Share",
    "Span",
    "critical_path",
    "explain",
    "read_spans",
    "window_of_alert",
]
