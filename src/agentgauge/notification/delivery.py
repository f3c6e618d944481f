"""What a destination wants to be told, and when."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from agentgauge.errors import AgentgaugeError, ConfigurationError
from agentgauge.requirements import require_name, require_seconds
from agentgauge.targets import Severity

if TYPE_CHECKING:
    from agentgauge.notification.alerts import Alert, AlertHandler, Notification

__all__ = ["Delivery", "DeliveryError", "Routed", "check_handler", "name_of"]

_ATTRIBUTES = ("source", "subject", "severity", "condition", "error_type")
_LIKENESS = 0.72  # `sauce` is like `source`, `server` is not like `severity`


class DeliveryError(AgentgaugeError):
    """A destination could not be told; the text bears no secret of it.

    Attributes:
        retry_after_seconds: How long it wants to be left alone, where it said so.
    """

    def __init__(self, text: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The policy between what happens and what one destination is told.

    An alert is told once, however many sources tell it. What could not be delivered is tried again until it is, as things stand
    by then. The terms are Alertmanager's (``group_by``, ``group_wait``, ``repeat_interval``, ``send_resolved``), and so is that
    an alert which ends before it was told is not told at all.

    Attributes:
        minimum_severity: Alerts below it are not told; one that was told is followed to its end, whatever it becomes.
        group_wait_seconds: How long the first alert of a group waits for others, which then go in the same message.
        group_by: What alerts of one group have in common: ``source``, ``subject``, ``severity``, ``condition``, ``error_type``,
            or a label's name. Empty for one group of all.
        cooldown_seconds: How long a start or change is not told again after it was. What happened meanwhile is told when
            it is over, where that is another state than the one last told; an end, or a severity above those that were told, is
            told without it, after the group's wait.
        repeat_seconds: How often one is reminded of an alert that lasts; None for never.
        sends_resolved: Whether the end of an alert is told.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    minimum_severity: Severity = "info"
    group_wait_seconds: float = 2.0
    group_by: tuple[str, ...] = ("source",)
    cooldown_seconds: float = 300.0
    repeat_seconds: float | None = None
    sends_resolved: bool = True

    def __post_init__(self) -> None:
        if self.minimum_severity not in get_args(Severity):
            raise ConfigurationError(f"minimum_severity={self.minimum_severity!r}: give one of {', '.join(get_args(Severity))}")
        require_seconds("group_wait_seconds", self.group_wait_seconds, "2", may_be_zero=True)
        require_seconds("cooldown_seconds", self.cooldown_seconds, "300", may_be_zero=True)
        if self.repeat_seconds is not None:
            require_seconds("repeat_seconds", self.repeat_seconds, "14400, or None for never")
            if self.repeat_seconds < self.cooldown_seconds:
                raise ConfigurationError(
                    f"repeat_seconds={self.repeat_seconds!r}: give at least cooldown_seconds, {self.cooldown_seconds!r}"
                )
        if not isinstance(self.sends_resolved, bool):
            raise ConfigurationError(f"sends_resolved={self.sends_resolved!r}: give True or False")
        is_list = isinstance(self.group_by, tuple | list)
        if not is_list or not all(isinstance(name, str) and name for name in self.group_by):
            raise ConfigurationError(
                f"group_by={self.group_by!r}: give names such as ('source', 'severity'), or () for one group"
            )
        object.__setattr__(self, "group_by", tuple(self.group_by))
        for name in self.group_by:
            alike = [each for each in _ATTRIBUTES if each[0] == name[0]]  # `resource` is a label of its own
            if name not in _ATTRIBUTES and (near := difflib.get_close_matches(name, alike, 1, _LIKENESS)):
                raise ConfigurationError(f"group_by: {name!r} looks like {near[0]!r} misspelt; give that, or a label's name")

    def group_of(self, alert: Alert) -> tuple[str, ...]:
        """Tell which group an alert belongs to, by the value of each of ``group_by``."""
        return tuple(
            str(getattr(alert, name)) if name in _ATTRIBUTES else str(alert.labels.get(name, "")) for name in self.group_by
        )


@dataclass(frozen=True, slots=True)
class Routed:
    """A handler with the policy by which it is told; goes wherever a handler goes.

    Attributes:
        handler: A destination, or a function or coroutine function of one ``Notification``. One whose attribute ``takes_groups``
            is True is called with a tuple of them instead, all of one group.
        policy: What it is told, and when.
        name: The label ``handler`` of its series; that of the handler unless given.

    Raises:
        ConfigurationError: The handler cannot be called, or the policy is none.
    """

    handler: AlertHandler
    policy: Delivery = Delivery()
    name: str = ""

    def __post_init__(self) -> None:
        check_handler(self.handler)
        if not isinstance(self.policy, Delivery):
            raise ConfigurationError(f"policy={self.policy!r}: give a Delivery(...)")
        if self.name != "":
            require_name("name", self.name, "on-call")
        else:
            object.__setattr__(self, "name", name_of(self.handler))

    @property
    def takes_groups(self) -> bool:
        """Whether the handler is called with tuples of notifications."""
        return getattr(self.handler, "takes_groups", False) is True

    def __call__(self, told: Notification) -> object:
        """Tell the handler, at once."""
        return self.handler(told)


def check_handler(handler: object) -> None:
    """Refuse what cannot be told.

    Raises:
        ConfigurationError: It cannot be called with one argument.
    """
    if isinstance(handler, type):
        raise ConfigurationError(f"alert handler {handler.__name__}: it is a class; give an instance, {handler.__name__}(...)")
    if not callable(handler):
        raise ConfigurationError(f"alert handler {handler!r}: give a function or coroutine function of one Notification")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # builtins tell none
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(f"alert handler {handler!r}: it must take one argument, the Notification ({error})") from None


def name_of(handler: object) -> str:
    """Return what a handler is called: by its own attribute ``name``, else as a function, else by its type."""
    name = getattr(handler, "name", None)
    if isinstance(name, str) and name:
        return name
    return str(getattr(handler, "__qualname__", None) or type(handler).__qualname__)
