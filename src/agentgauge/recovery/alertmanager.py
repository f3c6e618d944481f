"""What Alertmanager posts to a webhook: JSON of version 4 (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PayloadError", "PostedAlert", "read_payload"]

_VERSION = "4"
_MOST_ALERTS = 10_000
_MOST_TEXT = 4_096
_STATUSES = ("firing", "resolved")


class PayloadError(ValueError):
    """A body is not what Alertmanager posts; the message says where, and shows nothing of what was posted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedAlert:
    """One alert of a post.

    Attributes:
        is_firing: Whether it fires; else it is resolved.
        labels: Its labels.
        summary: Its annotation ``summary``; empty where it has none.
        started_at: Since when, in Unix time.
        fingerprint: What tells its labels from others'.
    """

    is_firing: bool
    labels: Mapping[str, str]
    summary: str
    started_at: float
    fingerprint: str


def read_payload(body: bytes) -> list[PostedAlert]:
    """Read a body.

    Args:
        body: The JSON that was posted.

    Returns:
        Its alerts, in order.

    Raises:
        PayloadError: It is no JSON, of another version, or not of that shape.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is no JSON") from None
    if not isinstance(document, dict):
        raise PayloadError("the body is no JSON object")
    if document.get("version") != _VERSION:
        raise PayloadError(f'"version" must be "{_VERSION}", that of Alertmanager\'s webhook')
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise PayloadError('"alerts" must be a list')
    if len(alerts) > _MOST_ALERTS:
        raise PayloadError(f'"alerts" has more than {_MOST_ALERTS} entries; set max_alerts of the webhook')
    return [_read_alert(alert, f"alerts[{index}]") for index, alert in enumerate(alerts)]


def _read_alert(alert: Any, where: str) -> PostedAlert:
    if not isinstance(alert, dict):
        raise PayloadError(f"{where} must be an object")
    if alert.get("status") not in _STATUSES:
        raise PayloadError(f'{where}.status must be "firing" or "resolved"')
    labels = _texts(alert.get("labels"), f"{where}.labels")
    if not labels:
        raise PayloadError(f"{where}.labels must not be empty")
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str) or not 0 < len(fingerprint) <= _MOST_TEXT:
        raise PayloadError(f"{where}.fingerprint must be a text")
    return PostedAlert(
        is_firing=alert["status"] == "firing",
        labels=labels,
        summary=_texts(alert.get("annotations", {}), f"{where}.annotations").get("summary", ""),
        started_at=_unix_time(alert.get("startsAt"), f"{where}.startsAt"),
        fingerprint=fingerprint,
    )


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise PayloadError(f"{where} must be an object of texts")
    if any(len(text) > _MOST_TEXT for pair in value.items() for text in pair):
        raise PayloadError(f"{where} has a text of more than {_MOST_TEXT} characters")
    return value


def _unix_time(value: Any, where: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise PayloadError(f"{where} must be a time such as 2026-01-31T12:00:00Z") from None
    try:
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        raise PayloadError(f"{where} must be a time within reach") from None
