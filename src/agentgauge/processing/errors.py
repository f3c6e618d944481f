"""What a request ends in when it does not succeed: one tree of exceptions, with category, severity and whether to try again."""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import ClassVar

from agentgauge.breaker import CircuitOpenError
from agentgauge.errors import AgentgaugeError, ConfigurationError

__all__ = [
    "Category",
    "CircuitRefusedError",
    "DeadlineExceededError",
    "DependencyError",
    "IncompleteClassError",
    "InitializationError",
    "InvalidInputError",
    "InvalidOutputError",
    "OverloadedError",
    "ProcessingCancelledError",
    "ProcessingError",
    "ProcessingTimeoutError",
    "Severity",
    "ShuttingDownError",
    "ValidationError",
    "WorkFailedError",
    "WrongLoopError",
    "processing_error_of",
    "retry_after_of",
    "words_of",
]


class Category(StrEnum):
    """What went wrong, in a word that programs can branch on."""

    VALIDATION = "validation"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    OVERLOAD = "overload"
    CIRCUIT_OPEN = "circuit_open"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"
    DEPENDENCY = "dependency"
    INITIALIZATION = "initialization"
    USAGE = "usage"
    INTERNAL = "internal"


class Severity(StrEnum):
    """How bad it is for whoever runs the program: nothing to do, to be watched, to be mended."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ProcessingError(AgentgaugeError):
    """A request did not succeed; what caused it is the ``__cause__``.

    Attributes:
        category: What went wrong.
        severity: How bad it is.
        retryable: Whether the same request may succeed later, or elsewhere.
        retry_after_seconds: When it may, where that is known.
    """

    category: ClassVar[Category] = Category.INTERNAL
    severity: ClassVar[Severity] = Severity.ERROR
    retryable: ClassVar[bool] = False
    retry_after_seconds: float | None = None


class ValidationError(ProcessingError):
    """What went in or came out is not what it must be."""

    category = Category.VALIDATION
    severity = Severity.WARNING


class InvalidInputError(ValidationError):
    """The input is not what ``_validate_input`` asks for: the same request never succeeds."""


class InvalidOutputError(ValidationError):
    """The work's output is not what ``_validate_output`` asks for: another attempt, by a model for instance, may be better."""

    retryable = True


class ProcessingTimeoutError(ProcessingError, TimeoutError):
    """The request took longer than its own timeout allows, or a ``TimeoutError`` left its work."""

    category = Category.TIMEOUT
    retryable = True


class DeadlineExceededError(ProcessingTimeoutError):
    """The moment passed by which an answer was of use: that of the context, or of the request around this one."""

    category = Category.DEADLINE
    retryable = False


class OverloadedError(ProcessingError):
    """The request was shed before its work began: too many were waiting, or it waited too long.

    Attributes:
        reason: ``queue_full`` or ``wait_timeout``, as ``agent_tasks_shed_total`` says it.
    """

    category = Category.OVERLOAD
    severity = Severity.WARNING
    retryable = True

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[OverloadedError], tuple[str, str], dict[str, object]]:
        """Travel to other processes with the reason."""
        return type(self), (str(self), self.reason), vars(self)


class CircuitRefusedError(ProcessingError):
    """The circuit breaker lets no call through for now."""

    category = Category.CIRCUIT_OPEN
    severity = Severity.WARNING
    retryable = True


class ProcessingCancelledError(ProcessingError):
    """The work was cancelled; only in results, since a cancelled ``process`` raises ``CancelledError`` itself."""

    category = Category.CANCELLED
    severity = Severity.INFO


class ShuttingDownError(ProcessingError):
    """The interface is shutting down or is shut down: ask another instance."""

    category = Category.SHUTDOWN
    severity = Severity.INFO
    retryable = True


class DependencyError(ProcessingError):
    """What the work depends on failed: a ``ConnectionError`` or another ``OSError`` left the work."""

    category = Category.DEPENDENCY
    retryable = True


class InitializationError(ProcessingError):
    """``_initialize`` failed; it is tried again by a later request."""

    category = Category.INITIALIZATION
    retryable = True


class WrongLoopError(ProcessingError, RuntimeError):
    """The interface is used from another event loop than the one on which it was initialised; always raised."""

    category = Category.USAGE


class WorkFailedError(ProcessingError):
    """Anything else left the work."""


class IncompleteClassError(ConfigurationError, TypeError):
    """A class lacks its processing, or has an override that cannot work; raised when it is instantiated."""


for _kind in [each for each in vars().values() if isinstance(each, type) and issubclass(each, AgentgaugeError)]:
    if _kind.__module__ == __name__:  # where programs have it from: series and spans show it as the type of an error
        _kind.__module__ = "agentgauge.processing"


def processing_error_of(error: BaseException) -> ProcessingError:
    """Return the error of the tree that stands for ``error``: itself where it is one, else one that says what it was."""
    if isinstance(error, ProcessingError):
        return error
    kind: type[ProcessingError] = WorkFailedError
    if isinstance(error, TimeoutError):
        kind = ProcessingTimeoutError
    elif isinstance(error, OSError):
        kind = DependencyError
    elif isinstance(error, CircuitOpenError):
        kind = CircuitRefusedError
    elif not isinstance(error, Exception):
        kind = ProcessingCancelledError
    stated = kind(words_of(error))
    stated.retry_after_seconds = retry_after_of(error)
    stated.__cause__ = error
    return stated


def words_of(error: BaseException) -> str:
    """Return what an error says, after the name of its type; what fails to say it has said nothing."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the program's class is at fault, and its request has another answer
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def retry_after_of(error: BaseException) -> float | None:
    """Return the ``retry_after_seconds`` of an error; None where it says none that can be waited for."""
    try:
        told = getattr(error, "retry_after_seconds", None)
    except Exception:  # noqa: BLE001 - as above
        return None
    return told if isinstance(told, int | float) and 0 <= told < inf else None
