"""What is to be recovered from, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.notification import Alert

__all__ = ["WHY_NOT", "Attempt", "EscalationReason", "Failure", "Outcome", "Reported", "Result", "ResultKind", "Signature"]

Outcome = Literal["recovered", "not_recovered", "failed", "timed_out", "cancelled", "dry_run"]
"""What came of one attempt, as ``agent_recovery_attempts_total`` counts it."""

EscalationReason = Literal["budget", "breaker", "no_action"]

ResultKind = Literal["recovered", "escalated", "cancelled", "dry_run"]

Reported = Literal["accepted", "merged", "unmatched", "full", "closed"]
"""What became of a report: taken up, a part of one that was, of nothing that a recovery is for, too much, or too late."""

WHY_NOT: Mapping[Reported, str] = MappingProxyType(
    {
        "unmatched": "no recovery is for this component, condition and type of error; give Recoveries one",
        "full": "too many failures wait; give Recoveries a larger most_waiting",
        "closed": "recovery is stopped",
        "merged": "recovery gave up on it, and it has not ended since",
    }
)
"""Why nothing is done about a failure, for who waits for that."""


class Signature(NamedTuple):
    """What makes failures alike, so that what helped against one is tried against the next."""

    component: str
    condition: str
    error_type: str

    def __str__(self) -> str:
        return "/".join(part or "-" for part in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A component fails.

    Attributes:
        component: What fails.
        condition: How, in a word that does not change from one failure of the kind to the next, such as ``refused``.
        error_type: The type of the error behind it; empty where there was none.
        started_at: Since when, in Unix time.
        source: Who says so: ``health``, ``alertmanager``.
        summary: One sentence for people; it is neither logged nor exported.
        labels: What else is known of it; a plain dict, not to be changed.
        key: What tells it from all other failures that go on, so that its end is known for its own.
    """

    component: str
    condition: str = ""
    error_type: str = ""
    started_at: float
    source: str = ""
    summary: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    key: tuple[object, ...] = ()

    @property
    def signature(self) -> Signature:
        """What makes it like other failures."""
        return Signature(self.component, self.condition, self.error_type)

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same as one that was reported before."""
        return self.key or self.signature

    @classmethod
    def of_alert(cls, alert: Alert) -> Failure:
        """Take an alert of this process for a failure of its subject."""
        return cls(
            component=alert.subject,
            condition=alert.condition,
            error_type=alert.error_type,
            started_at=alert.started_at,
            source=alert.source,
            summary=alert.summary,
            labels=dict(alert.labels),
            key=alert.key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One act against a failure, and what came of it.

    Attributes:
        action: The action's name.
        reason: Why this one, in words.
        outcome: What came of it.
        seconds: How long the action and the check that it worked took.
        error_type: The type of what the action raised; empty where it raised nothing.
        error_message: What that says, in one line of at most 300 characters without credentials.
    """

    action: str
    reason: str
    outcome: Outcome
    seconds: float
    error_type: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a failure.

    Attributes:
        failure: The failure.
        kind: ``recovered``, ``escalated``, ``cancelled`` (it ended by itself, or recovery was stopped) or ``dry_run``.
        attempts: What was done, in order.
        reason: Why it was escalated or cancelled; empty else.
        seconds: From the start of the failure to the end of its recovery.
    """

    failure: Failure
    kind: ResultKind
    attempts: tuple[Attempt, ...] = ()
    reason: str = ""
    seconds: float = 0.0
