"""What does not fit the past of one series: spikes, level shifts, drifts, changes of variance, missing traffic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agentgauge.analytics.analysis.baseline import baseline
from agentgauge.analytics.analysis.findings import LEAST_KNOWN, Finding, Shape
from agentgauge.analytics.analysis.missing import missing_runs
from agentgauge.analytics.analysis.scan import Scan
from agentgauge.analytics.analysis.windows import moving_median

if TYPE_CHECKING:
    import numpy.typing as npt

    from agentgauge.analytics.analysis.baseline import Array, Baseline

__all__ = ["Judgement", "judge"]

_SMALL, _HUGE = 1e-100, 1e100
_SMOOTH = 5
_FAR = 4.0  # standard deviations, of as many values in a row as the shortest window that is looked at for a level
_LONG = 6
_LEAST_USUAL = 0.5
_MOST_FAR = 3  # stretches
_NEAR = 0.2
_MOST_BETWEEN = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What is known of one series.

    Attributes:
        baseline: What is expected; None where fewer than 64 values are known, stretches without traffic left out.
        findings: What does not fit, in order of time.
        now: The score of what the series ends with: at least 1 where a finding reaches its end; NaN where nothing can be said,
            since fewer than 64 values are known at all.
    """

    baseline: Baseline | None
    findings: tuple[Finding, ...] = ()
    now: float = float("nan")


def judge(values: Array, *, period: int | None = None, alpha: float = 0.01, is_traffic: bool = False) -> Judgement:
    """Find what does not fit the rest of a series.

    Args:
        values: On an even grid; NaN where missing.
        period: The steps of the season that may be there, such as those of a day.
        alpha: How probable it is that chance alone makes a finding, of each shape, anywhere in the series.
        is_traffic: Whether nothing at all (zero, or missing values between others or at the end) is something to find.

    Source: the scans are generalized likelihood ratio tests for a change that begins and ends (Basseville and Nikiforov,
    "Detection of Abrupt Changes", 1993, 2.4 and 4.4) over windows of several lengths; what chance does is Student's t with the
    degrees of freedom of a MAD, and the empirical spread of the window's own statistic wherever that is greater.
    """
    values = np.asarray(values, dtype=np.float64).copy()
    values[~np.isfinite(values)] = np.nan
    if np.count_nonzero(np.isfinite(values)) < LEAST_KNOWN:
        return Judgement(None)
    largest = float(np.nanmax(np.abs(values)))
    if largest == 0 or _SMALL < largest < _HUGE:
        return _judged(values, period, alpha, is_traffic=is_traffic)
    return _in_unit(_judged(values / largest, period, alpha, is_traffic=is_traffic), largest)


def _judged(values: Array, period: int | None, alpha: float, *, is_traffic: bool) -> Judgement:
    fitted, far = _usual(values, period)
    findings: list[Finding] = []
    if is_traffic and fitted is not None:
        for first, last, score in missing_runs(values, fitted.period, alpha):
            expected = float(np.mean(fitted.expected[first : last + 1]))
            findings.append(Finding(first, last, Shape.MISSING, score, max(expected, 0.0), 0.0))
            values[first : last + 1] = np.nan
    if findings:  # what is not silent is judged by itself, if that is enough
        fitted, far = _usual(values, period) if np.count_nonzero(np.isfinite(values)) >= LEAST_KNOWN else (None, far)
    if fitted is None or not np.nanmax(fitted.scale) > 0:  # what never changes has nothing to hold a value against
        now = max((one.score for one in findings if one.last == values.size - 1), default=0.0)
        return Judgement(fitted, tuple(findings), now)
    scan = Scan(values, fitted, alpha, findings, far)
    scan.offsets()
    scan.variances()
    scan.spikes()
    if not np.nanmin(values) < 0:  # a line may lead below what there cannot be less of
        findings = [replace(one, expected=max(one.expected, 0.0)) for one in findings]
    return Judgement(fitted, tuple(sorted(findings, key=lambda one: (one.first, one.last))), scan.now())


def _usual(values: Array, period: int | None) -> tuple[Baseline | None, npt.NDArray[np.bool_]]:
    """Fit what is usual to what is not far out for long, and tell what is: a fault is not what it is held against itself.

    A level that is far away for a third of a series tilts its line, widens its scale by two thirds and is all autocorrelation.
    What is far out again and again is usual, and so is what sways there and back.
    """
    fitted, far = baseline(values, period=period), np.zeros(values.size, dtype=bool)
    known = np.count_nonzero(np.isfinite(values))
    while fitted is not None and np.nanmax(fitted.scale) > 0:
        with np.errstate(all="ignore"):
            course = moving_median((values - fitted.expected) / fitted.scale, _SMOOTH)
        away = far | _long(course > _FAR) | _long(course < -_FAR)
        rest = np.where(away, np.nan, values)
        if (away == far).all() or np.count_nonzero(np.isfinite(rest)) < _LEAST_USUAL * known:
            break
        again = baseline(rest, period=period) if _stretches(away) <= _MOST_FAR and _is_apart(course, away) else None
        if again is None:
            break
        far = away
        if not np.nanmax(again.scale) > 0:  # what else never changes tells nothing of what chance does
            break
        fitted = again
    return fitted, far


def _is_apart(course: Array, away: npt.NDArray[np.bool_]) -> bool:
    """Tell whether there is hardly anything between what is usual and what is far: what sways slowly passes all of it."""
    size, height = np.abs(course), float(np.nanmedian(np.abs(course[away])))
    between = np.count_nonzero((size > _NEAR * height) & (size < height / 2))
    return bool(between <= _MOST_BETWEEN * np.count_nonzero(away) + 2)


def _stretches(where: npt.NDArray[np.bool_]) -> int:
    """Count them, those hardly apart as one."""
    at = np.flatnonzero(where)
    return int(np.count_nonzero(np.diff(at) > _LONG)) + bool(at.size)


def _long(where: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where it is so for at least six values in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    kept = np.zeros_like(where)
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        kept[first:after] = after - first >= _LONG
    return kept


def _in_unit(found: Judgement, unit: float) -> Judgement:
    """Give back what was found of values that were divided by a unit, lest their squares be endless, or nothing."""
    findings = tuple(replace(one, expected=one.expected * unit, observed=one.observed * unit) for one in found.findings)
    fitted = found.baseline
    if fitted is not None:
        fitted = replace(fitted, expected=fitted.expected * unit, scale=fitted.scale * unit)
    return Judgement(fitted, findings, found.now)
