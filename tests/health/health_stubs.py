"""Components whose findings the tests set."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgauge.health import ComponentType, Finding, Schedule, Status

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 60.0  # far longer than anything takes, on a busy machine too

WELL = Finding(status=Status.HEALTHY)
DOWN = Finding(status=Status.DOWN, message="nobody answers", condition="refused", suggestions=("start it",))
WARNING = Finding(status=Status.WARNING, message="nearly full", condition="threshold")


@dataclass
class Stub:
    """A checker that does as it is told, and counts."""

    does: Any = WELL
    name: str = "database"
    component_type: ComponentType = ComponentType.DATABASE
    schedule: Schedule = field(default_factory=lambda: Schedule(interval_seconds=3600, timeout_seconds=PATIENCE_SECONDS))
    checks: int = 0

    def check(self) -> Any:
        self.checks += 1
        return self.does() if callable(self.does) else self.does


def often(**settings: Any) -> Schedule:
    """Every hundredth of a second; statuses stay as they are for as long as a test may take."""
    return Schedule(**{"interval_seconds": 0.01, "timeout_seconds": PATIENCE_SECONDS, "failure_threshold": 1, **settings})


def within(seconds: float = PATIENCE_SECONDS, **settings: Any) -> Schedule:
    """Once, within a time limit."""
    return Schedule(**{"interval_seconds": 3600, "timeout_seconds": seconds, "failure_threshold": 1, **settings})


class Hang:
    """A check that hangs until it is released, at the end of the test at the latest."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self) -> Finding:
        self.begun.release()
        self.released.wait(PATIENCE_SECONDS)
        return WELL


def eventually(is_so: Callable[[], Any]) -> bool:
    """Wait until something is so; tell whether it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := is_so()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(seen)
