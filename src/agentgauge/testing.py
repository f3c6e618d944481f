"""What users need to test their own instrumentation: a recorder that starts anew, a clock in their hand, and loud faults."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from agentgauge.errors import contained_errors
from agentgauge.recording.default import default_recorder, show_default_recorder
from agentgauge.recording.site import current_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recording.recorder import Recorder

__all__ = ["FakeClock", "Isolation", "isolated", "reraise_internal_errors"]


class FakeClock:
    """A clock that moves only when told to; call it for its time in seconds."""

    def __init__(self, now: float = 1_000.0) -> None:
        """Start at ``now``."""
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self.now += seconds


@dataclass(frozen=True, slots=True)
class Isolation:
    """What ``isolated()`` gives.

    Attributes:
        registry: A fresh registry that shows nothing but what is recorded in the block.
        clock: The clock by which calls are timed and dated.
        recorder: The recorder behind the decorators.
    """

    registry: CollectorRegistry
    clock: FakeClock
    recorder: Recorder

    def value(self, name: str, **labels: str) -> float | None:
        """Return one sample's value, None where there is no such series: ``value("agentgauge_events_recorded_total")``."""
        return self.registry.get_sample_value(name, labels)


@contextmanager
def isolated(clock: FakeClock | None = None) -> Iterator[Isolation]:
    """Let everything decorated record into an empty recorder on a fresh registry, with a clock that stands still.

    What was recorded before is forgotten: for tests only.

    Args:
        clock: The clock to use; by default a new one that starts at 1000 seconds.
    """
    clock = clock or FakeClock()
    recorder = default_recorder()
    clock_before = recorder.clock
    registry = CollectorRegistry()
    errors_before = dict(contained_errors.count_by_hook)
    contained_errors.count_by_hook.clear()
    recorder.reset(clock=clock, wall_clock=clock)
    show_default_recorder(registry)
    try:
        with _own_agent():
            yield Isolation(registry, clock, recorder)
    finally:
        recorder.reset(clock=clock_before)
        contained_errors.count_by_hook.clear()
        contained_errors.count_by_hook.update(errors_before)


@contextmanager
def reraise_internal_errors() -> Iterator[None]:
    """Let faults of agentgauge itself surface in the block instead of being contained."""
    was_reraising = contained_errors.is_reraising
    contained_errors.is_reraising = True
    try:
        with _own_agent():
            yield
    finally:
        contained_errors.is_reraising = was_reraising


@contextmanager
def _own_agent() -> Iterator[None]:
    """Leave the agent's name as it was found, also where a fault that was raised again kept a call from leaving its agent."""
    token = current_agent.set("")
    try:
        yield
    finally:
        with suppress(ValueError):  # an asynchronous fixture may end in another context
            current_agent.reset(token)
