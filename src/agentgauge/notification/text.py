"""Notifications in words and as data."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentgauge.notification.alerts import Event
from agentgauge.notification.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.notification.alerts import Alert, Notification
    from agentgauge.notification.origin import Origin

__all__ = ["as_data", "details", "digest_of", "headline", "one_line"]

SCHEMA = "agentgauge.notifications"
SCHEMA_VERSION = 1


def one_line(text: object, most: int = 300) -> str:
    """Return a text as one line that can be printed: no character of it can begin another line, header or log record."""
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def headline(notifications: Sequence[Notification]) -> str:
    """Say in one line what a message is about."""
    if len(notifications) == 1:
        return one_line(notifications[0])
    severity = max((notification.alert for notification in notifications), key=lambda alert: alert.urgency).severity
    counts = Counter(notification.event for notification in notifications)
    parts = ", ".join(f"{counts[event]} {event}" for event in Event if counts[event])
    sources = ", ".join(sorted({one_line(notification.alert.source, 40) for notification in notifications})[:3])
    return f"[{severity}] {len(notifications)} alerts of {sources}: {parts}"


def details(notification: Notification, origin: Origin | None = None) -> list[tuple[str, str]]:
    """Return what there is to say of an alert beside its summary: pairs of a title and one line."""
    alert = notification.alert
    reading = "" if alert.value is None else f"{alert.value:g} {alert.unit}".strip()
    if reading and alert.limit is not None:
        reading += f" (limit: {alert.operator or ''} {alert.limit:g} {alert.unit}".rstrip() + ")"
    lines = [
        ("from", origin or ""),
        ("subject", alert.subject),
        ("labels", ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))),
        ("condition", " ".join(filter(None, (alert.condition, alert.error_type)))),
        ("reading", reading),
        ("since", _time(alert.started_at)),
        ("ended", _time(notification.at) if notification.event is Event.ENDED else ""),
        ("why", notification.reason),
        *(("try", suggestion) for suggestion in alert.suggestions if notification.event is not Event.ENDED),
    ]
    return [(title, one_line(text)) for title, text in lines if text]


def as_data(notifications: Sequence[Notification], origin: Origin | None = None) -> dict[str, Any]:
    """Return a message as JSON can write it, by version 1 of the schema in docs/notification.md."""
    origin = origin or origin_of()
    told = [
        {
            "event": str(notification.event),
            "at": _time(notification.at),
            "previous_severity": notification.previous_severity,
            "previous_condition": notification.previous_condition,
            "reason": notification.reason,
            "alert": _alert_as_data(notification.alert, origin),
        }
        for notification in notifications
    ]
    source = {"service": origin.service, "host": origin.host, "pid": origin.process_id}
    digest = hashlib.sha256(json.dumps([told, source], sort_keys=True).encode()).hexdigest()
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "id": digest[:32],
        "title": headline(notifications),
        "origin": source,
        "notifications": told,
    }


def digest_of(alert: Alert, *parts: object) -> str:
    """Return what stands for an alert where its names cannot: 32 hexadecimal digits of its key, and of ``parts``."""
    return hashlib.sha256(json.dumps([alert.key, *parts], default=str).encode()).hexdigest()[:32]


def _alert_as_data(alert: Alert, origin: Origin) -> dict[str, Any]:
    return {
        "id": digest_of(alert, origin.service, origin.host),
        "source": alert.source,
        "subject": alert.subject,
        "labels": {str(name): str(value) for name, value in alert.labels.items()},
        "severity": alert.severity,
        "summary": alert.summary,
        "started_at": _time(alert.started_at),
        "value": _number(alert.value),
        "limit": _number(alert.limit),
        "operator": alert.operator,
        "unit": alert.unit,
        "condition": alert.condition,
        "error_type": alert.error_type,
        "suggestions": list(alert.suggestions),
        "identity": alert.identity,
    }


def _number(value: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # no time of any calendar
        return ""
