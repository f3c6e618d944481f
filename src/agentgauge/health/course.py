"""What the findings of one component come to: its status, whether it flaps, its history and its uptime.

The thresholds are those of Kubernetes' probes, on a scale of four instead of two (healthy, warning, critical, down). The status
becomes worse, up to what the last ``failure_threshold`` findings all reached or passed, and better, down to what the last
``success_threshold`` findings all kept within: one timeout among warnings makes no outage, and with a ``success_threshold`` of 2
no single good finding ends one. Where nothing is known, the first finding is the status at once; an alert waits for
``failure_threshold`` bad ones in a row all the same (``is_confirmed``), as notifications wait for hard states in Nagios.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentgauge.health.flapping import Flapping
from agentgauge.health.status import Finding, Status

if TYPE_CHECKING:
    from agentgauge.health.status import Schedule

__all__ = ["Course", "HealthRecord", "Standing", "Uptime", "stale_after", "worse_first"]

_SCALE = (Status.HEALTHY, Status.WARNING, Status.CRITICAL, Status.DOWN)
_RANK = {status: rank for rank, status in enumerate(_SCALE)}
_STALE_INTERVALS = 3
_NOTHING = Finding(status=Status.UNKNOWN, message="not checked yet")


def worse_first(status: Status) -> int:
    """Sort key: down, critical, warning, unknown, healthy."""
    return (Status.DOWN, Status.CRITICAL, Status.WARNING, Status.UNKNOWN, Status.HEALTHY).index(status)


def stale_after(schedule: Schedule) -> float:
    """Return after how many seconds without a finding nothing is known: three intervals, at their latest, and a time limit."""
    return _STALE_INTERVALS * schedule.interval_seconds * (1 + schedule.jitter_ratio) + schedule.timeout_seconds


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """One check of the past.

    Attributes:
        at: When it ended, with a time zone.
        found: What it found.
        status: What the component's status was then.
        message: One sentence.
        condition: What was wrong, in a word.
        error_type: The type of the error behind it.
        duration_seconds: How long it took, its retries included.
    """

    at: datetime
    found: Status
    status: Status
    message: str
    condition: str
    error_type: str
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Uptime:
    """How long a component's status was known, and how long of that it worked (healthy or warning)."""

    up_seconds: float = 0.0
    known_seconds: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Return the share; None where nothing was known yet."""
        return self.up_seconds / self.known_seconds if self.known_seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that the last finding left; replaced as a whole, so that whoever reads it needs no lock.

    Attributes:
        status: As of then; ``status_at`` says what it is now.
        since: From when on, in Unix time.
        found: The last finding.
        cause: The last one that was bad, where the status is bad; else the last one.
        checked_at: When the last check ended, in Unix time; None before the first.
        stale_at: When nothing is known any more, by the clock that never goes back; None where nothing is.
        stale_since: The same in Unix time.
        duration_seconds: How long the last check took.
        checks: How many there were.
        bad_in_a_row: How many bad ones the last were.
        good_in_a_row: How many good ones.
        is_confirmed: Whether the status is bad and as many bad findings as it takes came in a row.
        cause_in_a_row: How many of the last findings were bad in the same condition without a break.
        is_cause_confirmed: Whether as many as it takes to make a status bad.
        is_flapping: Whether it goes to and fro.
        changes: How often what it found changed in the last 20 checks.
    """

    status: Status = Status.UNKNOWN
    since: float
    found: Finding = _NOTHING
    cause: Finding = _NOTHING
    checked_at: float | None = None
    stale_at: float | None = None
    stale_since: float = 0.0
    duration_seconds: float | None = None
    checks: int = 0
    bad_in_a_row: int = 0
    good_in_a_row: int = 0
    is_confirmed: bool = False
    cause_in_a_row: int = 0
    is_cause_confirmed: bool = False
    is_flapping: bool = False
    changes: int = 0

    def is_stale_at(self, now: float) -> bool:
        """Tell whether what was known is too old by ``now``."""
        return self.stale_at is not None and now >= self.stale_at

    def status_at(self, now: float) -> Status:
        """Return the status by ``now``, a time of the clock that never goes back."""
        return Status.UNKNOWN if self.is_stale_at(now) else self.status

    def since_at(self, now: float) -> float:
        """Return from when on that is so, in Unix time."""
        return self.stale_since if self.is_stale_at(now) else self.since


@dataclass(slots=True)
class _Runs:
    """How many of the last findings reached or passed each rank, and how many kept within it."""

    at_least: list[int] = field(default_factory=lambda: [0] * len(_SCALE))
    at_most: list[int] = field(default_factory=lambda: [0] * len(_SCALE))

    def take(self, found: int) -> None:
        for rank in range(len(_SCALE)):
            self.at_least[rank] = self.at_least[rank] + 1 if found >= rank else 0
            self.at_most[rank] = self.at_most[rank] + 1 if found <= rank else 0


