"""What is known of components, as series of the default recorder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agentgauge.catalogue.reliability import (
    HEALTH_CHECK_DURATION,
    HEALTH_CHECK_INTERVAL,
    HEALTH_CHECKS,
    HEALTH_FLAPPING,
    HEALTH_LAST_CHECK,
    HEALTH_STATUS,
    HEALTH_STATUSES,
    HEALTH_TRANSITIONS,
)
from agentgauge.recording.cells import ABSENT
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentgauge.health.component import Component
    from agentgauge.health.status import Status
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder

__all__ = ["Series", "take_away"]

_GAUGES = (HEALTH_STATUS, HEALTH_FLAPPING, HEALTH_LAST_CHECK, HEALTH_CHECK_INTERVAL)


class Series:
    """Counts as things happen; gauges are stated before every page, so that what is stale is so without anybody's doing.

    Gauges are shown while components are monitored, and after checks that somebody asked for, until ``hide()``.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.is_monitoring = False
        self._clock = clock
        self._is_shown = False
        self._components: tuple[Component, ...] = ()  # replaced, never changed: pages look at it meanwhile
        self.shown: list[Labels] = []  # by their labels alone, so that whoever keeps this keeps no checker
        self.renew()
        self._recorder = default_recorder()
        self._recorder.reporters.add(self)
        self._recorder.dependents.add(self)

    def renew(self) -> None:
        """Make a new lock, as a forked child must."""
        self._stating = threading.RLock()  # so that no page shows what was taken away meanwhile

    def restart(self, components: Iterable[Component]) -> None:
        """Begin anew with these components, of which nothing is shown yet, as a forked child must."""
        self.renew()
        self.is_monitoring = self._is_shown = False
        self._components = tuple(components)

    def add(self, component: Component) -> None:
        """Show a component, its counters from zero, so that ``increase()`` sees the first."""
        with self._stating:
            self._components = (*self._components, component)
            self.shown.append(component.labels)
        self._begin(component)

    def remove(self, component: Component) -> None:
        """Take the gauges of a component away; what was counted stays, as counters do."""
        with self._stating:
            self._components = tuple(other for other in self._components if other is not component)
            self.shown.remove(component.labels)
            self._take_away((component,))

    def show(self) -> None:
        """Show what is known from now on."""
        self._is_shown = True

    def hide(self) -> None:
        """Show what is known no more: nobody keeps it up to date."""
        with self._stating:
            self._is_shown = self.is_monitoring = False
            self._take_away(self._components)

    def note_check(self, component: Component, found: Status, duration_seconds: float | None) -> None:
        """Count a check; None for the duration of one that was not begun."""
        self._recorder.observe(HEALTH_CHECKS, (*component.labels, ("status", found.value)), 1)
        if duration_seconds is not None:
            self._recorder.observe(HEALTH_CHECK_DURATION, component.labels, duration_seconds)

    def note_transition(self, component: Component, status: Status) -> None:
        """Count a change of status."""
        self._recorder.observe(HEALTH_TRANSITIONS, (*component.labels, ("status", status.value)), 1)

    def report(self, recorder: Recorder) -> None:
        """State the gauges."""
        with self._stating:
            if not self._is_shown:
                return
            now = self._clock()
            for component in self._components:
                standing, labels = component.course.standing, component.labels
                recorder.observe(HEALTH_STATUS, labels, HEALTH_STATUSES.index(standing.status_at(now)))
                recorder.observe(HEALTH_FLAPPING, labels, float(standing.is_flapping))
                interval = component.schedule.interval_seconds if self.is_monitoring else ABSENT
                recorder.observe(HEALTH_CHECK_INTERVAL, labels, interval)
                if standing.checked_at is not None:
                    recorder.observe(HEALTH_LAST_CHECK, labels, standing.checked_at)

    def forget(self) -> None:
        """Begin the counters again, since the recorder has begun anew."""
        for component in self._components:
            self._begin(component)

    def _begin(self, component: Component) -> None:
        for status in HEALTH_STATUSES:
            self._recorder.observe(HEALTH_CHECKS, (*component.labels, ("status", status)), 0)
            self._recorder.observe(HEALTH_TRANSITIONS, (*component.labels, ("status", status)), 0)

    def _take_away(self, components: Iterable[Component]) -> None:
        take_away(self._recorder, [component.labels for component in components])


def take_away(recorder: Recorder, shown: Iterable[Labels]) -> None:
    """Show the gauges of these components no more."""
    for labels in shown:
        for family in _GAUGES:
            recorder.observe(family, labels, ABSENT)
