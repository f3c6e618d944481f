"""Which thresholds are breached, and for how long: a state machine for each threshold and series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.notification import Alert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentgauge.system_metrics.readings import Readings, Series
    from agentgauge.targets import Threshold

__all__ = ["SOURCE", "Breach", "Evaluation", "Verdict", "Watch"]

SOURCE = "system_metrics"

_WORDS = {">": "above", ">=": "at or above", "<": "below", "<=": "at or below"}


@dataclass(slots=True)
class Watch:
    """One threshold on one series: well, or breached since ``since``, which is an alert once ``is_firing``.

    Attributes:
        value: The last reading.
        seen: When that was.
        since: When the first of the readings in a row that breach the threshold was taken; None where the last does not.
        samples: How many there are of those.
        is_firing: Whether they were enough, and the reading has not come back by the hysteresis since.
    """

    value: float = math.nan
    seen: float = -math.inf
    since: float | None = None
    samples: int = 0
    is_firing: bool = False

    def update(self, threshold: Threshold, value: float, now: float, patience_seconds: float) -> None:
        """Take in a reading.

        Args:
            threshold: The limit.
            value: The reading; not NaN.
            now: Seconds of a clock that never goes back.
            patience_seconds: A longer time without a reading breaks the row.
        """
        is_row_broken = now - self.seen > patience_seconds
        self.value, self.seen = value, now
        if self.is_firing and threshold.is_still_breached_by(value):
            return
        if self.is_firing or not threshold.is_breached_by(value):
            self.since, self.samples, self.is_firing = None, 0, False
            return
        if self.since is None or is_row_broken:
            self.since, self.samples = now, 0
        self.samples += 1
        self.is_firing = now - self.since >= threshold.hold_seconds and self.samples >= threshold.minimum_samples


class Breach(NamedTuple):
    """A threshold that a series breaches, be it an alert yet or not."""

    threshold: Threshold
    series: Series
    watch: Watch


class Verdict(NamedTuple):
    """What a pass found.

    Attributes:
        alerts: All that there are.
        reasons: Why those that are none any more ended, where the reading did not come back.
        endings: Those whose reading came back, with that reading.
    """

    alerts: list[Alert]
    reasons: dict[tuple[object, ...], str]
    endings: list[Alert]


class Evaluation:
    """The thresholds and what their series say; not for several threads at once.

    Attributes:
        patience_seconds: How long a series may be without a reading before an alert on it ends and a row of readings is broken.
    """

    def __init__(self, patience_seconds: float) -> None:
        self.patience_seconds = patience_seconds
        self._watches: dict[tuple[object, ...], tuple[Threshold, dict[Series, Watch]]] = {}
        self._totals: dict[Series, tuple[float, float]] = {}
        self._removed: dict[tuple[object, ...], str] = {}  # why alerts will have ended with the next pass

    def set(self, threshold: Threshold) -> None:
        """Watch ``threshold``, in the place of one of the same metric, labels, severity and operator."""
        key = _key(threshold)
        _, watches = self._watches.get(key, (threshold, {}))  # what fires goes on until the new limit says otherwise
        self._watches[key] = (threshold, watches)

    def remove(self, threshold: Threshold) -> None:
        """Watch that threshold no more; alerts by it end with the next pass, which says why."""
        removed, watches = self._watches.pop(_key(threshold), (threshold, {}))
        for series, watch in watches.items():
            if watch.is_firing:
                self._removed[_identity(removed, series)] = "its threshold was removed"

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """What is watched."""
        return tuple(threshold for threshold, _ in self._watches.values())

    def forget(self) -> None:
        """Forget every reading; the thresholds stay."""
        self._totals.clear()
        self._removed.clear()
        for _, watches in self._watches.values():
            watches.clear()

    def update(self, readings: Readings, now: float) -> Verdict:
        """Take in a pass at ``now``, in seconds of a clock that never goes back."""
        by_metric: dict[str, list[tuple[Series, float]]] = {}
        wanted = {threshold.metric for threshold in self.thresholds}
        for series, value in readings.values.items():
            if series.metric in wanted and not math.isnan(value):
                by_metric.setdefault(series.metric, []).append((series, value))
        growths = self._growths(by_metric, now)
        endings: list[Alert] = []
        for threshold, watches in self._watches.values():
            for series, value in by_metric.get(threshold.metric, ()):
                compared = growths.get(series) if threshold.per_second else value
                if compared is not None and threshold.matches(dict(series.labels)):
                    watch = watches.setdefault(series, Watch())
                    was_firing = watch.is_firing
                    watch.update(threshold, compared, now, self.patience_seconds)
                    if was_firing and not watch.is_firing:
                        endings.append(_alert(Breach(threshold, series, watch), readings))
        reasons, self._removed = self._removed | dict(self._expire(now)), {}
        alerts = [_alert(breach, readings) for breach in self.breaches() if breach.watch.is_firing]
        return Verdict(alerts, reasons, endings)

    def _growths(self, by_metric: Mapping[str, list[tuple[Series, float]]], now: float) -> dict[Series, float]:
        metrics = {threshold.metric for threshold in self.thresholds if threshold.per_second}
        growths: dict[Series, float] = {}
        totals: dict[Series, tuple[float, float]] = {}
        for metric in metrics:
            for series, value in by_metric.get(metric, ()):
                then, before = self._totals.get(series, (now, value))
                totals[series] = (now, value)
                if now > then and value >= before:  # a total that fell was started anew
                    growths[series] = (value - before) / (now - then)
        self._totals = {
            series: total for series, total in self._totals.items() if now - total[0] <= self.patience_seconds
        } | totals
        return growths

    def _expire(self, now: float) -> Iterator[tuple[tuple[object, ...], str]]:
        for threshold, watches in self._watches.values():
            for series, watch in list(watches.items()):
                if now - watch.seen > self.patience_seconds:
                    del watches[series]
                    yield _identity(threshold, series), f"no reading for {now - watch.seen:.0f} s"

    def breaches(self) -> Iterator[Breach]:
        """Yield what is breached, be it an alert yet or not."""
        for threshold, watches in self._watches.values():
            for series, watch in watches.items():
                if watch.since is not None:
                    yield Breach(threshold, series, watch)

    def states(self) -> dict[Threshold, bool | None]:
        """Tell of each threshold whether there is an alert; None where no series says anything."""
        return {
            threshold: any(watch.is_firing for watch in watches.values()) if watches else None
            for threshold, watches in self._watches.values()
        }


def _key(threshold: Threshold) -> tuple[object, ...]:
    labels = frozenset(threshold.labels.items())
    return (threshold.metric, threshold.severity, threshold.operator, threshold.per_second, labels)


def _side(threshold: Threshold) -> str:
    return ("above" if threshold.operator.startswith(">") else "below") + (" per second" if threshold.per_second else "")


def _identity(threshold: Threshold, series: Series) -> tuple[object, ...]:
    return (SOURCE, series.metric, series.labels, _side(threshold))  # as Alert.key


def _alert(breach: Breach, readings: Readings) -> Alert:
    threshold, series, watch = breach
    unit = threshold.unit or readings.units.get(series.metric, "")
    value = threshold.shown(watch.value)
    written = ("" if unit == "ratio" else f" {unit}" if unit else "") + (" a second" if threshold.per_second else "")
    shown, limit = f"{value:.6g}{written}", f"{threshold.value:.6g}{written}"
    if threshold.is_breached_by(watch.value):
        summary = f"{series} is {shown}, {_WORDS[threshold.operator]} {limit}"
    elif not watch.is_firing:
        summary = f"{series} is {shown}, no longer {_WORDS[threshold.operator]} {limit}"
    else:
        summary = (
            f"{series} is {shown}: it was {_WORDS[threshold.operator]} {limit} and has not come back by {threshold.hysteresis:g}"
        )
    return Alert(
        source=SOURCE,
        subject=series.metric,
        labels=dict(series.labels),
        identity=_side(threshold),
        severity=threshold.severity,
        summary=summary,
        started_at=readings.at,
        value=value,
        limit=threshold.value,
        operator=threshold.operator,
        unit=unit,
    )
