"""What goes on about one component: what waits, what is acted upon, what was spent and what came before."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recovery.failure import Failure, Result, Signature
    from agentgauge.recovery.guard import Guard
    from agentgauge.recovery.outcomes import OutcomeBook
    from agentgauge.recovery.plan import Recovery

__all__ = ["Case", "Component", "Recovered"]

_MOST_GIVEN_UP = 1_000


@dataclass(eq=False)
class Case:
    """A failure that is being recovered from, or waits for it.

    Attributes:
        failure: As it was reported first.
        plan: Which of the component's recoveries is for it.
        reported_at: When, on the clock.
        identities: It, and what was reported of the same signature meanwhile, as far as they have not ended.
        has_ended: Set when they all have.
        has_changed: Set when what was left of them is a failure of another condition by now.
        is_stopped: Set when recovery is stopped.
        is_called_off: Set with any of these.
        is_done: Set with the result.
        result: What became of it.
        merges: How often it was reported again.
        merges_seen: How often it had been when it was last looked whether the component is well.
    """

    failure: Failure
    plan: int
    reported_at: float
    identities: set[tuple[object, ...]] = field(default_factory=set)
    has_ended: threading.Event = field(default_factory=threading.Event)
    has_changed: threading.Event = field(default_factory=threading.Event)
    is_stopped: threading.Event = field(default_factory=threading.Event)
    is_called_off: threading.Event = field(default_factory=threading.Event)
    is_done: threading.Event = field(default_factory=threading.Event)
    result: Result | None = None
    merges: int = 0
    merges_seen: int = 0

    def end(self, identity: tuple[object, ...]) -> None:
        """Note that one of what was reported has ended."""
        self._lose(identity, self.has_ended)

    def change(self, identity: tuple[object, ...]) -> None:
        """Note that one of what was reported is another failure by now: this one is over, and the component not well."""
        self._lose(identity, self.has_changed)

    def _lose(self, identity: tuple[object, ...], why: threading.Event) -> None:
        if identity in self.identities:
            self.identities.discard(identity)
            if not self.identities:
                why.set()
                self.is_called_off.set()

    def stop(self) -> None:
        """Call it off."""
        self.is_stopped.set()
        self.is_called_off.set()


class Recovered(NamedTuple):
    """The last recovery of a component."""

    at: float
    signature: Signature
    action: str


class GivenUp(NamedTuple):
    """A failure that was given up on, and which recovery gave up."""

    started_at: float
    signature: Signature
    plan: int


class Component:
    """One component; what is said of several threads holds its owner's lock, ``spent`` and what follows belongs to its worker.

    Args:
        name: Its name.
        recoveries: What may be done about it.
        guard: Its breaker.
    """

    def __init__(self, name: str, recoveries: tuple[Recovery, ...], guard: Guard) -> None:
        self.name = name
        self.recoveries = recoveries
        self.guard = guard
        self.spent = [deque[float](maxlen=each.budget.window_attempts) for each in recoveries]
        self.last: Recovered | None = None
        self.relapses = 0
        self.settles_at = 0.0  # on the clock: a failure from then on is no relapse
        self.attempts_left: tuple[int, int] | None = None  # which recovery acted last, and what it had left
        self.given_up: OrderedDict[tuple[object, ...], GivenUp] = OrderedDict()
        self.renew()

    def renew(self) -> None:
        """Let go of what goes on, as a forked child must: the threads are the parent's."""
        self.waiting: deque[Case] = deque()
        self.acting: Case | None = None
        self.has_worker = False
        self.hung: dict[str, threading.Event] = {}  # actions that did not end in time, until they do
        self.hung_check: threading.Event | None = None

    def cases(self) -> Iterator[Case]:
        """What is acted upon, and what waits."""
        if self.acting is not None:
            yield self.acting
        yield from self.waiting

    def merge(self, failure: Failure) -> Case | None:
        """Make a failure a part of the case of the same, or of one that is like it, that has not ended; return that case."""
        for case in self.cases():
            same = failure.identity in case.identities or failure.signature == case.failure.signature
            if same and not case.is_called_off.is_set():
                case.identities.add(failure.identity)
                case.merges += 1
                return case
        return None

    def leaves_alone(self, failure: Failure) -> bool:
        """Tell whether this very failure was given up on."""
        given_up = self.given_up.get(failure.identity)
        return given_up is not None and given_up.started_at == failure.started_at

    def supersede(self, failure: Failure, plan: int | None) -> list[Signature]:
        """Let go of what was reported with the same key and is another failure by now.

        It is another where its condition is, or the recovery that is for it; that a type of error follows another is not enough.

        Args:
            failure: As it is now.
            plan: The recovery that is for it.

        Returns:
            What was given up on and is over by that.
        """
        for case in self.cases():
            if failure.identity in case.identities and (case.failure.condition, case.plan) != (failure.condition, plan):
                case.change(failure.identity)
        before = self.given_up.get(failure.identity)
        if before is None or (before.signature.condition, before.plan) == (failure.condition, plan):
            return []
        return self.let_go(failure.identity)

    def let_go(self, identity: tuple[object, ...]) -> list[Signature]:
        """Forget that a failure was given up on; return its signature where no other of it goes on."""
        before = self.given_up.pop(identity, None)
        return [] if before is None or self.is_given_up(before.signature) else [before.signature]

    def give_up(self, case: Case) -> list[Signature]:
        """Remember what was given up on, so that the same failure is not taken up again before it ends.

        Returns:
            What is forgotten of it, since it is too much.
        """
        for identity in case.identities:
            self.given_up[identity] = GivenUp(case.failure.started_at, case.failure.signature, case.plan)
        forgotten = []
        while len(self.given_up) > _MOST_GIVEN_UP:
            forgotten += self.let_go(next(iter(self.given_up)))
        return forgotten

    def is_given_up(self, signature: Signature) -> bool:
        """Tell whether a failure of a signature that was given up on goes on."""
        return any(each.signature == signature for each in self.given_up.values())

    def note_recovered(self, signature: Signature) -> None:
        """Forget that failures of a signature were given up on: the component is well."""
        for identity in [identity for identity, each in self.given_up.items() if each.signature == signature]:
            del self.given_up[identity]

    def is_flapping(self, now: float) -> bool:
        """Tell whether it failed again soon after it was recovered, and has not settled since."""
        return self.relapses > 0 and (self.acting is not None or now < self.settles_at)

    def plan(self, failure: Failure) -> int | None:
        """Find the narrowest recovery that is for ``failure``; of equals, the first."""
        fitting = [index for index, each in enumerate(self.recoveries) if each.is_for(failure)]
        return max(fitting, key=lambda index: self.recoveries[index].narrowness, default=None)

    def take_over(self, book: OutcomeBook, now: float, at: float) -> None:
        """Count what was spent before the program was started anew.

        Args:
            book: What knows of it.
            now: The time on the clock.
            at: The same in Unix time; what is dated later, since that clock was set back, counts as spent now.
        """
        for spent, recovery in zip(self.spent, self.recoveries, strict=True):
            spent.extend(now - max(0.0, at - each) for each in sorted(book.acts(recovery.lasting_name)))

    def window_left(self, index: int, now: float) -> int:
        """Tell how many attempts a recovery has left in its window of time."""
        budget = self.recoveries[index].budget
        latest = sum(now - at < budget.window_seconds for at in tuple(self.spent[index]))
        return max(0, budget.window_attempts - latest)
