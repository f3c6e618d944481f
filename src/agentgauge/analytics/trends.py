"""Over a source: what rises, falls or steps; ranked, told in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import LEAST_PROBABILITY, amount, duration, moment, percent
from agentgauge.analytics.analysis.changes import change_points
from agentgauge.analytics.analysis.course import MOST_STEPS, is_stepped, left_by_line, left_by_steps
from agentgauge.analytics.analysis.trend import Direction, trend
from agentgauge.analytics.bounds import bounds_of, bucket, bucket_words
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import Worse, read
from agentgauge.analytics.sizes import LEAST_EFFECT, is_felt, size_of
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentgauge.analytics.analysis.changes import Change
    from agentgauge.analytics.analysis.trend import Trend
    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.signals import Measure, Signal

__all__ = ["FoundTrend", "Step", "TrendSurvey", "find_trends", "survey_trends"]

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Step:
    """A level that changed, and the Unix time of the first value at the new one."""

    at: float
    change: Change


@dataclass(frozen=True, slots=True)
class FoundTrend:
    """A signal that rises, falls or stepped.

    Attributes:
        signal: What.
        trend: The line through it.
        steps: When its level changed, in order of time; empty where a line describes it better.
        p_value: Corrected for the number of signals that were looked at.
        effect: The change relative to the level before; None where that is zero.
        size: How great it is in practice, from 0 to 1: what ``find_trends()`` puts first.
        is_worse: Whether that is the worse way; None where it depends.
        sentence: In plain words.
    """

    signal: Signal
    trend: Trend
    steps: tuple[Step, ...]
    p_value: float
    effect: float | None
    size: float
    is_worse: bool | None
    sentence: str

    @property
    def greatest_step(self) -> Step | None:
        """The step that changed the level most; None where there is none."""
        return max(self.steps, key=lambda step: abs(step.change.after - step.change.before), default=None)


@dataclass(frozen=True, slots=True)
class TrendSurvey:
    """What rose, fell or stepped in a window, and of what that could not be told.

    Attributes:
        trends: The greatest in practice first.
        judged: How many signals were judged.
        too_short: Those that were not: fewer than 10 values are known of them.
    """

    trends: tuple[FoundTrend, ...]
    judged: int
    too_short: tuple[Signal, ...]


def find_trends(
    source: Source, grid: Grid, *, measures: Iterable[Measure] = MEASURES, least_effect: float = LEAST_EFFECT
) -> list[FoundTrend]:
    """Find what rose, fell or stepped over a window, what is greatest in practice first.

    Of a line (``trend()``) and up to three steps (``change_points()``) that is told which leaves less; more steps than that are a
    course that wanders or a season. The p-values, twice that of the test that is told, are corrected so that of what is told at
    most 5 % is expected to be chance (Benjamini-Hochberg), and small effects are left out however certain. What is greatest is
    told by the change over the greater level and what values sway about it, of ratios by Cohen's h: that of 0 to 2 % is less than
    that of 20 to 60 %.

    Args:
        source: The history, or a Prometheus.
        grid: The window.
        measures: What to look at.
        least_effect: Smaller changes relative to the level before are left out, single steps included; and those that nobody
            feels, such as ratios that move by less than 0.01 and durations by less than a millisecond.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: numpy is not installed, or the effect is no share from 0 on.

    Sources: Y. Benjamini & Y. Hochberg, "Controlling the false discovery rate", JRSS B 57, 1995. J. Cohen, "Statistical Power
        Analysis for the Behavioral Sciences", 1988 (h).
    """
    return list(survey_trends(source, grid, measures=measures, least_effect=least_effect).trends)


def survey_trends(
    source: Source, grid: Grid, *, measures: Iterable[Measure] = MEASURES, least_effect: float = LEAST_EFFECT
) -> TrendSurvey:
    """Find what rose, fell or stepped, as ``find_trends()``, and say of what that could not be told."""
    if not 0 <= least_effect < math.inf:
        raise ConfigurationError(f"least_effect={least_effect!r}: give a share from 0 on, such as 0.1")
    times = grid.times
    judged = [_judged(signal, times, least_effect) for measure in measures for signal in read(measure, source, grid)]
    # what never changed cannot be called a trend by chance: it is not one of those that the p-values are corrected for
    moved = [one for one in judged if one.trend.direction not in {Direction.UNKNOWN, Direction.CONSTANT}]
    told = [
        (one, p_value)
        for one, p_value in zip(moved, _corrected([one.p_value for one in moved]), strict=True)
        if p_value < 1 - _LEVEL and _is_great(one, least_effect) and (one.steps or _is_sure(one.trend))
    ]
    percentiles = {one.signal.measure.name: one.signal.measure for one, _ in told}
    bounds = {name: bounds_of(measure, source, grid) for name, measure in percentiles.items()}
    found = [
        _told(one, p_value, own)
        for one, p_value in told
        for own in [_own_bounds(one.signal, bounds)]
        if any(_is_read(*move, own) for move in _moves(one))
    ]
    too_short = tuple(one.signal for one in judged if one.trend.direction is Direction.UNKNOWN)
    return TrendSurvey(tuple(sorted(found, key=lambda one: (-one.size, one.p_value))), len(judged) - len(too_short), too_short)


@dataclass(frozen=True, slots=True)
class _Judged:
    signal: Signal
    trend: Trend
    steps: tuple[Step, ...]
    p_value: float
    before: float
    after: float
    left: float  # of values that lie about their line or levels, the mean distance from these


def _judged(signal: Signal, times: list[float], least_effect: float) -> _Judged:
    values = signal.values
    line = trend(times, values, level=_LEVEL)
    if line.direction in {Direction.UNKNOWN, Direction.CONSTANT}:
        return _Judged(signal, line, (), 1.0, math.nan, math.nan, math.nan)
    by_line = left_by_line(times, values, line)
    changes = _great_changes(signal, change_points(values), least_effect)
    if 0 < len(changes) <= MOST_STEPS:
        by_steps = left_by_steps(values, changes)
        if is_stepped(by_steps, by_line):
            p_value = min(1.0, 2 * min(change.p_value for change in changes))
            steps = tuple(Step(times[change.index], change) for change in changes)
            return _Judged(signal, line, steps, p_value, changes[0].before, changes[-1].after, by_steps / line.points)
    return _Judged(signal, line, (), min(1.0, 2 * line.p_value), line.first, _end(signal, line), by_line / line.points)


def _end(signal: Signal, line: Trend) -> float:
    """Return where a line ends: not below zero where nothing was."""
    return max(line.last, 0.0) if all(value >= 0 for value in signal.values if math.isfinite(value)) else line.last


def _great_changes(signal: Signal, changes: list[Change], least_effect: float) -> list[Change]:
    """Leave out changes that nobody feels, the smallest first; the levels on both sides of one become one."""
    kept = changes
    while small := [change for change in kept if not is_felt(change.before, change.after, signal.measure.unit, least_effect)]:
        least = min(small, key=lambda change: abs(change.after - change.before))
        kept = _with_levels(signal.values, [change for change in kept if change is not least])
    return kept


def _with_levels(values: Sequence[float], changes: list[Change]) -> list[Change]:
    bounds = [0, *(change.index for change in changes), len(values)]
    levels = [median(value for value in values[begin:end] if math.isfinite(value)) for begin, end in pairwise(bounds)]
    return [
        replace(change, before=before, after=after) for change, (before, after) in zip(changes, pairwise(levels), strict=True)
    ]


def _corrected(p_values: list[float]) -> list[float]:
    """Return p-values that tell how many of those as low would be chance (Benjamini-Hochberg)."""
    corrected = list(p_values)
    least = 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(p_values)), key=p_values.__getitem__), 1))):
        least = min(least, p_values[index] * len(p_values) / rank)
        corrected[index] = least
    return corrected


def _base(one: _Judged) -> float:
    """Return the level before, or the usual one where the line begins at nothing."""
    known = [value for value in one.signal.values if math.isfinite(value)]
    return median(known) if not one.steps and one.before <= 0 and min(known) >= 0 else one.before


def _effect(one: _Judged) -> float | None:
    base = _base(one)
    return (one.after - one.before) / abs(base) if base else None


def _is_great(one: _Judged, least_effect: float) -> bool:
    base = _base(one)
    return is_felt(base, base + one.after - one.before, one.signal.measure.unit, least_effect)


def _is_sure(line: Trend) -> bool:
    """Tell whether the interval of a slope leaves 0 out, its ends included: else the line may as well be level."""
    return line.low > 0 or line.high < 0


def _own_bounds(signal: Signal, bounds: Mapping[str, Mapping[tuple[str, ...], Sequence[float]]]) -> Sequence[float]:
    return bounds[signal.measure.name].get(tuple(signal.labels.get(name, "") for name in signal.measure.by), ())


def _moves(one: _Judged) -> list[tuple[float, float]]:
    """Return from where to where it went: by each step, or along the line."""
    return [(step.change.before, step.change.after) for step in one.steps] or [(one.trend.first, one.after)]


def _is_read(before: float, after: float, bounds: Sequence[float]) -> bool:
    """Tell whether a move is more than a guess: a percentile that stays in its bucket may be where it was."""
    return not bounds or bucket(before, bounds) != bucket(after, bounds)


def _told(one: _Judged, p_value: float, bounds: Sequence[float]) -> FoundTrend:
    worse = one.signal.measure.worse
    is_worse = None if worse is Worse.EITHER else (one.after > one.before) == (worse is Worse.UP)
    return FoundTrend(
        one.signal,
        one.trend,
        one.steps,
        max(p_value, LEAST_PROBABILITY),
        _effect(one),
        size_of(one.before, one.after, one.signal.measure.unit, one.left),
        is_worse,
        _sentence(one, bounds),
    )


def _sentence(one: _Judged, bounds: Sequence[float]) -> str:
    unit, title = one.signal.measure.unit, one.signal.title
    if one.steps:
        moves = [
            f"{'rose' if step.change.after > step.change.before else 'fell'} "
            f"{_from_to(step.change.before, step.change.after, unit, bounds)} at {moment(step.at)}"
            for step in one.steps
            if _is_read(step.change.before, step.change.after, bounds)
        ]
        return f"{title} {', then '.join(moves)}"
    line = one.trend
    verb, over = "rose" if line.slope > 0 else "fell", f"over {duration(line.seconds)}"
    from_to = _from_to(line.first, one.after, unit, bounds)
    if bounds:  # by how much is a guess
        return f"{title} {verb} {from_to} {over}"
    ends = sorted((abs(line.low), abs(line.high)))
    if unit == "ratio":
        by, low, high = (amount(part, "points") for part in (abs(line.change), *(end * line.seconds for end in ends)))
        return f"{title} {verb} by {by} (95 % interval {low.split()[0]} to {high.split()[0]}) {over}, {from_to}"
    if line.first <= 0:
        low, high = (amount(end * line.seconds, unit) for end in ends)
        return f"{title} {verb} by {amount(abs(line.change), unit)} (95 % interval {low} to {high}) {over}"
    most = 1.0 if line.slope < 0 and one.after >= 0 else math.inf
    parts = (one.after - line.first, *(end * line.seconds for end in ends))
    by, low, high = (percent(min(abs(part / line.first), most)) for part in parts)
    return f"{title} {verb} by {by} % (95 % interval {low} to {high} %) {over}, {from_to}"


def _from_to(before: float, after: float, unit: str, bounds: Sequence[float]) -> str:
    """Say from where to where; of a percentile between which bounds of buckets that was."""
    if not bounds:
        return f"from {amount(before, unit)} to {amount(after, unit)}"
    first, last = (bucket_words(bucket(value, bounds), unit) for value in (before, after))
    return f"from {first} to {last}"
