"""Which action to try: the one by which the component is likely to be well soonest, as far as outcomes tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from agentgauge.recovery.actions import Action
    from agentgauge.recovery.failure import Failure, Signature
    from agentgauge.recovery.outcomes import OutcomeBook, Record

__all__ = ["Choice", "Chooser", "Favoured"]

_PRIOR_TRIALS = 2.0  # how many trials a belief from broader signatures, or none, is worth
_WEIGHT_OF_NOW = 2.0  # trials that a failed attempt at this very failure is worth: it is likely to fail again
_UNKNOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What to try, and why.

    Attributes:
        action: The action.
        reason: The reason in words.
    """

    action: Action
    reason: str


class Chooser(Protocol):
    """Says which action to try next."""

    def choose(self, failure: Failure, actions: Sequence[Action], failed: Sequence[str], wait_seconds: float) -> Choice:
        """Choose one of ``actions``.

        Args:
            failure: What is to be recovered from.
            actions: What may be done, at least one, in the order in which the program named them.
            failed: The names of the actions that did not help against this failure so far, once for each attempt.
            wait_seconds: How long the wait before a further attempt is likely to be.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Belief:
    name: str
    record: Record
    elsewhere: Record  # where the record itself says nothing
    expected_seconds: float


class Favoured:
    """Tries first what has the shortest expected time to recovery.

    An attempt that takes ``c`` seconds, helps with probability ``p``, and costs a wait of ``w`` seconds where it does not, leads
    to a recovery after ``(c + w) / p - w`` seconds when it is repeated; trying in the order of ``c / p`` is optimal for
    independent attempts (L. G. Mitten, "An analytic solution to the least cost testing sequence problem", 1960). ``p`` has a Beta
    posterior and ``c`` a posterior mean under a conjugate prior worth one trial (Gelman et al., "Bayesian Data Analysis", 3rd
    edition, 2.4 and 2.6); the prior of each is, by half, the belief from broader signatures: the component's failures of the same
    condition, and before that those of any other. What nobody ever tried is believed to help in one case of two, in the time that
    what was tried took on average, so that it comes before what helps in fewer.

    Args:
        book: The outcomes.
        random: Where given, ``p`` is drawn from its posterior instead of taken at its mean (W. R. Thompson, "On the likelihood
            that one unknown probability exceeds another", 1933), so that also what looks worse is tried at times, and oftener the
            less is known of it.
    """

    def __init__(self, book: OutcomeBook, random: Random | None = None) -> None:
        self._book = book
        self._random = random

    def choose(self, failure: Failure, actions: Sequence[Action], failed: Sequence[str], wait_seconds: float) -> Choice:
        """Choose the action with the shortest expected time; of equals, the first."""
        signature = failure.signature
        known = self._known_seconds(signature, actions)
        beliefs = [self._belief(signature, action.name, failed.count(action.name), wait_seconds, known) for action in actions]
        best = min(range(len(actions)), key=lambda index: beliefs[index].expected_seconds)
        return Choice(actions[best], _explain(signature, beliefs, best, failed))

    def _known_seconds(self, signature: Signature, actions: Sequence[Action]) -> float:
        """How long an attempt takes of which nothing is known: as long as others against this component."""
        records = [
            record
            for action in actions
            for record in (
                self._book.record(signature, action.name),
                self._book.record_elsewhere(signature, action.name, same_condition=True),
                self._book.record_elsewhere(signature, action.name, same_condition=False),
            )
        ]
        tried = sum(record.tried for record in records)
        return sum(record.seconds for record in records) / tried if tried else _UNKNOWN_SECONDS

    def _belief(self, signature: Signature, name: str, failed_now: int, wait_seconds: float, seconds: float) -> _Belief:
        narrow = self._book.record(signature, name)
        same = self._book.record_elsewhere(signature, name, same_condition=True)
        other = self._book.record_elsewhere(signature, name, same_condition=False)
        share, helped, missed = 0.5, 1.0, 1.0
        for record in (other, same, narrow):  # each the prior of the next
            prior = (share + 0.5) / 2  # half of it ignorance: what holds of other failures need not hold of these
            helped = _PRIOR_TRIALS * prior + record.recovered
            missed = _PRIOR_TRIALS * (1 - prior) + record.tried - record.recovered
            share = helped / (helped + missed)
            seconds = (seconds + record.seconds) / (1 + record.tried)
        missed += _WEIGHT_OF_NOW * failed_now
        share = self._random.betavariate(helped, missed) if self._random is not None else helped / (helped + missed)
        expected = (seconds + wait_seconds) / max(share, 1e-6) - wait_seconds
        return _Belief(name, narrow, same if same.tried else other, expected)


def _explain(signature: Signature, beliefs: Sequence[_Belief], best: int, failed: Sequence[str]) -> str:
    tried = ", ".join(dict.fromkeys(failed))
    so_far = f"; tried against this failure: {tried}" if tried else ""
    if len(beliefs) == 1:
        return f"{beliefs[best].name} is the only action that is allowed now" + so_far
    known = [belief for belief in beliefs if belief.record.tried or belief.elsewhere.tried]
    if not known:
        what = "the next" if failed else "the first"
        return f"nothing is recorded of {signature}: {beliefs[best].name} is {what} that is allowed" + so_far
    chosen = beliefs[best]
    others = sorted((belief for belief in known if belief is not chosen), key=lambda belief: belief.expected_seconds)
    parts = [_tell(chosen, "recovered", signature), *(_tell(each, "in", signature) for each in others)]
    return "; ".join(parts) + so_far


def _tell(belief: _Belief, verb: str, signature: Signature) -> str:
    record, failures = belief.record, str(signature)
    if not record.tried:
        record, failures, verb = belief.elsewhere, f"other failures of {signature.component}", "recovered"
    if not record.tried:
        return f"{belief.name} is untried against {signature}, and promises more"
    what = f"recovered {failures} in" if verb == "recovered" else verb
    return f"{belief.name} {what} {record.recovered} of {record.tried}, mean {record.mean_seconds:.1f} s"
