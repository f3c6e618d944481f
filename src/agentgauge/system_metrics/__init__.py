"""Readings of the machine inside the program: current, over time, judged by thresholds, told to handlers.

``SystemMetricsManager`` needs no ``agentgauge.start()`` and no Prometheus.
"""

from agentgauge.notification import Alert, AlertHandler, Event, HandlerReport, Notification
from agentgauge.system_metrics.health import Deduction, HealthScore
from agentgauge.system_metrics.manager import SystemMetricsManager
from agentgauge.system_metrics.readings import MetricPoint
from agentgauge.system_metrics.summary import MetricSummary, PerformanceSummary
from agentgauge.targets import Threshold

__all__ = [
    "Alert",
    "AlertHandler",
    "Deduction",
    "Event",
    "HandlerReport",
    "HealthScore",
    "MetricPoint",
    "MetricSummary",
    "Notification",
    "PerformanceSummary",
    "SystemMetricsManager",
    "Threshold",
]
