"""What is known of components, for people and for probes: plain values that do not change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentgauge.health.status import ComponentType, Schedule, Status
    from agentgauge.notification import Alert, HandlerReport

__all__ = ["ComponentHealth", "ComponentReport", "HealthReport", "HealthSummary", "StatusReport"]


@dataclass(frozen=True, slots=True)
class ComponentReport:
    """What a probe may show of one component.

    Attributes:
        name: What it is called.
        component_type: What kind of thing it is.
        status: How it is.
        message: One sentence, without secrets.
        since: Since when it is so.
        is_required: Whether the program is not ready while it is critical or down.
        checked_at: When the last check ended; None before the first.
    """

    name: str
    component_type: ComponentType
    status: Status
    message: str
    since: datetime
    is_required: bool
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What probes answer from.

    Attributes:
        is_ready: Whether no required component is critical or down, and each of those was looked at, since monitoring began
            where it has. Where ``AGENTGAUGE_DISABLED`` is set none is waited for.
        status: How the program is, as ``HealthSummary.status``.
        components: Every component.
    """

    is_ready: bool
    status: Status
    components: tuple[ComponentReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """All that is known of one component.

    Attributes:
        name: What it is called.
        component_type: What kind of thing it is.
        status: How it is, by the thresholds of its schedule; ``unknown`` before the first finding, and where the last is too old.
        found: What the last check found, which thresholds may keep from being the status; ``unknown`` before the first.
        message: Why, in one sentence.
        condition: The same in a word; empty where it is well.
        error_type: The type of the error behind it.
        suggestions: What to do, the likeliest cause first.
        details: Readings of the last check, by name.
        since: Since when the status is as it is.
        checked_at: When the last check ended; None before the first.
        duration_seconds: How long it took, its retries included; None before the first.
        checks: How many checks there were.
        bad_in_a_row: How many of the last found it warning, critical or down without a break.
        good_in_a_row: How many found it healthy.
        checks_hanging: Checks that are late and have not ended.
        is_flapping: Whether it goes to and fro.
        uptime_ratio: Share of the time for which its status was known in which it was healthy or warning; None before the first.
        schedule: When it is checked, and what its findings mean.
    """

    name: str
    component_type: ComponentType
    status: Status
    found: Status
    message: str
    condition: str
    error_type: str
    suggestions: tuple[str, ...]
    details: Mapping[str, object] = field(hash=False)
    since: datetime
    checked_at: datetime | None
    duration_seconds: float | None
    checks: int
    bad_in_a_row: int
    good_in_a_row: int
    checks_hanging: int
    is_flapping: bool
    uptime_ratio: float | None
    schedule: Schedule

    def __str__(self) -> str:
        message = self.message.removeprefix(f"{self.name}: ")
        said = f": {message}" if message else ""
        lines = [f"{self.name} ({self.component_type}) is {self.status} since {_time(self.since)}{said}"]
        if self.found is not self.status and self.checked_at is not None:
            lines.append(f"  the last check found it {self.found}")
        if self.is_flapping:
            lines.append("  it flaps")
        if self.checks_hanging:
            lines.append(f"  {self.checks_hanging} of its checks hang")
        if self.status != "healthy":
            lines += [f"  - {suggestion}" for suggestion in self.suggestions]
        took = "" if self.duration_seconds is None else f", the last took {self.duration_seconds:.3g} s"
        lines.append(f"  checks: {self.checks}{took}; uptime: {_percentage(self.uptime_ratio)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSummary:
    """How the program is, in few numbers.

    Attributes:
        status: The worst of the required components (down, critical, warning, unknown, healthy); another that is bad makes it
            warning at most. ``unknown`` where nothing is checked.
        since: Since when that is so.
        is_ready: As ``HealthReport.is_ready``.
        healthy_percentage: Share of the components that are healthy, from 0 to 100; each weighs the same, and one that is
            unknown is not healthy. None where nothing is checked.
        uptime_ratio: Share of the time in which components were healthy or warning, of all components together; time in which
            one was unknown counts in neither part. None where nothing was known yet.
        components: How many there are.
        counts: How many have each status.
        flapping: The names of those that go to and fro.
        alerts: How many alerts there are.
        is_monitoring: Whether they are checked on their schedules.
        at: When this was so.
    """

    status: Status
    since: datetime
    is_ready: bool
    healthy_percentage: float | None
    uptime_ratio: float | None
    components: int
    counts: Mapping[Status, int] = field(hash=False)
    flapping: tuple[str, ...]
    alerts: int
    is_monitoring: bool
    at: datetime

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count) or "no components"
        healthy = "" if self.healthy_percentage is None else f" ({self.healthy_percentage:.0f} % healthy)"
        ready = "ready" if self.is_ready else "not ready"
        return (
            f"{self.status} since {_time(self.since)}, {ready}: {counts}{healthy}; uptime: {_percentage(self.uptime_ratio)}"
            + ("" if self.is_monitoring else "; not monitored")
        )


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything that is known now; ``str()`` is for people.

    Attributes:
        summary: How the program is.
        components: Every component, the worst first.
        alerts: What is wrong, the most severe first.
        handlers: How each alert handler did.
    """

    summary: HealthSummary
    components: tuple[ComponentHealth, ...]
    alerts: tuple[Alert, ...]
    handlers: tuple[HandlerReport, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, (self.summary, *self.components)))


def _time(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")


def _percentage(ratio: float | None) -> str:
    return "not known yet" if ratio is None else f"{100 * ratio:.2f} %"
