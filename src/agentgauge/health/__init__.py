"""Health: checks of components on a schedule, what they found, and who is told.

``SystemHealthMonitor`` needs no ``agentgauge.start()`` and no Prometheus.
"""

from agentgauge.health.begun import Begun
from agentgauge.health.checks import (
    AgentCheck,
    DatabaseCheck,
    DiskWritableCheck,
    DnsCheck,
    FunctionCheck,
    HttpCheck,
    LmCheck,
    RedisCheck,
    SystemResourcesCheck,
    TcpCheck,
)
from agentgauge.health.course import HealthRecord
from agentgauge.health.monitor import SystemHealthMonitor
from agentgauge.health.report import ComponentHealth, ComponentReport, HealthReport, HealthSummary, StatusReport
from agentgauge.health.status import ComponentType, Finding, HealthChecker, Schedule, Status

__all__ = [
    "AgentCheck",
    "Begun",
    "ComponentHealth",
    "ComponentReport",
    "ComponentType",
    "DatabaseCheck",
    "DiskWritableCheck",
    "DnsCheck",
    "Finding",
    "FunctionCheck",
    "HealthChecker",
    "HealthRecord",
    "HealthReport",
    "HealthSummary",
    "HttpCheck",
    "LmCheck",
    "RedisCheck",
    "Schedule",
    "Status",
    "StatusReport",
    "SystemHealthMonitor",
    "SystemResourcesCheck",
    "TcpCheck",
]
