"""What a manager knows: the last pass, the history, the thresholds and the alerts."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from agentgauge.notification import AlertBook, Event
from agentgauge.system_metrics.evaluation import Evaluation
from agentgauge.system_metrics.health import rate
from agentgauge.system_metrics.history import History, points_of
from agentgauge.system_metrics.summary import PerformanceSummary, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.notification import Alert, HandlerReport, Notification
    from agentgauge.system_metrics.evaluation import Breach
    from agentgauge.system_metrics.health import HealthScore
    from agentgauge.system_metrics.readings import MetricPoint, Readings
    from agentgauge.targets import Threshold

__all__ = ["Knowledge"]

_PATIENCE_SECONDS = 300.0  # without a regular collection


class Knowledge:
    """For any thread: what is asked for is copied under a lock, and worked out when that is free again.

    Args:
        history_seconds: How old a reading may become.
        history_points: How many readings of one series are kept.
        series_limit: How many series are kept.

    Attributes:
        history: The readings that are kept.
        readings: Those of the last pass; None before the first.
        states: Each threshold, and whether there is an alert, None where nothing was read; replaced, never changed, so that a
            scrape waits for nobody.
    """

    def __init__(self, history_seconds: float, history_points: int, series_limit: int) -> None:
        self._history_seconds = history_seconds
        self._history_points = history_points
        self._series_limit = series_limit
        self._evaluation = Evaluation(_PATIENCE_SECONDS)
        self.forget()

    def forget(self) -> None:
        """Forget all but the thresholds, as a forked child must, where nobody will release the lock."""
        self._lock = threading.RLock()
        self._evaluation.forget()
        self.set_patience(None)
        self._book = AlertBook()
        self.history = History(self._history_seconds, self._history_points, self._series_limit)
        self.readings: Readings | None = None
        self._passes = 0
        self._pass_seconds: float | None = None
        self._alerts_started = 0
        self._publish()

    def _publish(self) -> None:
        self.states: Mapping[Threshold, bool | None] = MappingProxyType(self._evaluation.states())

    def set_patience(self, seconds: float | None) -> None:
        """Set for how long a series may be without a reading; None where none can be expected."""
        self._evaluation.patience_seconds = _PATIENCE_SECONDS if seconds is None else seconds

    def set_threshold(self, threshold: Threshold) -> None:
        """Watch ``threshold``, in the place of one of the same metric, labels, severity and operator."""
        with self._lock:
            self._evaluation.set(threshold)
            self._publish()

    def remove_threshold(self, threshold: Threshold) -> None:
        """Watch that threshold no more."""
        with self._lock:
            self._evaluation.remove(threshold)
            self._publish()

    def take_in(self, readings: Readings, now: float, pass_seconds: float) -> list[Notification]:
        """Take in a pass.

        Args:
            readings: What was read.
            now: When, in seconds of a clock that never goes back.
            pass_seconds: How long the pass took.

        Returns:
            What there is to tell.
        """
        with self._lock:
            self.readings = readings
            self._passes += 1
            self._pass_seconds = pass_seconds
            self.history.add(readings, now)
            verdict = self._evaluation.update(readings, now)
            told = self._book.update(verdict.alerts, readings.at, verdict.reasons, verdict.endings)
            self._alerts_started += sum(notification.event is Event.STARTED for notification in told)
            self._publish()
        return told

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts as of the last pass, the most severe first, then the oldest."""
        with self._lock:
            return self._book.active

    def points(self, metric: str | None, since: float, labels: Mapping[str, str] | None = None) -> tuple[MetricPoint, ...]:
        """Return the readings of a metric since a time of the clock that never goes back, of series that have the labels."""
        with self._lock:
            stretches, units = self.history.pick(metric, since, labels), self.history.units.copy()
        return points_of(stretches, units)

    def health(self) -> HealthScore:
        """Rate the system as of the last pass."""
        with self._lock:
            states, breaches, collectors = self._standing()
        return rate(states, breaches, collectors)

    def _standing(self) -> tuple[Mapping[Threshold, bool | None], list[Breach], dict[str, bool]]:
        breaches = [breach._replace(watch=replace(breach.watch)) for breach in self._evaluation.breaches()]
        return self.states, breaches, {} if self.readings is None else dict(self.readings.collectors)

    def summary(self, since: float, window_seconds: float | None, handlers: tuple[HandlerReport, ...]) -> PerformanceSummary:
        """Sum up the readings since ``since``, a time of the clock that never goes back."""
        with self._lock:
            states, breaches, collectors = self._standing()
            readings, passes, pass_seconds, started = self.readings, self._passes, self._pass_seconds, self._alerts_started
            stretches, forgotten = self.history.pick(None, since), self.history.series_forgotten
            units, cumulative = self.history.units.copy(), self.history.cumulative.copy()
        summaries = (summarize(series, moments, units, cumulative) for series, moments in sorted(stretches))
        return PerformanceSummary(
            window_seconds=self._history_seconds if window_seconds is None else window_seconds,
            passes=passes,
            pass_seconds=pass_seconds,
            collectors=collectors,
            series_left_out=0 if readings is None else readings.series_left_out,
            series_forgotten=forgotten,
            health=rate(states, breaches, collectors),
            alerts_started=started,
            handlers=handlers,
            metrics=tuple(summary for summary in summaries if summary is not None),
        )

    def document(self) -> dict[str, object]:
        """Return everything that is known, as of one moment."""
        with self._lock:
            standing, alerts, readings = self._standing(), self._book.active, self.readings
            stretches, units = self.history.pick(None, -math.inf), self.history.units.copy()
        states, _, collectors = standing
        return {
            "collectors": collectors,
            "current": {} if readings is None else readings.points(),
            "history": points_of(stretches, units),
            "alerts": alerts,
            "health": rate(*standing),
            "thresholds": tuple(states),
        }
