"""What a check returned or raised, as a finding that can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.redaction import redact
from agentgauge.health.status import Finding, Status

__all__ = ["cancelled", "finding_of", "finding_of_error", "hanging", "late", "unstartable"]

_SUGGESTIONS = (
    "See whether it is overloaded or hangs: its processor, its queue, its connections.",
    "See whether a firewall or a network policy drops what is sent to it.",
    "Raise timeout_seconds of its schedule where it is well and merely slow.",
)


def finding_of(result: object) -> Finding:
    """Return what a check returned, made presentable; where it is no finding, one that says so and is ``unknown``."""
    if not isinstance(result, Finding):
        return _nonsense(f"check() returned {_kind_of(result)}; it must return a Finding")
    try:
        status = Status(result.status)
    except ValueError:
        return _nonsense(f"check() returned a Finding with status={result.status!r}; give a Status, such as Status.HEALTHY")
    suggestions: object = result.suggestions
    if isinstance(suggestions, str) or not isinstance(suggestions, Iterable):
        suggestions = (suggestions,) if suggestions else ()
    details: object = result.details
    return replace(
        result,
        status=status,
        message=_presentable(result.message),
        condition=_presentable(result.condition),
        error_type=_presentable(result.error_type),
        suggestions=tuple(_presentable(suggestion) for suggestion in suggestions),
        details=dict(details) if isinstance(details, Mapping) else {},
    )


def finding_of_error(error: BaseException, name: str) -> Finding:
    """Return what it means that a check raised, as the checks that come with agentgauge put it: it is down, mostly.

    Args:
        error: What was raised.
        name: The component's name.
    """
    try:
        finding = explain(error, name)
        return replace(finding, message=finding.message.removeprefix(f"{name}: "))
    except Exception:  # noqa: BLE001 - of an error whose text cannot be had
        kind = type(error).__name__
        return Finding(status=Status.DOWN, message=kind, condition="error", error_type=kind)


def late(timeout_seconds: float) -> Finding:
    """Return what it means that a check did not end in time."""
    return Finding(
        status=Status.DOWN,
        message=f"no answer within {timeout_seconds:g} s",
        condition="timeout",
        error_type="TimeoutError",
        suggestions=_SUGGESTIONS,
    )


def hanging(count: int) -> Finding:
    """Return what it means that so many checks of a component have not ended yet that no other is begun."""
    return Finding(
        status=Status.DOWN,
        message=f"{count} checks of it hang still; no other is begun before one of them ends",
        condition="timeout",
        error_type="TimeoutError",
        suggestions=(*_SUGGESTIONS, "Give what the check calls a time limit of its own, so that the check can end."),
    )


def unstartable() -> Finding:
    """Return what it means that there was no thread for a check: nothing is known of the component."""
    return _nonsense("no thread could be started for its check", "Raise the limit on threads of the process or the container.")


def cancelled() -> Finding:
    """Return what it means that the program cancelled a check's coroutine: nothing is known of the component."""
    return _nonsense("the program cancelled its check", "Stop monitoring before the event loop ends.")


def _nonsense(message: str, suggestion: str = "Mend the check: nothing is known of the component.") -> Finding:
    return Finding(status=Status.UNKNOWN, message=_presentable(message), condition="error", suggestions=(suggestion,))


def _presentable(text: object) -> str:
    """Return one line without credentials."""
    return redact(text) if isinstance(text, str) else "" if text is None else _kind_of(text)


def _kind_of(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
