"""What a program lets be done about a failure, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.recovery.actions import Action
from agentgauge.requirements import require_count, require_name, require_seconds
from agentgauge.targets import require_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from random import Random

    from agentgauge.recovery.failure import Failure, Result

__all__ = ["ANY", "Backoff", "Budget", "Recovery", "plans_by_component"]

ANY = "*"
_LONGEST_FACTOR = 10
_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before another attempt: exponentially longer, with full jitter.

    Full jitter is a random share of the wait: M. Brooker, "Exponential Backoff And Jitter", 2015.

    Args:
        first_seconds: The longest wait before the second attempt.
        factor: By what that grows with every attempt that did not help.
        longest_seconds: It grows no further than that.

    Raises:
        ConfigurationError: A value cannot work.
    """

    first_seconds: float = 1.0
    factor: float = 2.0
    longest_seconds: float = 60.0

    def __post_init__(self) -> None:
        require_seconds("first_seconds", self.first_seconds, "1", may_be_zero=True)
        require_seconds("longest_seconds", self.longest_seconds, "60", may_be_zero=True)
        is_number = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not is_number or not 1 <= self.factor <= _LONGEST_FACTOR:
            raise ConfigurationError(f"factor={self.factor!r}: give a number from 1 up to {_LONGEST_FACTOR}, such as 2")

    def longest(self, step: int) -> float:
        """Return the longest wait at a step, in seconds; nothing is waited for at step 0, before the first attempt."""
        if step <= 0:
            return 0.0
        return float(min(self.longest_seconds, self.first_seconds * self.factor ** min(step - 1, _MOST_DOUBLINGS)))

    def wait_seconds(self, step: int, random: Random) -> float:
        """Draw the wait at a step."""
        return random.uniform(0.0, self.longest(step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How often a recovery may act before it gives up and escalates.

    Args:
        attempts: For one failure.
        window_attempts: In any ``window_seconds``, for all failures together: a component that fails again and again is not
            restarted for ever.
        window_seconds: That time.

    Raises:
        ConfigurationError: A value cannot work.
    """

    attempts: int = 5
    window_attempts: int = 20
    window_seconds: float = 3600.0

    def __post_init__(self) -> None:
        require_count("attempts", self.attempts, "5")
        require_count("window_attempts", self.window_attempts, "20")
        require_seconds("window_seconds", self.window_seconds, "3600")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What may be done when a component fails, and how to tell that it worked.

    Args:
        component: The component: what a health check or the label ``component`` of an alert calls it.
        actions: What may be done, each under a name of its own; nothing else ever is. Until outcomes tell more, the first is
            tried first.
        conditions: The conditions that it is for; ``*`` for any.
        error_types: The types of errors that it is for; ``*`` for any.
        check: A function or coroutine function without parameters that tells whether the component is well again; what it raises
            means no. Without one, the component is well when its alert ends.
        check_interval_seconds: From the end of one check to the next.
        check_timeout_seconds: How long one check may take.
        verify_seconds: How long after an action the component may take until it is well. Without a ``check`` it must be longer
            than the alert needs to end: 45 seconds are one interval of a health check's default schedule (30), its jitter (3) and
            its timeout (5), and some time to spare. Where the component's schedule has a longer interval, give more.
        action_timeout_seconds: How long an action may take; one that takes longer is left behind.
        backoff: How long to wait between attempts.
        budget: How many attempts there may be.
        settle_seconds: A component that fails again within this time of its recovery is flapping, and the back-off grows on;
            where it fails in the same way, the action is remembered not to have helped.
        escalate: Called with the ``Result`` when recovery gives up.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component: str
    actions: tuple[Action, ...]
    conditions: tuple[str, ...] = (ANY,)
    error_types: tuple[str, ...] = (ANY,)
    check: Callable[[], bool | Awaitable[bool]] | None = None
    check_interval_seconds: float = 1.0
    check_timeout_seconds: float = 5.0
    verify_seconds: float = 45.0
    action_timeout_seconds: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    budget: Budget = field(default_factory=Budget)
    settle_seconds: float = 300.0
    escalate: Callable[[Result], object] | None = None

    def __post_init__(self) -> None:
        require_name("component", self.component, "database")
        object.__setattr__(self, "actions", _require_actions(self.actions))
        object.__setattr__(self, "conditions", _require_names("conditions", self.conditions, "refused"))
        object.__setattr__(self, "error_types", _require_names("error_types", self.error_types, "ConnectionRefusedError"))
        for name in ("check", "escalate"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise ConfigurationError(f"{name}={value!r}: give a function or coroutine function, or leave it out")
        require_seconds("check_interval_seconds", self.check_interval_seconds, "1")
        require_seconds("check_timeout_seconds", self.check_timeout_seconds, "5")
        require_seconds("verify_seconds", self.verify_seconds, "45", may_be_zero=True)
        require_seconds("action_timeout_seconds", self.action_timeout_seconds, "60")
        require_seconds("settle_seconds", self.settle_seconds, "300", may_be_zero=True)
        for name, kind in (("backoff", Backoff), ("budget", Budget)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"{name}={getattr(self, name)!r}: give a {kind.__name__}, or leave it out")

    def is_for(self, failure: Failure) -> bool:
        """Tell whether it may act against ``failure``."""
        return (
            failure.component == self.component
            and (ANY in self.conditions or failure.condition in self.conditions)
            and (ANY in self.error_types or failure.error_type in self.error_types)
        )

    @property
    def lasting_name(self) -> str:
        """What tells it from the other recoveries of the component, from one start of the program to the next."""
        return "/".join((self.component, ",".join(sorted(set(self.conditions))), ",".join(sorted(set(self.error_types)))))

    @property
    def narrowness(self) -> int:
        """How much it asks of a failure: of two that are for it, the narrower one acts."""
        return 2 * (ANY not in self.conditions) + (ANY not in self.error_types)


def plans_by_component(recoveries: Iterable[Recovery]) -> dict[str, list[Recovery]]:
    """Sort recoveries by their components; refuse what is none."""
    plans: dict[str, list[Recovery]] = {}
    for recovery in require_list("recoveries", recoveries, Recovery, "Recovery(component='database', actions=[...])"):
        plans.setdefault(recovery.component, []).append(recovery)
    return plans


def _require_actions(actions: object) -> tuple[Action, ...]:
    given = list(actions) if isinstance(actions, list | tuple) else None
    if not given:
        raise ConfigurationError(
            f"actions={actions!r}: give a list with at least one action, such as Call('reconnect', pool.reconnect)"
        )
    for action in given:
        if isinstance(action, type) or not isinstance(action, Action):
            raise ConfigurationError(f"actions: {action!r} is no action; give one with a name and run(failure), like Call(...)")
        require_name("name of an action", action.name, "reconnect")
    names = [action.name for action in given]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"actions: the name {twice[0]!r} comes twice; give each action a name of its own")
    return tuple(given)


def _require_names(setting: str, names: object, example: str) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, list | tuple | set | frozenset) or not names:
        raise ConfigurationError(f"{setting}={names!r}: give a list of names such as [{example!r}], or ['*'] for any")
    for name in names:
        if not isinstance(name, str):
            raise ConfigurationError(f"{setting}: {name!r} is no name; give texts such as {example!r}")
    return tuple(names)
