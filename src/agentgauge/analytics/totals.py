"""What counters grew by over a window, a program's first values included where it began in the window."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.blocks import blocks_of
from agentgauge.analytics.frames import Fold, Grid, increases
from agentgauge.analytics.ranks import read_quantile
from agentgauge.analytics.signals import SOURCE_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from agentgauge.analytics.frames import Frame, Source
    from agentgauge.analytics.ranks import Read

    Where: TypeAlias = Callable[[Mapping[str, str]], bool]

__all__ = ["Totals", "grown_in", "totals", "whole_grid"]

_PROGRAM_START = "process_start_time_seconds"
_NOT_OF_THE_PROGRAM = ("system_", "container_")  # counted before it began, since the machine or the container did
_SAME_SECONDS = 1.0  # starts that are no further apart are those of one process
_NAN = math.nan


def _all(_labels: Mapping[str, str]) -> bool:
    return True


class Totals:
    """What counters of a source grew by in ``(grid.start - step, grid.end]``.

    What a counter had at its first sample is growth, too, where its program began in the window, or was seen before it:
    PromQL's ``increase()`` leaves that out, and so misses what a short program did. What a source looks back for of a process
    that ended before the window is none of its growth, and all that the next process of the program did is. Of counters of
    the machine and the container only what was seen to grow counts: they began before the program.

    Args:
        source: Where the counters are.
        grid: The window.
        since: Where the window was asked to begin, if that is earlier: programs that began after it did all in the window.
        first: The time of the first sample of the source: where it lies within a step, what grew since counts, too.

    Raises:
        SourceError: The source cannot be asked.
    """

    def __init__(self, source: Source, grid: Grid, *, first: float = -math.inf, since: float | None = None) -> None:
        self._source = source
        self._grid = Grid(grid.start - grid.step_seconds, grid.step_seconds, grid.count + 1)
        self._since = self._grid.start if since is None else min(since, self._grid.start)
        self._first = Grid(float(math.ceil(first)), 1.0, 1) if self._grid.start < first < grid.end else None
        at_first = source.frames(_PROGRAM_START, self._first) if self._first is not None else []
        self._seen_at_first = {_program(frame.labels) for frame in at_first}
        # of the same fold as the counters: a value that is looked back for is told from what its next process had
        began = source.frames(_PROGRAM_START, self._grid)
        self._starts = {_program(frame.labels): frame.values for frame in began}
        self._seen = {_program(frame.labels): _begin(frame) for frame in began}
        self._unknown = array("d", [_NAN]) * self._grid.count

    def steps(
        self, metric: str, labels: tuple[str, ...], where: Where = _all, *, is_over_gaps: bool = True
    ) -> dict[tuple[str, ...], array[float]]:
        """Return the growth of a counter in each step of the window, by the values of some labels; NaN where nothing is known.

        Args:
            metric: The counter.
            labels: By which its series are told apart; all others are added up.
            where: Which series are wanted.
            is_over_gaps: Whether what grew while the counter was not seen counts, where it is seen again.
        """
        frames = self._source.frames(metric, self._grid)
        earliest = self._source.frames(metric, self._first) if self._first is not None else []
        first = {_labels(frame): frame.values[0] for frame in earliest}
        seen = dict(self._seen)
        for frame in frames:
            program = _program(frame.labels)
            seen[program] = min(seen.get(program, frame.grid.count), _begin(frame))
        sums: dict[tuple[str, ...], array[float]] = {}
        for frame in frames:
            if not where(frame.labels):
                continue
            grown = self._growth(frame, seen[_program(frame.labels)], first.get(_labels(frame), _NAN))
            self._add_unseen(frame, grown, is_over_gaps=is_over_gaps)
            known = sums.setdefault(tuple(frame.labels.get(name, "") for name in labels), array("d", [_NAN]) * (len(grown) - 1))
            grown[1] = _sum(grown[0], grown[1])  # what came before the window was asked for with it, or else is nothing
            for index, value in enumerate(grown[1:]):
                known[index] = _sum(known[index], value)
        return sums

    def by(self, metric: str, labels: tuple[str, ...], where: Where = _all) -> dict[tuple[str, ...], float]:
        """Return the growth of a counter over the window, by the values of some labels."""
        return {key: _total(grown) for key, grown in self.steps(metric, labels, where).items()}

    def quantiles(self, histogram: str, labels: tuple[str, ...], q: float, where: Where = _all) -> dict[tuple[str, ...], Read]:
        """Return a quantile of all that a histogram observed, by the values of some labels; none of what observed nothing."""
        buckets: dict[tuple[str, ...], dict[float, list[float]]] = {}
        for (*key, bound), grown in self.steps(f"{histogram}_bucket", (*labels, "le"), where).items():
            buckets.setdefault(tuple(key), {})[float(bound)] = blocks_of([0.0, *grown])
        read = {key: read_quantile(found, q) for key, found in buckets.items()}
        return {key: found for key, found in read.items() if found is not None}

    def _growth(self, frame: Frame, seen: int, first: float) -> array[float]:
        grown, begin = increases(frame), _begin(frame)
        if begin >= len(grown):
            return grown
        program, value = _program(frame.labels), frame.values[begin]
        start = next((at for at in self._starts_of(frame)[begin:] if not math.isnan(at)), _NAN)
        is_late = begin > seen or (math.isnan(first) and program in self._seen_at_first)
        if _is_own(frame) and (is_late or start > self._since):
            grown[begin] = value
        elif not math.isnan(first):
            grown[begin] = value - first if value >= first else value
        return grown

    def _starts_of(self, frame: Frame) -> array[float]:
        """Return when the process began that the values of a series are of."""
        return self._starts.get(_program(frame.labels), self._unknown)

    def _add_unseen(self, frame: Frame, grown: array[float], *, is_over_gaps: bool) -> None:
        """Add what no difference shows: all that a next process did, and what a counter grew by while it was not seen."""
        starts, step, is_own = self._starts_of(frame), frame.grid.step_seconds, _is_own(frame)
        last, began, is_gap = _NAN, _NAN, False
        for index, (value, start) in enumerate(zip(frame.values, starts, strict=True)):
            if math.isnan(value):
                is_gap = True
                continue
            # a value that stands still may be the old process's, looked back for
            is_next = is_own and start > began + _SAME_SECONDS and value != last
            if not math.isnan(last) and (is_next or is_gap):
                # all of it is of this step where the process began in it, or was there before without the counter
                is_of_step = is_next and (start > frame.grid.start + (index - 1) * step or starts[index - 1] == start)
                if is_over_gaps or is_of_step or not is_gap:
                    grown[index] = value if is_next or value < last else value - last
            if is_next or math.isnan(began):
                began = start
            last, is_gap = value, False


def grown_in(metric: str, where: Where, source: Source, grid: Grid, by: tuple[str, ...]) -> dict[tuple[str, ...], array[float]]:
    """Return by how much counters grew in each step of a window, by the values of labels; NaN where nothing is known.

    Raises:
        SourceError: The source cannot be asked.
    """
    return Totals(source, grid).steps(metric, by, where)


def totals(source: Source, grid: Grid, metric: str, by: tuple[str, ...], where: Where = _all) -> dict[tuple[str, ...], float]:
    """Return by how much counters grew over a window, by the values of labels.

    Raises:
        SourceError: The source cannot be asked.
    """
    return Totals(source, grid).by(metric, by, where)


def whole_grid(source: Source, grid: Grid, *, since: float, until: float) -> Grid:
    """Widen a window, as far as it was asked for, to where its first programs began, and to the last sample of the source.

    A program does something before its first sample, and after the last whole step. A window that would have more than twice
    as many steps so is left as it is.

    Args:
        source: Where the series are.
        grid: The window, as far as the source has samples.
        since: Where the window was asked to begin, Unix time in seconds.
        until: Where it ends, or the samples do.

    Raises:
        SourceError: The source cannot be asked.
    """
    extent, step = source.extent(), grid.step_seconds
    if extent is None:
        return grid
    begin, end = grid.start - step, grid.end
    if extent[0] > begin:
        starts = [
            min(value for value in frame.values if not math.isnan(value))
            for frame in source.frames(_PROGRAM_START, grid, fold=Fold.MAX)
        ]
        begin = min([begin, *(start for start in starts if start > since)])
    if extent[1] <= until and end < extent[1]:
        end += step
    before = max(0, math.ceil((grid.start - step - begin) / step))
    after = round((end - grid.end) / step)
    return Grid(grid.start - before * step, step, grid.count + before + after) if before <= grid.count else grid


def _begin(frame: Frame) -> int:
    return next((index for index, value in enumerate(frame.values) if not math.isnan(value)), len(frame.values))


def _sum(one: float, other: float) -> float:
    return other if math.isnan(one) else one if math.isnan(other) else one + other


def _total(grown: array[float]) -> float:
    return math.fsum(value for value in grown if not math.isnan(value))


def _is_own(frame: Frame) -> bool:
    return not frame.metric.startswith(_NOT_OF_THE_PROGRAM)


def _program(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in SOURCE_LABELS)


def _labels(frame: Frame) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(frame.labels.items()))
