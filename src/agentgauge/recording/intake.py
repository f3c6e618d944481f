"""What a program reports about an agent, checked: what does not fit is a warning and a count, never an exception."""

from __future__ import annotations

import contextlib
import logging
import time
from enum import Enum
from math import inf, isfinite
from typing import TYPE_CHECKING, SupportsFloat
from uuid import UUID

from agentgauge import catalogue
from agentgauge.recording.points import clean_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.recording.recorder import Recorder

__all__ = ["Intake", "TaskId", "name_of", "text_of"]

TaskId = str | int | UUID

_logger = logging.getLogger("agentgauge")

_WARNING_INTERVAL_SECONDS = 60.0
_TASK_ID_LENGTH = 256
_PLAIN_NUMBERS = (int, float)
_TEXT_LENGTH = 200


class _FaultLog:
    """Warns at most once a minute for each kind of fault, however many agents there are."""

    def __init__(self) -> None:
        self._next_by_fault: dict[str, float] = {}

    def warn(self, fault: str, agent: str, message: str) -> None:
        now = time.monotonic()
        if now >= self._next_by_fault.get(fault, 0.0):
            self._next_by_fault[fault] = now + _WARNING_INTERVAL_SECONDS
            _logger.warning(
                "agent %r: %s; for a minute, further faults of this kind (%s) are only counted", agent, message, fault
            )


_fault_log = _FaultLog()


class Intake:
    """Checks the reports about one agent; each check returns None where it refuses, after it has complained."""

    def __init__(self, agent: str, recorder: Recorder) -> None:
        """Check reports about ``agent``, and count in ``recorder`` what does not fit."""
        self._agent = agent
        self._recorder = recorder

    def announce(self) -> None:
        """Show every kind of fault with a zero: an increase from nothing would go unseen."""
        for fault in catalogue.PROTOCOL_FAULTS:
            self._count(fault, 0)

    def complain(self, fault: str, message: str, value: object) -> None:
        """Count a fault and warn of it; ``message`` has one ``%s``, for ``value``."""
        self._count(fault, 1)
        _fault_log.warn(fault, self._agent, message % text_of(value, repr))

    def task_id(self, value: object) -> str | None:
        """Return a task's id as text; the number 7 and the text "7" are one id."""
        text = ""
        if isinstance(value, TaskId):
            with contextlib.suppress(ValueError):  # a number of thousands of digits
                text = str(value)
        if 0 < len(text) <= _TASK_ID_LENGTH:
            return text
        self.complain("bad_value", f"task_id=%s: give a text of at most {_TASK_ID_LENGTH} characters, a number or a UUID", value)
        return None

    def name(self, argument: str, value: object) -> str | None:
        """Return a name as a label's value."""
        name = name_of(value)
        if name is None:
            self.complain("bad_value", f"{argument}=%s: give a text that is not empty", value)
        return name

    def number(self, argument: str, value: object, *, lowest: float = 0.0) -> float | None:
        """Return a finite number that is not below ``lowest``."""
        number = inf
        if type(value) in _PLAIN_NUMBERS or (isinstance(value, SupportsFloat) and not isinstance(value, bool)):
            try:
                number = float(value)  # type: ignore[arg-type]  # it is one
            except Exception:  # noqa: BLE001 - a conversion of the program's may raise anything, and means: no number
                number = inf
        if isfinite(number) and number >= lowest:
            return number
        self.complain("bad_value", f"{argument}=%s: give a finite number{'' if lowest < 0 else ' that is not negative'}", value)
        return None

    def _count(self, fault: str, value: int) -> None:
        labels = ((catalogue.AGENT, self._agent), ("fault", fault))
        self._recorder.observe(catalogue.TASK_PROTOCOL_FAULTS, labels, value)


def name_of(value: object) -> str | None:
    """Return the label's value for a name, or for an enumeration's member; None where it is neither."""
    if type(value) is not str and isinstance(value, Enum):
        value = value.value if isinstance(value.value, str) else value.name
    return clean_label(value) if isinstance(value, str) and value.strip() else None


def text_of(value: object, convert: Callable[[object], str] = str) -> str:
    """Return the beginning of a value's text; its type's name where the value cannot tell its text."""
    try:
        return convert(value)[:_TEXT_LENGTH]
    except Exception:  # noqa: BLE001 - a conversion of the program's may raise anything
        return type(value).__name__
