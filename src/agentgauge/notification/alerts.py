"""What is wrong now, and what there is to tell of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.targets import Operator, Severity

__all__ = ["Alert", "AlertBook", "AlertHandler", "Event", "Notification"]

_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


class Event(StrEnum):
    """What a notification tells of an alert."""

    STARTED = "started"
    CHANGED = "changed"
    LASTS = "lasts"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is wrong.

    Attributes:
        source: Who says so: ``system_metrics`` for a threshold.
        subject: What it is about: a metric, or a component.
        labels: Which one of that name; a plain dict, not to be changed.
        severity: ``info``, ``warning`` or ``critical``.
        summary: One sentence for people.
        started_at: When it became an alert, in Unix time.
        value: The reading as of now, in ``unit``, which is no longer wrong where it ended the alert; None where there is none.
        limit: What the reading is compared with, in ``unit``; None where there is none.
        operator: How a reading that is wrong compares with the limit.
        unit: The unit of ``value`` and ``limit``.
        condition: What is wrong with the subject in a word, such as ``timeout`` or ``refused``; empty where the summary says all.
        error_type: The type of the error behind it; empty where there was none.
        suggestions: What to do, the likeliest cause first.
        identity: What tells two alerts of one source, subject and labels apart, where they can be several.
    """

    source: str
    subject: str
    severity: Severity
    summary: str
    started_at: float
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    value: float | None = None
    limit: float | None = None
    operator: Operator | None = None
    unit: str = ""
    condition: str = ""
    error_type: str = ""
    suggestions: tuple[str, ...] = ()
    identity: str = ""

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, str], ...], str]:
        """What makes it the same alert as before: source, subject, labels and identity."""
        return (self.source, self.subject, tuple(sorted(self.labels.items())), self.identity)

    @property
    def urgency(self) -> int:
        """The severity as a number: 0 for ``info``, 2 for ``critical``."""
        return _SEVERITIES.index(self.severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a handler is told: that an alert started, changed its severity or its condition, or ended.

    Attributes:
        event: Which of these; ``lasts`` where ``Delivery(repeat_seconds=...)`` asks to be reminded.
        alert: The alert as of now; of one that ended, with the reading that ended it, else as it last was where ``reason`` says
            that another thing did.
        at: When, in Unix time.
        previous_severity: Before a change, be it of the condition alone; None else.
        previous_condition: Before a change, be it of the severity alone; None else.
        reason: Why it ended, where there is more to say than that the reading is well again.
    """

    event: Event
    alert: Alert
    at: float
    previous_severity: Severity | None = None
    reason: str = ""
    previous_condition: str | None = None

    def __str__(self) -> str:
        severity, condition = self.alert.severity, self.alert.condition
        before, other = self.previous_severity, self.previous_condition
        change = f"{before} -> {severity}" if before not in {None, severity} else severity
        if other and condition and other != condition:
            change += f", {other} -> {condition}"
        return f"[{change}] {self.event}: {self.alert.summary}" + (f" ({self.reason})" if self.reason else "")


AlertHandler = Callable[[Notification], object]
"""A function, or coroutine function, of one ``Notification``."""


class AlertBook:
    """Which alerts there are; not for several threads at once."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], Alert] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """All alerts as of the last update, the most severe first, then the oldest."""
        return tuple(sorted(self._open.values(), key=lambda alert: (-alert.urgency, alert.started_at, alert.subject)))

    def update(
        self,
        alerts: Iterable[Alert],
        at: float,
        reasons: Mapping[tuple[object, ...], str] | None = None,
        endings: Iterable[Alert] = (),
    ) -> list[Notification]:
        """Take in all that is wrong now.

        Args:
            alerts: Every alert; where two have the same key, the more severe counts. One that is known keeps its start.
            at: The time, in Unix time.
            reasons: Why an alert that is not among them ended, by its key.
            endings: Alerts that may not be among them, as they are now that they ended; where two have the same key, that of the
                severity that the alert last had counts. One that is not told of here is told as it last was.

        Returns:
            What to tell: one notification for each alert that started, changed its severity or condition or ended, and nothing
            else.
        """
        now: dict[tuple[object, ...], Alert] = {}
        for alert in alerts:
            if alert.key not in now or alert.urgency > now[alert.key].urgency:
                now[alert.key] = alert
        ended: dict[tuple[object, ...], Alert] = {(*alert.key, alert.severity): alert for alert in endings}
        told: list[Notification] = []
        for key, alert in self._open.items():
            if key not in now:
                ending = replace(ended.get((*key, alert.severity), alert), started_at=alert.started_at)
                told.append(Notification(event=Event.ENDED, alert=ending, at=at, reason=(reasons or {}).get(key, "")))
        for key, alert in now.items():
            before = self._open.get(key)
            if before is None:
                told.append(Notification(event=Event.STARTED, alert=alert, at=at))
                continue
            now[key] = known = replace(alert, started_at=before.started_at)
            if (before.severity, before.condition) != (alert.severity, alert.condition):
                told.append(
                    Notification(
                        event=Event.CHANGED,
                        alert=known,
                        at=at,
                        previous_severity=before.severity,
                        previous_condition=before.condition,
                    )
                )
        self._open = now
        return told
