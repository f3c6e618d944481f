"""What a check says of a component."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_count, require_ratio, require_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

__all__ = ["ComponentType", "Finding", "HealthChecker", "Schedule", "Status"]


class Status(StrEnum):
    """How a component is, in the order of the label's values."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    DOWN = "down"
    UNKNOWN = "unknown"

    @property
    def is_bad(self) -> bool:
        """Whether it counts towards the failure threshold; ``unknown`` is neither bad nor well."""
        return self in {Status.WARNING, Status.CRITICAL, Status.DOWN}


class ComponentType(StrEnum):
    """What kind of thing a component is."""

    AGENT = "agent"
    LM = "lm"
    DATABASE = "database"
    CACHE = "cache"
    SERVICE = "service"
    NETWORK = "network"
    SYSTEM = "system"
    STORAGE = "storage"
    CUSTOM = "custom"


_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        status: How the component is.
        message: One sentence for people, without secrets.
        condition: What is wrong, in a word that does not change from one failure of the kind to the next: ``refused``,
            ``timeout``, ``dns``, ``unreachable``, ``reset``, ``protocol``, ``tls``, ``tls_expiring``, ``status``, ``body``,
            ``auth``, ``permission``, ``rate_limited``, ``model_missing``, ``pool_exhausted``, ``starting``, ``missing``,
            ``locked``, ``row``, ``address``, ``disk_full``, ``not_writable``, ``error_ratio``, ``stuck``, ``stale``, ``queue``,
            ``threshold``, ``unmeasured``, ``slow``, ``failed``, ``error``; empty where it is well.
        error_type: The type of the error behind it; empty where there was none.
        suggestions: What to do, the likeliest cause first.
        details: Readings, by name; JSON can write them, and they bear no secrets.
    """

    status: Status
    message: str = ""
    condition: str = ""
    error_type: str = ""
    suggestions: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=lambda: _NOTHING, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a component is checked, and what its findings mean (Kubernetes' probe settings, with retries within one check).

    Attributes:
        interval_seconds: From the start of one check to that of the next; never two at once, so that a check that takes longer
            than it lets the next wait.
        jitter_ratio: By which share of the interval a check may come later, at random, so that many do not come at once.
        timeout_seconds: How long a check may take, its retries included; one that takes longer found the component down.
        retries: How often a bad finding is looked at again at once before it counts; no more where there is no time left.
        retry_delay_seconds: Between those.
        failure_threshold: How many bad findings in a row make the component's status bad: as bad as all of them are at least.
        success_threshold: How many good ones in a row make it healthy again.
        is_required: Whether the program is not ready (``/readyz``) while the component is critical or down, or was not looked at
            yet. Of one that is not, alerts are warnings at most.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    interval_seconds: float = 30.0
    jitter_ratio: float = 0.1
    timeout_seconds: float = 5.0
    retries: int = 0
    retry_delay_seconds: float = 0.2
    failure_threshold: int = 3
    success_threshold: int = 1
    is_required: bool = True

    def __post_init__(self) -> None:
        require_seconds("interval_seconds", self.interval_seconds, "30")
        require_seconds("timeout_seconds", self.timeout_seconds, "5")
        require_seconds("retry_delay_seconds", self.retry_delay_seconds, "0.2", may_be_zero=True)
        if self.jitter_ratio != 0:
            require_ratio("jitter_ratio", self.jitter_ratio, "0.1, or 0 for none")
        require_count("retries", self.retries, "2", least=0)
        require_count("failure_threshold", self.failure_threshold, "3")
        require_count("success_threshold", self.success_threshold, "1")
        if not isinstance(self.is_required, bool):
            raise ConfigurationError(f"is_required={self.is_required!r}: give True or False")


@runtime_checkable
class HealthChecker(Protocol):
    """What ``SystemHealthMonitor.add_health_checker`` takes: each check of ``agentgauge.health.checks``, or a user's own."""

    @property
    def name(self) -> str:
        """What the component is called; the label ``component``."""
        ...

    @property
    def component_type(self) -> ComponentType:
        """What kind of thing it is."""
        ...

    @property
    def schedule(self) -> Schedule:
        """When it is checked, and what its findings mean."""
        ...

    def check(self) -> Finding | Awaitable[Finding]:
        """Look at the component once: a function, run in a thread of its own, or a coroutine function.

        What it raises is a finding, too: the component is down, for a reason that the error's type and text tell.
        """
        ...
