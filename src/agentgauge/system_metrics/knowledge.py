"""What a manager knows: the last pass, the history, the thresholds and the alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.notification import AlertBook, Event
from agentgauge.system_metrics.evaluation import Evaluation
from agentgauge.system_metrics.health import rate
from agentgauge.system_metrics.history import History
from agentgauge.system_metrics.summary import PerformanceSummary, summarize

if TYPE_CHECKING:
    from agentgauge.notification import HandlerReport, Notification
    from agentgauge.system_metrics.health import HealthScore
    from agentgauge.system_metrics.readings import Readings

__all__ = ["Knowledge"]

_PATIENCE_SECONDS = 300.0  # without a regular collection


class Knowledge:
    """Not for several threads at once.

    Args:
        history_seconds: How old a reading may become.
        history_points: How many readings of one series are kept.

    Attributes:
        evaluation: The thresholds, and what their series say.
        book: The alerts.
        history: The readings that are kept.
        readings: Those of the last pass; None before the first.
    """

    def __init__(self, history_seconds: float, history_points: int) -> None:
        self._history_seconds = history_seconds
        self._history_points = history_points
        self.evaluation = Evaluation(_PATIENCE_SECONDS)
        self.forget()

    def forget(self) -> None:
        """Forget all but the thresholds."""
        self.evaluation.forget()
        self.set_patience(None)
        self.book = AlertBook()
        self.history = History(self._history_seconds, self._history_points)
        self.readings: Readings | None = None
        self._cumulative: set[str] = set()
        self._passes = 0
        self._pass_seconds: float | None = None
        self._alerts_started = 0

    def set_patience(self, seconds: float | None) -> None:
        """Set for how long a series may be without a reading; None where none can be expected."""
        self.evaluation.patience_seconds = _PATIENCE_SECONDS if seconds is None else seconds

    def take_in(self, readings: Readings, now: float, pass_seconds: float) -> list[Notification]:
        """Take in a pass.

        Args:
            readings: What was read.
            now: When, in seconds of a clock that never goes back.
            pass_seconds: How long the pass took.

        Returns:
            What there is to tell.
        """
        self.readings = readings
        self._cumulative |= readings.cumulative
        self._passes += 1
        self._pass_seconds = pass_seconds
        self.history.add(readings, now)
        verdict = self.evaluation.update(readings, now)
        told = self.book.update(verdict.alerts, readings.at, verdict.reasons)
        self._alerts_started += sum(notification.event is Event.STARTED for notification in told)
        return told

    def health(self) -> HealthScore:
        """Rate the system as of the last pass."""
        collectors = {} if self.readings is None else self.readings.collectors
        return rate(self.evaluation.states(), self.evaluation.breaches(), collectors)

    def summary(self, since: float, window_seconds: float | None, handlers: tuple[HandlerReport, ...]) -> PerformanceSummary:
        """Sum up the readings since ``since``, a time of the clock that never goes back."""
        readings = self.readings
        units = {} if readings is None else readings.units
        series = sorted(self.history.series(since))
        summaries = (summarize(name, moments, units, self._cumulative) for name, moments in series)
        return PerformanceSummary(
            window_seconds=self._history_seconds if window_seconds is None else window_seconds,
            passes=self._passes,
            pass_seconds=self._pass_seconds,
            collectors={} if readings is None else dict(readings.collectors),
            series_left_out=0 if readings is None else readings.series_left_out,
            health=self.health(),
            alerts_started=self._alerts_started,
            handlers=handlers,
            metrics=tuple(summary for summary in summaries if summary is not None),
        )
