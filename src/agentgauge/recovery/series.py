"""What recovery shows in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.catalogue import reliability
from agentgauge.catalogue.family import COMPONENT
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.catalogue import Family
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recovery.component import Component
    from agentgauge.recovery.failure import EscalationReason, Outcome

__all__ = ["REQUEST_RESULTS", "Drift", "RecoverySeries", "RequestSeries"]

_REASONS: tuple[EscalationReason, ...] = ("budget", "breaker", "no_action")
REQUEST_RESULTS = ("accepted", "unmatched", "duplicate", "resolved", "refused")


class RecoverySeries:
    """The series of some components; those of a component that nothing has befallen are there, too, as zeros.

    Args:
        actions: The names of the actions of each component.
    """

    def __init__(self, actions: Mapping[str, Iterable[str]]) -> None:
        self._actions = {component: tuple(names) for component, names in actions.items()}
        self.forget()
        default_recorder().dependents.add(self)

    def forget(self) -> None:
        """Begin anew with zeros, as the recorder did."""
        for component, names in self._actions.items():
            label = (COMPONENT, component)
            for name in names:
                for outcome in reliability.RECOVERY_OUTCOMES:
                    _observe(reliability.RECOVERY_ATTEMPTS, (label, ("action", name), ("outcome", outcome)), 0)
            for reason in _REASONS:
                _observe(reliability.RECOVERY_ESCALATIONS, (label, ("reason", reason)), 0)
            _observe(reliability.RECOVERY_IN_PROGRESS, (label,), 0)
            _observe(reliability.RECOVERY_FLAPPING, (label,), 0)

    def release(self) -> None:
        """Leave the series as they are from now on."""
        default_recorder().dependents.discard(self)

    @staticmethod
    def count_attempt(component: str, action: str, outcome: Outcome) -> None:
        """Count an attempt by what came of it."""
        _observe(reliability.RECOVERY_ATTEMPTS, ((COMPONENT, component), ("action", action), ("outcome", outcome)), 1)

    @staticmethod
    def count_recovery(component: str, seconds: float) -> None:
        """Take in how long a component failed."""
        _observe(reliability.RECOVERY_TIME, ((COMPONENT, component),), seconds)

    @staticmethod
    def count_escalation(component: str, reason: EscalationReason) -> None:
        """Count a failure that was given up on."""
        _observe(reliability.RECOVERY_ESCALATIONS, ((COMPONENT, component), ("reason", reason)), 1)

    @staticmethod
    def show_progress(component: str, is_in_progress: bool) -> None:
        """Show whether a component is being recovered."""
        _observe(reliability.RECOVERY_IN_PROGRESS, ((COMPONENT, component),), int(is_in_progress))

    @staticmethod
    def show_flapping(component: str, is_flapping: bool) -> None:
        """Show whether it fails again soon after it was recovered."""
        _observe(reliability.RECOVERY_FLAPPING, ((COMPONENT, component),), int(is_flapping))


class Drift:
    """States what changes by itself as time goes by: a component settles, and a window of time moves on.

    Args:
        components: The components.
        clock: Seconds on the clock of the recoveries.
    """

    def __init__(self, components: Iterable[Component], clock: Callable[[], float]) -> None:
        self._components = tuple(components)
        self._clock = clock
        default_recorder().reporters.add(self)

    def release(self) -> None:
        """State it once more, and then nothing any more."""
        self.report(default_recorder())
        default_recorder().reporters.discard(self)

    def report(self, recorder: Recorder) -> None:
        """State it, before a page is made."""
        now = self._clock()
        for component in self._components:
            label = ((COMPONENT, component.name),)
            recorder.observe(reliability.RECOVERY_FLAPPING, label, int(component.is_flapping(now)))
            if component.attempts_left is not None:
                plan, left = component.attempts_left
                recorder.observe(reliability.RECOVERY_ATTEMPTS_LEFT, label, min(left, component.window_left(plan, now)))


class RequestSeries:
    """The series of a webhook."""

    def __init__(self) -> None:
        self.forget()
        default_recorder().dependents.add(self)

    def forget(self) -> None:
        """Begin anew with zeros, as the recorder did."""
        for result in REQUEST_RESULTS:
            self.count(result, 0)

    @staticmethod
    def count(result: str, alerts: int = 1) -> None:
        """Count alerts by what became of them."""
        _observe(reliability.RECOVERY_REQUESTS, (("result", result),), alerts)


def _observe(family: Family, labels: tuple[tuple[str, str], ...], value: float) -> None:
    default_recorder().observe(family, labels, value)
