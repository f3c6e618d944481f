"""Alerts in the program's log."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, get_args

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import ForkGate, ForkOrder
from agentgauge.notification.alerts import Event
from agentgauge.notification.delivery import Delivery
from agentgauge.notification.destination import Destination
from agentgauge.notification.text import as_data, one_line
from agentgauge.targets import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.notification.alerts import Notification
    from agentgauge.notification.deadline import Deadline

__all__ = ["LogDestination"]

_LEVELS: Mapping[str, int] = MappingProxyType({"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR})
_WAIT_SECONDS = 1.0
# a child that is forked while a line is written could never take the lock of the log's file
_logging = ForkGate(order=ForkOrder.LOGGING)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogDestination(Destination):
    """Writes a line for each notification; its data are the record's attribute ``alert``, for logs that are JSON.

    Unless it is given a policy, everything is written at once: a log has no reader to spare.

    Attributes:
        logger: The logger, or the name of one.
        levels: The level by severity, those not given as they are.
        ended_level: The level of what tells that an alert ended.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    default_policy: ClassVar[Delivery] = Delivery(group_wait_seconds=0, cooldown_seconds=0)

    logger: logging.Logger | str = "agentgauge.alerts"
    levels: Mapping[Severity, int] = field(default_factory=dict, hash=False)
    ended_level: int = logging.INFO

    def __post_init__(self) -> None:
        Destination.__post_init__(self)
        if not isinstance(self.logger, logging.Logger | str):
            raise ConfigurationError(f"logger={self.logger!r}: give a logging.Logger, or the name of one")
        known = get_args(Severity)
        if not isinstance(self.levels, dict) or not set(self.levels) <= set(known):
            raise ConfigurationError(f"levels={self.levels!r}: give a dict by severity, such as {{'critical': logging.CRITICAL}}")
        for level in (*self.levels.values(), self.ended_level):
            if not isinstance(level, int) or isinstance(level, bool):
                raise ConfigurationError(f"level {level!r}: give a level of logging, such as logging.ERROR")
        object.__setattr__(self, "levels", dict(self.levels))  # the caller's own may change

    def deliver(self, notifications: Sequence[Notification], deadline: Deadline) -> None:  # noqa: ARG002 - logs know none
        """Write the lines."""
        logger = logging.getLogger(self.logger) if isinstance(self.logger, str) else self.logger
        for notification in notifications:
            severity = notification.alert.severity
            level = self.ended_level if notification.event is Event.ENDED else self.levels.get(severity, _LEVELS[severity])
            data = as_data([notification], self.origin)["notifications"][0]
            _logging.acquire(_WAIT_SECONDS)  # in vain where a handler hangs, which is no reason not to try
            try:
                logger.log(level, "%s", one_line(notification), extra={"alert": data})
            finally:
                _logging.release()
