"""What findings change: the status of a component and of the program, series, and alerts that are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.health.overview import Overall, overall_status
from agentgauge.health.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.health.component import Component
    from agentgauge.health.series import Series
    from agentgauge.health.status import Finding
    from agentgauge.notification import Alert, Notifier

__all__ = ["Verdicts"]

_STALE = "nothing is known of it any more: no check of it has ended for too long"


class Verdicts:
    """Not for several threads at once.

    Args:
        series: Where it is shown.
        notifier: Who is told.
        wall_clock: Unix time.

    Attributes:
        components: All there are.
    """

    def __init__(self, series: Series, notifier: Notifier, wall_clock: Callable[[], float]) -> None:
        self.components: tuple[Component, ...] = ()
        self._series = series
        self._notifier = notifier
        self._wall_clock = wall_clock
        self._overall = Overall(Status.UNKNOWN, wall_clock())

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts there are, the most severe first."""
        active = (alert for component in self.components for alert in component.book.active)
        return tuple(sorted(active, key=lambda alert: (-alert.urgency, alert.started_at, alert.subject)))

    def take(self, component: Component, finding: Finding, now: float, duration_seconds: float | None) -> None:
        """Take in what a check found.

        Args:
            component: Of what.
            finding: What.
            now: When the check ended, by the clock that never goes back.
            duration_seconds: How long it took; None where it was not begun.
        """
        self.expire(component, now)
        component.has_answered = True
        status = component.course.take(finding, now, self._wall_clock(), duration_seconds or 0.0)
        self._series.note_check(component, finding.status, duration_seconds)
        if status is not None:
            self._series.note_transition(component, status)
            self.overall(now)
        self._judge(component)

    def expire(self, component: Component, now: float) -> None:
        """Let nothing be known of a component whose last finding is too old."""
        if component.course.expire(now):
            self._series.note_transition(component, Status.UNKNOWN)
            self.overall(now)
            self._judge(component, _STALE)

    def overall(self, now: float) -> Overall:
        """Return how the program is by ``now``, and since when."""
        status = overall_status(self.components, now)
        if status is not self._overall.status:
            self._overall = Overall(status, self._wall_clock())
        return self._overall

    def close(self, component: Component, reason: str) -> None:
        """End the alerts of a component, and tell why."""
        self._tell(component, (), reason)

    def _judge(self, component: Component, reason: str = "") -> None:
        alerts = component.concern.alerts(component.course.standing, self._wall_clock())
        if alerts or component.book.active:
            self._tell(component, alerts, reason)

    def _tell(self, component: Component, alerts: tuple[Alert, ...], reason: str) -> None:
        """Tell what changed; ``reason`` is why an alert ended, where it is not that the component is well."""
        before, standing = component.book.active, component.course.standing
        reasons: dict[tuple[object, ...], str] = {alert.key: reason for alert in before if reason}
        endings = () if reason else [component.concern.ending(alert, standing) for alert in before]
        told = component.book.update(alerts, self._wall_clock(), reasons, endings)
        self._notifier.tell(told)  # under the caller's lock, so that what comes later is told later