class Course:
    """Not for several threads at once, but for ``standing``.

    Args:
        schedule: The thresholds, and after how long without a finding nothing is known.
        history_points: How many checks it remembers.
        at: When it begins, in Unix time.
    """

    def __init__(self, schedule: Schedule, history_points: int, at: float) -> None:
        self.standing = Standing(since=at)
        self.history: deque[tuple[float, HealthRecord]] = deque(maxlen=history_points)
        self._schedule = schedule
        self._stale_after = stale_after(schedule)
        self._flapping = Flapping()
        self._runs = _Runs()
        self._uptime = Uptime()
        self._counted_until = 0.0

    def take(self, finding: Finding, now: float, at: float, duration_seconds: float) -> Status | None:
        """Take in what a check found.

        Args:
            finding: What it found; ``unknown`` is neither bad nor well: it counts in no row and keeps nothing from being stale.
            now: When the check ended, by the clock that never goes back.
            at: The same in Unix time.
            duration_seconds: How long it took.

        Returns:
            The status that the component came to, None where it is as before.
        """
        self.expire(now)
        before = self.standing
        known = finding.status is not Status.UNKNOWN
        status = self._judge(finding.status) if known else before.status
        self.uptime(now)
        has_changed = status is not before.status
        is_bad = status.is_bad
        runs = self._runs
        cause_in_a_row = _same_cause(before, finding)
        self.standing = replace(
            before,
            status=status,
            since=at if has_changed else before.since,
            found=finding,
            cause=finding if finding.status.is_bad or not is_bad else before.cause,
            checked_at=at,
            stale_at=now + self._stale_after if known else before.stale_at,
            stale_since=at + self._stale_after if known else before.stale_since,
            duration_seconds=duration_seconds,
            checks=before.checks + 1,
            bad_in_a_row=runs.at_least[1],
            good_in_a_row=runs.at_most[0],
            is_confirmed=is_bad and (before.is_confirmed or runs.at_least[1] >= self._schedule.failure_threshold),
            cause_in_a_row=cause_in_a_row,
            is_cause_confirmed=cause_in_a_row >= self._schedule.failure_threshold,
            is_flapping=self._flapping.is_on,
            changes=self._flapping.changes,
        )
        when = datetime.fromtimestamp(at, UTC)
        record = HealthRecord(
            when, finding.status, status, finding.message, finding.condition, finding.error_type, duration_seconds
        )
        self.history.append((now, record))
        return status if has_changed else None

    def _judge(self, found: Status) -> Status:
        rank = _RANK[found]
        self._flapping.take(found)
        self._runs.take(rank)
        held = _RANK.get(self.standing.status)
        if held is None:
            return found
        failures, successes = self._schedule.failure_threshold, self._schedule.success_threshold
        worse = max((rank for rank, count in enumerate(self._runs.at_least) if count >= failures), default=0)
        better = min((rank for rank, count in enumerate(self._runs.at_most) if count >= successes), default=held)
        return _SCALE[worse if worse > held else min(held, better)]

    def expire(self, now: float) -> bool:
        """Let the status be unknown where the last finding is too old by ``now``; tell whether it was not before."""
        before = self.standing
        if not before.is_stale_at(now):
            return False
        self.uptime(now)
        self._runs = _Runs()
        self._flapping = Flapping()
        self.standing = replace(
            before,
            status=Status.UNKNOWN,
            since=before.stale_since,
            stale_at=None,
            bad_in_a_row=0,
            good_in_a_row=0,
            is_confirmed=False,
            cause_in_a_row=0,
            is_cause_confirmed=False,
            is_flapping=False,
            changes=0,
        )
        return True

    def uptime(self, now: float) -> Uptime:
        """Return how long it worked until ``now``; while its status is unknown no time counts."""
        standing = self.standing
        until = now if standing.stale_at is None else min(now, standing.stale_at)
        seconds = max(0.0, until - self._counted_until)
        self._counted_until = now
        if standing.status is not Status.UNKNOWN:
            up = 0.0 if standing.status in {Status.CRITICAL, Status.DOWN} else seconds
            self._uptime = Uptime(self._uptime.up_seconds + up, self._uptime.known_seconds + seconds)
        return self._uptime


def _same_cause(before: Standing, finding: Finding) -> int:
    """Count the bad findings of one condition in a row; one that is ``unknown`` neither counts nor breaks it."""
    if not finding.status.is_bad:
        return before.cause_in_a_row if finding.status is Status.UNKNOWN else 0
    return before.cause_in_a_row + 1 if finding.condition == before.cause.condition else 1
