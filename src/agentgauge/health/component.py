"""One component that is checked: what checks it, what is known of it, and the checks of it that go on."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from agentgauge.catalogue.family import COMPONENT
from agentgauge.catalogue.reliability import COMPONENT_TYPE
from agentgauge.errors import ConfigurationError
from agentgauge.health.concern import Concern
from agentgauge.health.course import Course
from agentgauge.health.runs import OwnLoop
from agentgauge.health.status import ComponentType, Schedule
from agentgauge.notification import AlertBook
from agentgauge.requirements import require_name

if TYPE_CHECKING:
    from agentgauge.health.runs import Run
    from agentgauge.health.status import HealthChecker

__all__ = ["Component", "require_checker"]

_PARTS = ("name", "component_type", "schedule", "check")


class Component:
    """Changed under the lock of whoever keeps it.

    Attributes:
        book: What is wrong with it; one for all would be gone through at each finding of each.
        run: The check that goes on, None where none does.
        behind: Checks that are late: their threads go on, and what they find counts no more.
        has_answered: Whether a check of it ended since monitoring began.
    """

    def __init__(self, checker: HealthChecker, history_points: int, at: float) -> None:
        self.checker = checker
        self.name = checker.name
        self.type = ComponentType(checker.component_type)
        self.schedule = checker.schedule
        self.labels = ((COMPONENT, self.name), (COMPONENT_TYPE, self.type.value))
        self._history_points = history_points
        self.restart(at)

    def restart(self, at: float) -> None:
        """Know nothing of it from ``at`` on, a Unix time."""
        self.course = Course(self.schedule, self._history_points, at)
        self.concern = Concern(self.name, self.type, is_required=self.schedule.is_required)
        self.book = AlertBook()
        self.own_loop = OwnLoop()
        self.run: Run | None = None
        self.behind: set[Run] = set()
        self.has_answered = False


def require_checker(checker: HealthChecker) -> None:
    """Refuse what cannot be checked.

    Raises:
        ConfigurationError: Something is missing or cannot work; the message names it and the fix.
    """
    given = f"add_health_checker({_shown(checker)})"
    if inspect.isclass(checker):
        raise ConfigurationError(f"{given}: it is a class; give an object of it, such as {checker.__name__}(...)")
    missing = [part for part in _PARTS if not hasattr(checker, part)]
    if missing:
        raise ConfigurationError(
            f"{given}: it lacks {' and '.join(missing)}; give a check of agentgauge.health, or an object with name, "
            "component_type, schedule and check()"
        )
    require_name(f"{given}: name", checker.name, "database")
    try:
        ComponentType(checker.component_type)
    except ValueError:
        raise ConfigurationError(
            f"{given}: component_type={checker.component_type!r}: give a ComponentType, such as ComponentType.SERVICE"
        ) from None
    if not isinstance(checker.schedule, Schedule):
        raise ConfigurationError(
            f"{given}: schedule={checker.schedule!r}: give a Schedule, such as Schedule(interval_seconds=30)"
        )
    if not callable(checker.check):
        raise ConfigurationError(f"{given}: check={checker.check!r}: give a method without arguments that returns a Finding")
    try:
        inspect.signature(checker.check).bind()
    except TypeError as error:
        raise ConfigurationError(f"{given}: check() must take no arguments ({error})") from None
    except ValueError:  # builtins tell none
        return


def _shown(checker: object) -> str:
    """Name a checker by its type alone: what it holds may be a secret."""
    return checker.__name__ if inspect.isclass(checker) else type(checker).__name__
