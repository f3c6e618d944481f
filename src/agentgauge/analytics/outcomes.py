"""What the labels of a call's end say of it, and PromQL that says the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ANSWERED",
    "BAD",
    "COUNTED",
    "FAILED",
    "JUDGED",
    "SUCCESS",
    "is_answered",
    "is_bad",
    "is_counted",
    "is_failed",
    "is_judged",
    "is_success",
]

COUNTED, BAD, SUCCESS = 'outcome=~"success|error|timeout"', 'outcome=~"error|timeout"', 'outcome="success"'
"""Of tasks."""

_STOPPED = "GeneratorExit|KeyboardInterrupt|SystemExit|abandoned|cancelled|dropped|evicted|.*CancelledError"
# Families without an outcome tell what was cancelled or abandoned by the type of what ended the call.
FAILED, JUDGED, ANSWERED = f'error_type!~"|{_STOPPED}"', f'error_type!~"{_STOPPED}"', 'error_type=""'
"""Of calls of a model or a tool, of runs and of workflows; alert rules and dashboards say the same."""
_is_stopped = re.compile(_STOPPED, re.DOTALL).fullmatch


def is_counted(labels: Mapping[str, str]) -> bool:
    """Whether a task counts for its objective; what was cancelled or abandoned does not."""
    return labels.get("outcome") in {"success", "error", "timeout"}


def is_bad(labels: Mapping[str, str]) -> bool:
    """Whether a task that counts went wrong."""
    return labels.get("outcome") in {"error", "timeout"}


def is_success(labels: Mapping[str, str]) -> bool:
    """Whether a task did what it should."""
    return labels.get("outcome") == "success"


def is_failed(labels: Mapping[str, str]) -> bool:
    """Whether a call of a model or a tool ended in an error; what was cancelled or abandoned did not."""
    return bool(labels.get("error_type")) and is_judged(labels)


def is_judged(labels: Mapping[str, str]) -> bool:
    """Whether a call of a model or a tool says something of it; what was cancelled or abandoned does not."""
    return not _is_stopped(labels.get("error_type", ""))


def is_answered(labels: Mapping[str, str]) -> bool:
    """Whether a call of a model or a tool ended in none."""
    return not labels.get("error_type")
