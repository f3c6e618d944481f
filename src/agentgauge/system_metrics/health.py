"""How well the system does, as one number with what is measured and what took points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentgauge.system_metrics.evaluation import Breach
    from agentgauge.targets import Threshold

__all__ = ["Deduction", "HealthScore", "rate"]

FULL_SCORE = 100.0

_POINTS = {"info": 5.0, "warning": 15.0, "critical": 40.0}
_PENDING_SHARE = 0.5
_POINTS_A_COLLECTOR = 10.0
_MOST_POINTS_FOR_COLLECTORS = 30.0


@dataclass(frozen=True, slots=True)
class Deduction:
    """What took points.

    Attributes:
        subject: The metric, or ``collectors``.
        points: How many, of 100.
        reason: A sentence that says why.
    """

    subject: str
    points: float
    reason: str


@dataclass(frozen=True, slots=True)
class HealthScore:
    """How well the system does by its thresholds.

    Attributes:
        points: From 0 to 100; None where nothing is measured.
        deductions: What took points, the most first; together they may be more than 100.
        measured: The metrics that thresholds look at and that were read.
        unmeasured: The metrics that thresholds look at and of which there is no reading, maybe for a misspelt name.
    """

    points: float | None
    deductions: tuple[Deduction, ...] = ()
    measured: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each deduction, with its points, and one for what is not measured."""
        told = tuple(f"{deduction.reason}: {deduction.points:.1f} points off" for deduction in self.deductions)
        missing = f"no reading of {', '.join(self.unmeasured)}" if self.unmeasured else ""
        return (*told, missing) if missing else told


def rate(states: Mapping[Threshold, bool | None], breaches: Iterable[Breach], collectors: Mapping[str, bool]) -> HealthScore:
    """Rate the system by what is taken from 100 points.

    - for each metric, by the worst of its breached thresholds: 40 if critical, 15 if a warning, 5 if an info; half of that
      while the breach is no alert yet, for want of time or samples;
    - 10 for each collector that failed or was late, at most 30.

    Args:
        states: Each threshold, and whether there is an alert; None where nothing was read.
        breaches: What is breached, be it an alert yet or not.
        collectors: Whether each collector answered in time.
    """
    known = {threshold.metric for threshold, state in states.items() if state is not None}
    unknown = {threshold.metric for threshold in states} - known
    by_metric: dict[str, list[Breach]] = {}
    for breach in breaches:
        by_metric.setdefault(breach.threshold.metric, []).append(breach)
    deductions = [_deduction(metric, found) for metric, found in by_metric.items()]
    if failing := sorted(name for name, is_well in collectors.items() if not is_well):
        points = min(_POINTS_A_COLLECTOR * len(failing), _MOST_POINTS_FOR_COLLECTORS)
        deductions.append(Deduction("collectors", points, f"failed or late: {', '.join(failing)}"))
    deductions.sort(key=lambda deduction: (-deduction.points, deduction.subject))
    points = max(0.0, FULL_SCORE - sum(deduction.points for deduction in deductions))
    return HealthScore(round(points, 1) if known else None, tuple(deductions), tuple(sorted(known)), tuple(sorted(unknown)))


def _deduction(metric: str, breaches: Sequence[Breach]) -> Deduction:
    worst = max(breaches, key=_points)
    threshold, series, watch = worst
    unit = threshold.unit and f" {threshold.unit}"
    others = len({breach.series for breach in breaches}) - 1
    reading = f"{threshold.shown(watch.value):.6g}{unit}"
    reason = f"{series} is {reading}, {threshold.severity} {threshold.operator} {threshold.value:g}{unit}"
    if not watch.is_firing and watch.since is not None:
        reason += f", breached for {watch.seen - watch.since:.0f} s of {threshold.hold_seconds:g} s"
    return Deduction(metric, _points(worst), reason + (f", and {others} more of its series" if others else ""))


def _points(breach: Breach) -> float:
    return _POINTS[breach.threshold.severity] * (1.0 if breach.watch.is_firing else _PENDING_SHARE)
