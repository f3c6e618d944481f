"""Reports, put together from what is known of components."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentgauge.health.course import worse_first
from agentgauge.health.report import ComponentHealth, ComponentReport, HealthReport, HealthSummary
from agentgauge.health.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentgauge.health.component import Component
    from agentgauge.health.course import Uptime

__all__ = ["Overall", "component_health", "health_report", "is_ready", "overall_status", "summarize"]

_OUT = {Status.CRITICAL, Status.DOWN}
_FORGOTTEN = "not checked yet, and nobody monitors it: call start_monitoring()"


@dataclass(frozen=True, slots=True)
class Overall:
    """How the program is, and since when, in Unix time."""

    status: Status
    since: float


def overall_status(components: Iterable[Component], now: float) -> Status:
    """Return the worst status of the required components; another that is bad makes it warning at most."""
    statuses = []
    for component in components:
        status = component.course.standing.status_at(now)
        if component.schedule.is_required:
            statuses.append(status)
        else:
            statuses.append(Status.WARNING if status.is_bad else Status.HEALTHY)
    return min(statuses, key=worse_first, default=Status.UNKNOWN)


def is_ready(components: Iterable[Component], now: float, *, is_awaited: bool) -> bool:
    """Tell whether no required component keeps the program from its work.

    Args:
        components: All there are.
        now: By the clock that never goes back.
        is_awaited: Whether one that nobody has looked at does; not where everything is disabled, and nobody ever will.
    """
    return not any(
        component.course.standing.status_at(now) in _OUT or (is_awaited and not component.has_answered)
        for component in components
        if component.schedule.is_required
    )


def health_report(components: Sequence[Component], now: float, *, is_monitoring: bool, is_awaited: bool) -> HealthReport:
    """Return what probes answer from; takes no lock."""
    is_forgotten = is_awaited and not is_monitoring
    return HealthReport(
        is_ready(components, now, is_awaited=is_awaited),
        overall_status(components, now),
        tuple(_component_report(component, now, is_forgotten=is_forgotten) for component in components),
    )


def _component_report(component: Component, now: float, *, is_forgotten: bool) -> ComponentReport:
    standing = component.course.standing
    is_new = standing.checked_at is None
    return ComponentReport(
        name=component.name,
        component_type=component.type,
        status=standing.status_at(now),
        message=_FORGOTTEN if is_new and is_forgotten else _message(component, now),
        since=as_time(standing.since_at(now)),
        is_required=component.schedule.is_required,
        checked_at=_time_or_none(standing.checked_at),
    )


def component_health(component: Component, now: float) -> ComponentHealth:
    """Return all that is known of one component; to be asked under the lock of whoever keeps it."""
    standing = component.course.standing
    cause = standing.cause
    return ComponentHealth(
        name=component.name,
        component_type=component.type,
        status=standing.status_at(now),
        found=standing.found.status,
        message=_message(component, now),
        condition=cause.condition,
        error_type=cause.error_type,
        suggestions=cause.suggestions,
        details=standing.found.details,
        since=as_time(standing.since_at(now)),
        checked_at=_time_or_none(standing.checked_at),
        duration_seconds=standing.duration_seconds,
        checks=standing.checks,
        bad_in_a_row=standing.bad_in_a_row,
        good_in_a_row=standing.good_in_a_row,
        checks_hanging=len(component.behind),
        is_flapping=standing.is_flapping,
        uptime_ratio=component.course.uptime(now).ratio,
        schedule=component.schedule,
    )


def _message(component: Component, now: float) -> str:
    standing = component.course.standing
    is_too_old = standing.checked_at is not None and standing.status_at(now) is Status.UNKNOWN
    if not is_too_old or standing.found.status is Status.UNKNOWN:
        return standing.cause.message
    last = f"; the last found it {standing.found.status}"
    return f"no check of it has ended for too long{last}" + (f": {standing.found.message}" if standing.found.message else "")


def summarize(
    components: Sequence[Component],
    overall: Overall,
    now: float,
    at: float,
    *,
    alerts: int,
    is_monitoring: bool,
    is_awaited: bool,
) -> HealthSummary:
    """Sum up; to be asked under the lock of whoever keeps the components."""
    counted = Counter(component.course.standing.status_at(now) for component in components)
    uptimes: list[Uptime] = [component.course.uptime(now) for component in components]
    known = sum(uptime.known_seconds for uptime in uptimes)
    return HealthSummary(
        status=overall.status,
        since=as_time(overall.since),
        is_ready=is_ready(components, now, is_awaited=is_awaited),
        healthy_percentage=100 * counted[Status.HEALTHY] / len(components) if components else None,
        uptime_ratio=sum(uptime.up_seconds for uptime in uptimes) / known if known > 0 else None,
        components=len(components),
        counts={status: counted[status] for status in Status},
        flapping=tuple(component.name for component in components if component.course.standing.is_flapping),
        alerts=alerts,
        is_monitoring=is_monitoring,
        at=as_time(at),
    )


def _time_or_none(at: float | None) -> datetime | None:
    return None if at is None else as_time(at)


def as_time(at: float) -> datetime:
    """Return a Unix time with its time zone."""
    return datetime.fromtimestamp(at, UTC)
