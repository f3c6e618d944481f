"""The window that an alert is about, and the series that it names."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.frames import Grid
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AlertWindow", "first_alert", "window_of_alert"]


@dataclass(frozen=True, slots=True)
class AlertWindow:
    """What to explain of an alert.

    Attributes:
        name: Its name; empty where unknown.
        labels: Those that say whom it is about.
        window: From some time before it fired until it ended, or now.
    """

    name: str
    labels: Mapping[str, str]
    window: Grid


def window_of_alert(alert: Mapping[str, Any], *, now: float, lead_seconds: float = 1800, step_seconds: float = 30) -> AlertWindow:
    """Return what to explain of an alert.

    Args:
        alert: As Alertmanager has it, in its API or in the body of its webhook, or Prometheus in ``/api/v1/alerts`` (of several,
            the first that fires): ``labels``, ``startsAt`` (or ``activeAt``), ``endsAt``, as RFC 3339 or Unix time.
        now: Unix time in seconds.
        lead_seconds: How long before it fired the window begins: rules look back, and wait before they fire.
        step_seconds: From one time of the window to the next.

    Raises:
        ConfigurationError: It has no start, or none before now.
    """
    one = first_alert(alert)
    told_labels = one.get("labels")
    labels = (
        {str(name): str(value) for name, value in told_labels.items() if value != ""} if isinstance(told_labels, dict) else {}
    )
    name = labels.pop("alertname", "")
    told = one.get("startsAt", one.get("activeAt"))
    began, ended = _unix(told), _unix(one.get("endsAt"))
    if began is None or began >= now:
        raise ConfigurationError(
            f"the alert {name or 'without a name'} started at {told!r}: give startsAt as RFC 3339 or Unix time, before now"
        )
    until = ended if ended is not None and began < ended < now else now
    return AlertWindow(name, labels, Grid.over(began - lead_seconds, until, step_seconds))


def first_alert(told: object) -> Mapping[str, Any]:
    """Return the first alert that fires of what Alertmanager or Prometheus tells; what holds none is taken for one itself."""
    found = told
    if isinstance(found, dict) and isinstance(found.get("data"), dict):
        found = found["data"]
    if isinstance(found, dict) and isinstance(found.get("alerts"), list):
        found = found["alerts"]
    alerts = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    firing = [one for one in alerts if _state(one) not in {"resolved", "pending", "suppressed"}]
    one = next(iter(firing or alerts), found)
    return one if isinstance(one, dict) else {}


def _state(alert: Mapping[str, Any]) -> object:
    """Return the state of an alert: of a webhook ``firing``, of Alertmanager's API ``active``, of Prometheus' ``firing``."""
    status = alert.get("status", alert.get("state"))
    return status.get("state") if isinstance(status, dict) else status


def _unix(value: Any) -> float | None:
    """Return the Unix time that a value says; None where it says none, as Alertmanager's year 1 does for what has not ended."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and value > 0 else None
    try:
        at = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return at.timestamp() if at.year > 1 else None
