"""``SystemResourcesCheck``: the machine's readings are within their thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load
from agentgauge.health.checks.settings import NamedCheck
from agentgauge.health.status import ComponentType, Finding, Status
from agentgauge.targets import Threshold, require_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.notification import Alert
    from agentgauge.system_metrics import SystemMetricsManager

__all__ = ["SystemResourcesCheck"]

_STATUSES = {"critical": Status.CRITICAL, "warning": Status.WARNING}
_MOST_TOLD = 3
_SUGGESTIONS = (
    ("_cpu_", "Find what uses the CPU (top, py-spy): too many workers, a loop that never ends, a neighbour on the machine."),
    ("_memory_", "Find what holds the memory (ps, tracemalloc): a cache without a limit, batches that are too large, a leak."),
    ("_filesystem_", "Find what fills the disk (du -x): logs, caches and checkpoints first."),
    ("_fds", "Find what is not closed (lsof -p): connections and files that are opened for each call."),
    ("_event_loop_", "Find what blocks the event loop: calls for plain threads in a coroutine (asyncio's debug mode tells)."),
    ("hw_", "Look at the device (nvidia-smi): its load, its cooling, other processes on it."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemResourcesCheck(NamedCheck):
    """No reading of the machine breaches a threshold: one of severity warning is a warning, one that is critical is critical.

    A threshold's time to hold, its samples and its hysteresis count, from check to check. What no threshold has a reading of is
    unknown, never well.

    Attributes:
        thresholds: The limits; ``agentgauge.targets.DEFAULT_THRESHOLDS`` (CPU, memory, file systems) unless given.
        manager: Reads and judges; with one that the program has already nothing is read twice, and its own thresholds hold.
            Unless given the check makes one, which makes a pass at each check.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.SYSTEM
    thresholds: Iterable[Threshold] | None = None
    manager: SystemMetricsManager | None = field(default=None, repr=False, hash=False)
    _made: list[SystemMetricsManager] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        if self.manager is not None and self.thresholds is not None:
            raise ConfigurationError("thresholds: those of the manager hold; give one of thresholds and manager")
        if self.manager is not None and not callable(getattr(self.manager, "get_active_alerts", None)):
            raise ConfigurationError(f"manager: give a SystemMetricsManager, not a {type(self.manager).__name__}")
        if self.thresholds is not None:
            example = "Threshold('system_memory_utilization_ratio', 0.9)"
            checked = require_list("thresholds", self.thresholds, Threshold, example)
            if not checked:
                raise ConfigurationError(f"thresholds: there is none; give at least one, such as {example}, or leave it out")
            object.__setattr__(self, "thresholds", checked)

    def check(self) -> Finding:
        """Read, or look at the last reading of a manager that collects, and judge."""
        manager = self.manager or self._own()
        manager.get_current_metrics()
        alerts = manager.get_active_alerts()
        score = manager.get_system_health_score()
        worst = next((_STATUSES[alert.severity] for alert in alerts if alert.severity in _STATUSES), Status.HEALTHY)
        details: dict[str, Any] = {"score": score.points, "alerts": [alert.summary for alert in alerts]}
        if score.unmeasured:
            details["unmeasured"] = list(score.unmeasured)
        if worst is not Status.HEALTHY:
            return _breached(worst, alerts, details)
        if not score.measured:
            return Finding(
                status=Status.UNKNOWN,
                message=f"{self.name}: nothing is read of {', '.join(score.unmeasured) or 'any threshold'}",
                condition="unmeasured",
                suggestions=(
                    "The metric's name in the threshold is misspelt, or its collector does not run here (AGENTGAUGE_COLLECTORS).",
                    "A manager that has only just started has read nothing yet.",
                ),
                details=details,
            )
        return Finding(
            status=Status.HEALTHY, message=f"{self.name}: {len(score.measured)} metrics are within their limits", details=details
        )

    def _own(self) -> SystemMetricsManager:
        if not self._made:
            self._made.append(load("agentgauge.system_metrics").SystemMetricsManager(thresholds=self.thresholds))
        return self._made[0]


def _breached(status: Status, alerts: Iterable[Alert], details: dict[str, Any]) -> Finding:
    told = [alert.summary for alert in alerts if alert.severity in _STATUSES]
    more = f", and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    subjects = [alert.subject for alert in alerts if alert.severity in _STATUSES]
    suggestions = tuple(dict.fromkeys(text for subject in subjects for part, text in _SUGGESTIONS if part in subject)) or (
        "Look at what makes this reading, and whether the limit is right.",
    )
    return Finding(
        status=status,
        message="; ".join(told[:_MOST_TOLD]) + more,
        condition="threshold",
        suggestions=suggestions,
        details=details,
    )
