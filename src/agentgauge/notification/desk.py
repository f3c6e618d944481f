"""What there is to tell one destination by its policy: what it believes, against what is so."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentgauge.notification.alerts import Event, Notification

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentgauge.notification.alerts import Alert
    from agentgauge.notification.delivery import Delivery

__all__ = ["Desk"]

_MOST_IN_A_MESSAGE = 100
_MOST_KNOWN = 2_000
_FIRST_RETRY_SECONDS = 15.0
_LONGEST_RETRY_SECONDS = 300.0
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_SWEPT_FROM = 100  # fewer are not worth looking for what can be forgotten

_URGENCIES = {"info": 0, "warning": 1, "critical": 2}


@dataclass(slots=True, eq=False)
class _Known:
    """One alert.

    Attributes:
        heard: What came last.
        heard_on: When, by the desk's clock.
        unsettled: How many came since the destination last knew how things stand.
        told: As the destination knows it; None where it believes that all is well.
        told_on: When it was last told that the alert is there.
        cools_until: When that may be told again.
        peak: How urgent it was when it was last told; the most urgent of the cooldown.
        owed_since: Since when the destination believes something else than is so; None where it does not.
        is_on_its_way: Whether the destination is being told of it.
    """

    heard: Notification
    heard_on: float
    unsettled: int = 0
    told: Alert | None = None
    told_on: float = -math.inf
    cools_until: float = -math.inf
    peak: int = -1
    owed_since: float | None = None
    is_on_its_way: bool = False


class Desk:
    """Compares what a destination was told with what is so, and tells the difference when the policy allows.

    Whatever comes in between, and however often a delivery fails, the last that the destination gets is therefore how things are.
    Not for several threads at once; ``now`` is by any clock that never goes back.

    Args:
        policy: What is told, and when.
        most: How many notifications go in one message.
    """

    def __init__(self, policy: Delivery, most: int = _MOST_IN_A_MESSAGE) -> None:
        self._policy = policy
        self._most = most
        self._least_urgency = _URGENCIES[policy.minimum_severity]
        self.tally: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Forget every alert."""
        self._known: dict[tuple[object, ...], _Known] = {}
        self._on_its_way: dict[tuple[object, ...], tuple[Notification, int]] = {}
        self._round: deque[tuple[tuple[str, ...], deque[_Known]]] = deque()
        self._swept_from = _SWEPT_FROM
        self._failures = 0
        self._resumes_on = -math.inf
        self._is_reminding = True
        self._is_last = False

    def refuse(self) -> None:
        """Nothing is told while the handler hangs, and nothing is lost by that: what is so then is told."""

    def put(self, notifications: Iterable[Notification], now: float) -> None:
        """Take in what happened; from now on one is reminded of what lasts."""
        self._is_reminding = True
        for notification in notifications:
            key = notification.alert.key
            known = self._known.get(key)
            if known is None:
                if not self._has_room(now):
                    self.tally["dropped"] += 1
                    continue
                known = self._known[key] = _Known(notification, now)
            known.heard, known.heard_on = notification, now
            known.unsettled += 1
            self._compare(known, now)

    def take(self, now: float) -> tuple[Notification, ...]:
        """Return the message that is due: of one group, in the order in which things happened. Empty where none is.

        ``settle`` must follow before the next.
        """
        if now < self._resumes_on:
            return ()
        self._fill(now)
        if not self._on_its_way:
            self._round = self._make_round(now)
            self._fill(now)
        return tuple(notification for notification, _ in self._on_its_way.values())

    def _make_round(self, now: float) -> deque[tuple[tuple[str, ...], deque[_Known]]]:
        """Return what is due of each group, the group first that has waited longest.

        To look at every alert for every message would take a time that grows with the square of their number.
        """
        groups: dict[tuple[str, ...], float] = {}
        ready: dict[tuple[str, ...], list[_Known]] = {}
        for known, _, allowed_on, due_on in self._owed():
            group = self._policy.group_of(known.heard.alert)
            groups[group] = min(due_on, groups.get(group, math.inf))
            if allowed_on <= now:
                ready.setdefault(group, []).append(known)
        due = sorted((group for group, due_on in groups.items() if due_on <= now), key=groups.__getitem__)
        for known in (known for group in due for known in ready[group]):
            known.owed_since = known.owed_since if known.owed_since is None else -math.inf  # it has waited with its group
        return deque((group, deque(sorted(ready[group], key=lambda known: known.heard.at))) for group in due)

    def _fill(self, now: float) -> None:
        """Put what is still due of the first group of the round into a message."""
        while self._round and not self._on_its_way:
            group, waiting = self._round[0]
            while waiting and len(self._on_its_way) < self._most:
                known = waiting.popleft()
                owed = self._owing(known)
                if owed is None or owed[1] > now or self._policy.group_of(known.heard.alert) != group:  # it changed meanwhile
                    continue
                known.is_on_its_way = True
                self._on_its_way[known.heard.alert.key] = (_told_as(known, owed[0], now), known.unsettled)
            if not waiting:
                self._round.popleft()

    def settle(self, now: float, *, is_delivered: bool, retry_after_seconds: float | None = None) -> None:
        """Take note of what became of the message that was taken.

        Args:
            now: When it did.
            is_delivered: Whether the destination has it; else it is told later, as things are then.
            retry_after_seconds: How long the destination wants to be left alone.
        """
        for key, (notification, count) in self._on_its_way.items():
            known = self._known[key]
            known.is_on_its_way = False
            known.owed_since = None  # and from now where it still is: another group has its turn first
            self._known[key] = self._known.pop(key)
            if is_delivered:
                self._note_told(known, notification, now)
                self.tally["suppressed"] += max(0, count - 1)
                known.unsettled -= count
            elif self._is_last:
                self.tally["dropped"] += known.unsettled
                del self._known[key]
                continue
            self._compare(known, now)
        self._on_its_way.clear()
        if is_delivered:
            self._failures, self._resumes_on = 0, -math.inf
        else:
            wait = min(_FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 10), _LONGEST_RETRY_SECONDS)
            self._failures += 1
            self._resumes_on = now + max(wait, min(retry_after_seconds or 0.0, _LONGEST_RETRY_AFTER_SECONDS))

    def arrive(self, message: Iterable[Notification], now: float) -> None:
        """Take note that the destination got a message after all that was taken for lost: it is the last that it got."""
        for notification in message:
            known = self._known.get(notification.alert.key)
            if known is not None and not known.is_on_its_way:
                self._note_told(known, notification, now)
                known.unsettled = max(0, known.unsettled - 1)  # it counts as what it was taken for
                known.owed_since = None
                self._compare(known, now)

    def hurry(self) -> None:
        """Let everything that waits for company or for another try be due; reminders stop until something is put in again."""
        self._is_reminding = False
        self._resumes_on = -math.inf
        for known in self._known.values():
            if known.owed_since is not None:
                known.owed_since = -math.inf

    def retire(self) -> None:
        """Tell what is left, each thing once: nobody will put anything in any more."""
        if not self._is_last:
            self.hurry()
            self._is_last = True

    def seconds_until_due(self, now: float) -> float | None:
        """Return how long it is until something is to be told, as it looks now; None where nothing is."""
        soonest = min((due_on for *_, due_on in self._owed()), default=None)
        return None if soonest is None else max(0.0, soonest - now, self._resumes_on - now)

    def owes(self, now: float) -> bool:
        """Tell whether the destination lacks something that no cooldown keeps from it."""
        return any(event is not Event.LASTS and allowed_on <= now for _, event, allowed_on, _ in self._owed())

    def _owed(self) -> Iterator[tuple[_Known, Event, float, float]]:
        """Yield each alert of which something is to be told: what, from when on it is allowed, and when it is due."""
        for known in self._known.values():
            if (owed := self._owing(known)) is not None:
                yield known, *owed

    def _owing(self, known: _Known) -> tuple[Event, float, float] | None:
        if known.is_on_its_way:
            return None
        if known.owed_since is None:
            if known.told is None or self._policy.repeat_seconds is None or not self._is_reminding:
                return None
            due_on = known.told_on + self._policy.repeat_seconds
            return Event.LASTS, due_on, due_on
        event = _difference(known)
        is_news = event is Event.ENDED or known.heard.alert.urgency > known.peak
        allowed_on = -math.inf if is_news else known.cools_until
        return event, allowed_on, max(allowed_on, known.owed_since + self._policy.group_wait_seconds)

    def _compare(self, known: _Known, now: float) -> None:
        """See whether the destination believes what is so."""
        if known.is_on_its_way:  # what it will believe is not known yet
            return
        lasts, alert = known.heard.event is not Event.ENDED, known.heard.alert
        if known.told is not None and not lasts and not self._policy.sends_resolved:
            known.told = None
        if known.told is None:
            is_so = not lasts or alert.urgency < self._least_urgency
        else:
            is_so = lasts and (alert.severity, alert.condition) == (known.told.severity, known.told.condition)
        if is_so:
            known.owed_since = None
            self.tally["suppressed"] += known.unsettled
            known.unsettled = 0
        elif known.owed_since is None:
            known.owed_since = now

    def _note_told(self, known: _Known, notification: Notification, now: float) -> None:
        if notification.event is Event.ENDED:
            known.told = None
            return
        alert = known.told = notification.alert
        known.peak = alert.urgency  # in a cooldown only what is above it is told
        known.told_on = now
        known.cools_until = now + self._policy.cooldown_seconds

    def _has_room(self, now: float) -> bool:
        if len(self._known) >= self._swept_from:
            for key, known in list(self._known.items()):
                is_over = known.heard.event is Event.ENDED and known.told is None and known.owed_since is None
                if is_over and not known.is_on_its_way and known.cools_until <= now:
                    del self._known[key]
            self._swept_from = min(max(_SWEPT_FROM, 2 * len(self._known)), _MOST_KNOWN)
        return len(self._known) < _MOST_KNOWN


def _difference(known: _Known) -> Event:
    if known.heard.event is Event.ENDED:
        return Event.ENDED
    return Event.STARTED if known.told is None else Event.CHANGED


def _told_as(known: _Known, event: Event, now: float) -> Notification:
    """Put what is so into the words of somebody who knows what was told before."""
    heard, told = known.heard, known.told
    if told is None:
        return replace(heard, event=event, previous_severity=None, previous_condition=None)
    alert = replace(heard.alert, started_at=told.started_at)  # it may have ended and started again meanwhile, unknown to them
    if event is Event.LASTS:
        return Notification(event=event, alert=alert, at=heard.at + now - known.heard_on)
    before = (told.severity, told.condition) if event is Event.CHANGED else (None, None)
    return replace(heard, event=event, alert=alert, previous_severity=before[0], previous_condition=before[1])
