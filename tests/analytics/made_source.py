"""A source whose series a test makes up."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import numpy as np

from agentgauge.analytics.frames import Fold, Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentgauge.analytics.frames import Grid

LOOKBACK_SECONDS = 300


class MadeSource:
    """Has the samples that it was given, and answers as a Prometheus would."""

    name = "made up"

    def __init__(self):
        self.series: list[tuple[str, dict[str, str], list[float], list[float]]] = []

    def add(self, metric: str, times: Sequence[float], values: Sequence[float], **labels: str) -> MadeSource:
        """Take in a series; NaN is where it was missing."""
        self.series.append((metric, labels, list(times), list(values)))
        return self

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        wanted = set((labels or {}).items())
        found = []
        for name, own, times, values in self.series:
            if name != metric or not wanted.issubset(own.items()):
                continue
            folded = array("d", _folded(times, values, grid, fold))
            if any(not math.isnan(value) for value in folded):
                found.append(Frame(name, own, grid, folded))
        return found

    def metrics(self) -> list[str]:
        return sorted({name for name, *_ in self.series})

    def extent(self) -> tuple[float, float] | None:
        times = [at for _, _, ats, _ in self.series for at in ats]
        return (min(times), max(times)) if times else None


def _folded(times: list[float], values: list[float], grid: Grid, fold: Fold) -> Iterable[float]:
    asked = np.array(grid.times)
    seconds = max(grid.step_seconds, LOOKBACK_SECONDS) if fold is Fold.LAST else grid.step_seconds
    begins, ends = (np.searchsorted(times, at, "right") for at in (asked - seconds, asked))
    if fold is Fold.LAST:
        return np.where(ends > begins, np.array([*values, math.nan])[ends - 1], math.nan)
    return (
        _of([value for value in values[begin:end] if not math.isnan(value)], fold)
        for begin, end in zip(begins, ends, strict=True)
    )


def _of(inside: list[float], fold: Fold) -> float:
    if not inside:
        return math.nan
    return {Fold.MIN: min, Fold.MAX: max, Fold.MEAN: lambda some: sum(some) / len(some), Fold.COUNT: len}[fold](inside)
