"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "Section", "Status", "counted", "listed", "number"]

_MOST_LISTED = 6
_MOST_CHARACTERS = 120
_EXACT = 1e15


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Section(StrEnum):
    """Where a check looked; with ``--production``, the category of its item."""

    ENVIRONMENT = "environment"
    PROGRAM = "program"
    SERVERS = "servers"
    CORE = "core"
    PERFORMANCE = "performance"
    RELIABILITY = "reliability"
    OBSERVABILITY = "observability"
    ALERTING = "alerting"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: The name of the check, the same in every release: scripts ask for it.
        status: How it ended; unknown where nothing there tells.
        title: What holds, or what does not, in one line.
        evidence: What was seen, quoted.
        fix: What to do; empty where there is nothing to do.
    """

    check: str
    status: Status
    title: str
    evidence: str
    fix: str = ""


def listed(items: Iterable[str]) -> str:
    """Join the first few of ``items``, each cut to a length, and say how many more there are."""
    texts = [item if len(item) <= _MOST_CHARACTERS else f"{item[:_MOST_CHARACTERS]}..." for item in items]
    more = len(texts) - _MOST_LISTED
    return ", ".join(texts[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def counted(count: float, noun: str) -> str:
    """Write how many there are: 1 alert, 2 alerts."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Write a number as a person would: 3, 0.25, 1.5e-06."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else f"{value:.3g}"
