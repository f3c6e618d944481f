"""How fine a window may be looked at: as the samples of its source allow."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.recorded import recorded_measures

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Source

__all__ = ["closest_interval", "finer_step", "sample_interval"]

_PROBED = 40
_IN_EVERY_PROGRAM = ("agentgauge_build_info", "process_start_time_seconds", "up")
_FINER = (60.0, 30.0, 15.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2)
_SAMPLES_A_STEP = 2  # of one, a sample that comes a little late makes a rate of nothing and one of twice as much
_WAVERS = 0.9
_LEAST_SPAN = 1.0
_A_PAIR = 2


def sample_interval(source: Source, window: Grid) -> float:
    """Return how far the samples of a source lie apart in a window, in seconds; 0 where that cannot be told.

    Those of the program itself are looked at; where it took none, the points that programs recorded of themselves.

    Raises:
        SourceError: The source cannot be asked.
    """
    names = source.metrics()
    probed = next((name for name in _IN_EVERY_PROGRAM if name in names), names[0] if names else "")
    apart = _interval(source, window, probed)
    if apart:
        return apart
    recorded = [_interval(source, window, measure.name) for measure in recorded_measures(source)]
    return min(filter(None, recorded), default=0.0)


def _interval(source: Source, window: Grid, metric: str) -> float:
    """Return how far the samples of a metric lie apart, 0 where it has none."""
    span = window.count * window.step_seconds
    step = max(1.0, span / _PROBED)
    frames = source.frames(metric, Grid.over(window.end - span, window.end, step), fold=Fold.COUNT)
    counts = [value for frame in frames for value in frame.values if value > 0]
    if not counts:
        return 0.0
    if median(counts) > 1:
        return step * len(counts) / sum(counts)
    # fewer samples than places: they lie so far apart that many places have none
    seen = [[(at, many) for at, many in enumerate(frame.values) if many > 0] for frame in frames]
    apart = [step * (own[-1][0] - own[0][0]) / (sum(many for _, many in own) - 1) for own in seen if len(own) > 1]
    return median(apart) if apart else span


def closest_interval(source: Source, window: Grid) -> float:
    """Return how far samples of a program lie apart where they are densest, in seconds.

    Programs that run now and then leave long gaps, by which the mean interval would be too long: this looks ever more closely at
    where most samples are. What it finds is about the truth for many samples, and up to twice as long for few.

    Returns:
        0 where no program wrote the window, and so nothing is sampled all the time.

    Raises:
        SourceError: The source cannot be asked.
    """
    names = source.metrics()
    probed = next((name for name in _IN_EVERY_PROGRAM if name in names), None)
    end, span, closest = window.end, window.count * window.step_seconds, math.inf
    while probed is not None and span >= _LEAST_SPAN:
        place = span / _PROBED
        grid = Grid.over(end - span, end, place)
        counted = [
            [0.0 if math.isnan(many) else many for many in frame.values] for frame in source.frames(probed, grid, fold=Fold.COUNT)
        ]
        fullest = max(counted, key=sum, default=[])
        if sum(fullest) < _A_PAIR:
            break
        inside = [at for at, many in enumerate(fullest) if many]
        closest = min(closest, (inside[-1] + 1 - inside[0]) * place / (sum(fullest) - 1))
        end, span = grid.times[max(inside, key=fullest.__getitem__)], place
    return closest if math.isfinite(closest) else 0.0


def finer_step(source: Source, window: Grid, least_steps: int) -> float:
    """Return the step of a window, or a finer one by which it has so many steps, as far as two samples fall into each.

    Args:
        source: Where the samples are.
        window: What is looked at.
        least_steps: How many steps are wanted.

    Raises:
        SourceError: The source cannot be asked.
    """
    span = window.count * window.step_seconds
    if window.count >= least_steps:
        return window.step_seconds
    interval = sample_interval(source, window)
    if not interval > 0:
        return window.step_seconds
    least = interval * _SAMPLES_A_STEP * _WAVERS
    allowed = [window.step_seconds, *(step for step in _FINER if least <= step < window.step_seconds)]
    return next((step for step in allowed if span / step >= least_steps), allowed[-1])
