"""The checks that come with agentgauge: a frozen dataclass for each kind of thing that is checked."""

from agentgauge.health.checks.agent_calls import AgentCheck
from agentgauge.health.checks.database import DatabaseCheck
from agentgauge.health.checks.disk import DiskWritableCheck
from agentgauge.health.checks.function import FunctionCheck
from agentgauge.health.checks.http_endpoint import HttpCheck
from agentgauge.health.checks.lm_endpoint import LmCheck
from agentgauge.health.checks.network import DnsCheck, TcpCheck
from agentgauge.health.checks.redaction import redact
from agentgauge.health.checks.redis_server import RedisCheck
from agentgauge.health.checks.resources import SystemResourcesCheck

__all__ = [
    "AgentCheck",
    "DatabaseCheck",
    "DiskWritableCheck",
    "DnsCheck",
    "FunctionCheck",
    "HttpCheck",
    "LmCheck",
    "RedisCheck",
    "SystemResourcesCheck",
    "TcpCheck",
    "redact",
]
