"""What there is to say of a component to those who are told of alerts.

While it flaps, that is told once, and its alert is held: it neither ends nor becomes milder until the component has settled, and
what begins or becomes worse is told at once. Nagios tells nothing at all meanwhile, which would keep an outage to itself.

An alert whose condition changes while the status stays (``refused``, then ``auth``) is another alert only once that was found
``failure_threshold`` times in a row, as for the status: one time-out in an outage is no news.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentgauge.health.flapping import WINDOW
from agentgauge.health.status import Status
from agentgauge.notification import Alert

if TYPE_CHECKING:
    from agentgauge.health.course import Standing
    from agentgauge.health.status import ComponentType, Finding
    from agentgauge.targets import Severity

__all__ = ["Concern"]

_SOURCE = "health"
_FLAPPING = "flapping"
_SEVERITIES: dict[Status, Severity] = {Status.WARNING: "warning", Status.CRITICAL: "critical", Status.DOWN: "critical"}
_CALM = (
    "See what it found, check by check, in its history: get_component_health_history().",
    "Raise timeout_seconds or retries of its schedule where it is well and the check is not.",
)


class Concern:
    """The alerts of one component, which go on from one finding to the next.

    Args:
        name: The component's.
        component_type: Its type.
        is_required: Whether the program needs it; its alerts are warnings at most where not.
    """

    def __init__(self, name: str, component_type: ComponentType, *, is_required: bool = True) -> None:
        self._name = name
        self._labels = {"component_type": component_type.value}
        self._is_required = is_required
        self._held: Alert | None = None
        self._held_status = Status.UNKNOWN

    def alerts(self, standing: Standing, at: float) -> tuple[Alert, ...]:
        """Return what is wrong with it.

        Args:
            standing: What is known of it.
            at: The time, in Unix time.
        """
        alert = self._of_status(standing, at) if standing.is_confirmed else None
        if self._is_held(alert, standing):
            alert = self._held
        else:
            self._held, self._held_status = alert, standing.status
        flapping = self._of_flapping(standing, at) if standing.is_flapping else None
        return tuple(each for each in (alert, flapping) if each is not None)

    def ending(self, alert: Alert, standing: Standing) -> Alert:
        """Return an alert that ended since the component is well, or has settled, in the words that say so."""
        if alert.identity == _FLAPPING:
            summary = f"{self._name} flaps no more: {_changes(standing)}"
        else:
            summary = f"{self._name} is healthy again"
            if standing.found.status is Status.HEALTHY:
                summary = self._with_message(summary, standing.found)
        return replace(alert, summary=summary, suggestions=())

    def _is_held(self, alert: Alert | None, standing: Standing) -> bool:
        held = self._held
        if held is None:
            return False
        if alert is None:
            return standing.is_flapping
        if alert.urgency != held.urgency:
            return standing.is_flapping and alert.urgency < held.urgency
        if alert.condition == held.condition:
            return False
        return standing.is_flapping or (standing.status is self._held_status and not standing.is_cause_confirmed)

    def _with_message(self, summary: str, finding: Finding) -> str:
        message = finding.message.removeprefix(f"{self._name}: ")
        return f"{summary}: {message}" if message else summary

    def _of_status(self, standing: Standing, at: float) -> Alert:
        cause = standing.cause
        return Alert(
            source=_SOURCE,
            subject=self._name,
            labels=self._labels,
            severity=_SEVERITIES[standing.status] if self._is_required else "warning",
            summary=self._with_message(f"{self._name} is {_WORDS[standing.status]}", cause),
            started_at=at,
            condition=cause.condition,
            error_type=cause.error_type,
            suggestions=cause.suggestions,
        )

    def _of_flapping(self, standing: Standing, at: float) -> Alert:
        return Alert(
            source=_SOURCE,
            subject=self._name,
            labels=self._labels,
            severity="warning",
            summary=f"{self._name} flaps: {_changes(standing)}",
            started_at=at,
            condition=_FLAPPING,
            suggestions=_CALM,
            identity=_FLAPPING,
        )


_WORDS = {Status.WARNING: "not quite well", Status.CRITICAL: "critical", Status.DOWN: "down"}


def _changes(standing: Standing) -> str:
    return f"what was found of it changed {standing.changes} times in the last {WINDOW} checks"
