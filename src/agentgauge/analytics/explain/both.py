"""Signals over two times that are compared: those before, and those of the window."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import moment
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.signals import Signal, read
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Source
    from agentgauge.analytics.signals import Measure

__all__ = ["apart", "as_known", "is_next", "read_both", "time_before"]

_MOST_BEFORE = 6
_NAN = math.nan


def time_before(source: Source, window: Grid) -> Grid:
    """Return the time before a window: six times as long, or as far back as the source goes.

    Raises:
        SourceError: The source cannot be asked.
    """
    step, begin = window.step_seconds, window.start - window.step_seconds
    extent = source.extent()
    count = window.count * _MOST_BEFORE
    if extent is not None:
        count = min(count, math.floor((begin - extent[0]) / step))
    count = max(count, 1)
    return Grid(begin - (count - 1) * step, step, count)


def as_known(grid: Grid, source: Source, what: str) -> Grid:
    """Cut a window to what a source has of it: after the last sample counters do not stand still, nothing is known of them.

    Raises:
        ConfigurationError: It has nothing there; the message says what it has.
        SourceError: The source cannot be asked.
    """
    extent, step = source.extent(), grid.step_seconds
    if extent is None:
        return grid
    times = [at for at in grid.times if at > extent[0] - step and at - step < extent[1]]
    if not times:
        first, last = map(moment, extent)
        raise ConfigurationError(f"{source.name} has no samples in {what}: it has some from {first} to {last}")
    return Grid(times[0], step, len(times))


def apart(before: Grid, window: Grid) -> Grid:
    """Return a time to compare with in steps of the window, from which it must be apart.

    Raises:
        ConfigurationError: They overlap.
    """
    laid = Grid.over(before.start - before.step_seconds, before.end, window.step_seconds)
    if laid.start <= window.end and window.start <= laid.end:
        raise ConfigurationError(
            "the time to compare with overlaps the window: what is in both cannot tell them apart; give a time before the window"
        )
    return laid


def is_next(before: Grid, window: Grid) -> bool:
    """Tell whether the time before leads straight to the window."""
    return abs(before.end + window.step_seconds - window.start) < window.step_seconds / 2


def read_both(measure: Measure, source: Source, before: Grid, window: Grid, *, per_instance: bool) -> list[Signal]:
    """Return the signals of a measure, their values of the time before first, then those of the window.

    Their grid is of as many times; where the two lie apart, only its first ``before.count`` times are theirs.

    Raises:
        SourceError: The source cannot be asked.
    """
    whole = Grid(before.start, window.step_seconds, before.count + window.count)
    if is_next(before, window):
        return read(measure, source, whole, per_instance=per_instance)
    earlier = {tuple(one.labels.items()): one for one in read(measure, source, before, per_instance=per_instance)}
    found = []
    for later in read(measure, source, window, per_instance=per_instance):
        known = earlier.get(tuple(later.labels.items()))
        values = known.values if known else array("d", [_NAN]) * before.count
        found.append(Signal(measure, later.labels, whole, values + later.values))
    return found
