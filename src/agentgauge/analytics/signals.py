"""Signals: one measure of one subject over time, and how its values are made of the series of a source."""

from __future__ import annotations

import math
import operator
from array import array
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import TYPE_CHECKING, TypeAlias

from agentgauge.analytics.frames import Fold, increases, quantiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.analytics.frames import Frame, Grid, Source

__all__ = [
    "SOURCE_LABELS",
    "Level",
    "Measure",
    "Quantile",
    "Rate",
    "Ratio",
    "Signal",
    "Subject",
    "Worse",
    "growths",
    "level",
    "quantile",
    "rate",
    "ratio",
    "read",
]

SOURCE_LABELS = ("job", "instance")
_NAN = math.nan


class Subject(StrEnum):
    """What a measure is about."""

    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"
    PROCESS = "process"
    HOST = "host"


class Worse(StrEnum):
    """Which way is worse; ``EITHER`` where that depends."""

    UP = "up"
    DOWN = "down"
    EITHER = "either"


Values: TypeAlias = "dict[tuple[str, ...], array[float]]"
Read: TypeAlias = "Callable[[Source, Grid, tuple[str, ...]], Values]"
Where: TypeAlias = "Callable[[Mapping[str, str]], bool]"


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """One thing that is looked at.

    Attributes:
        name: Its short name, such as ``task_error_ratio``: in commands, in JSON and in the label ``measure``.
        title: What reports call it, such as "error ratio".
        unit: ``ratio``, ``seconds``, ``bytes``, ``usd_per_second``, ``tokens``, ``per_second``, or empty for a count of things.
        subject: What it is about.
        by: The labels that tell its signals apart.
        worse: Which way is worse.
        query: The PromQL that shows the same, ``$window`` for a range.
        values: Makes its values by the values of the labels.
    """

    name: str
    title: str
    unit: str
    subject: Subject
    by: tuple[str, ...]
    worse: Worse
    query: str
    values: Read


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A measure of one subject over time.

    Attributes:
        measure: What.
        labels: Of whom: the labels of ``measure.by``, and ``job`` and ``instance`` where asked for; empty ones are left out.
        grid: When.
        values: One for each time of the grid; NaN where nothing is known, a ratio without calls for one.
    """

    measure: Measure
    labels: Mapping[str, str]
    grid: Grid
    values: array[float]

    @property
    def title(self) -> str:
        """What and of whom: ``error ratio of researcher, search``."""
        whom = ", ".join(self.labels.values())
        return f"{self.measure.title} of {whom}" if whom else self.measure.title


def read(measure: Measure, source: Source, grid: Grid, *, per_instance: bool = False) -> list[Signal]:
    """Return the signals of a measure that have a value in the window, by their labels.

    Args:
        measure: What to read.
        source: From where.
        grid: Over which times.
        per_instance: Tell the jobs and instances apart, too; else they are added up, or the worst is taken.

    Raises:
        SourceError: The source cannot be asked.
    """
    by = (*measure.by, *SOURCE_LABELS) if per_instance else measure.by
    found = measure.values(source, grid, by)
    return [
        Signal(measure, {name: value for name, value in zip(by, key, strict=True) if value}, grid, values)
        for key, values in sorted(found.items())
        if any(not math.isnan(value) for value in values)
    ]


# --- how values are made --------------------------------------------------------------------------------------------------


def _key(labels: Mapping[str, str], by: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in by)


def _add(sums: Values, key: tuple[str, ...], values: array[float]) -> None:
    """Add up what is known; where nothing is, nothing is known."""
    known = sums.get(key)
    if known is None:
        sums[key] = array("d", values)
        return
    total = array("d", map(operator.add, known, values))
    for index in compress(range(len(total)), map(math.isnan, total)):
        total[index] = known[index] if math.isnan(values[index]) else values[index]
    sums[key] = total


def _grown(frames: list[Frame], where: Where) -> list[tuple[Frame, array[float]]]:
    """Return how much each counter that is wanted grew; one that begins while its program is seen already began at zero."""
    first: dict[tuple[str, ...], int] = {}
    begins = []
    for frame in frames:
        begin = next((index for index, value in enumerate(frame.values) if not math.isnan(value)), len(frame.values))
        program = _key(frame.labels, SOURCE_LABELS)
        first[program] = min(first.get(program, begin), begin)
        if where(frame.labels):
            begins.append((frame, program, begin))
    return [(frame, increases(frame, has_begun=begin > first[program])) for frame, program, begin in begins]


def _all(_labels: Mapping[str, str]) -> bool:
    return True


def _divided(parts: array[float] | None, whole: array[float]) -> array[float]:
    shares = array("d", [_NAN]) * len(whole)
    for index, total in enumerate(whole):
        if total > 0:
            part = parts[index] if parts is not None else 0.0
            shares[index] = (0.0 if math.isnan(part) else part) / total
    return shares


def growths(metric: str, where: Where, source: Source, grid: Grid, by: tuple[str, ...]) -> Values:
    """Add up how much the counters that are wanted grew in each step, by the values of labels; NaN where nothing is known.

    Raises:
        SourceError: The source cannot be asked.
    """
    sums: Values = {}
    for frame, grown in _grown(source.frames(metric, grid), where):
        _add(sums, _key(frame.labels, by), grown)
    return sums


@dataclass(frozen=True, slots=True)
class Rate:
    """Reads what counters grew, a second; those that are not told apart are added up."""

    metric: str
    where: Where = _all

    def __call__(self, source: Source, grid: Grid, by: tuple[str, ...]) -> Values:
        """Return the values by those of the labels."""
        sums = growths(self.metric, self.where, source, grid, by)
        return {key: array("d", [value / grid.step_seconds for value in found]) for key, found in sums.items()}


@dataclass(frozen=True, slots=True)
class Ratio:
    """Reads what one counter grew divided by what another did; nothing where the other did not grow."""

    part: str
    of: str
    where_part: Where = _all
    where_of: Where = _all

    def __call__(self, source: Source, grid: Grid, by: tuple[str, ...]) -> Values:
        """Return the values by those of the labels."""
        whole = growths(self.of, self.where_of, source, grid, by)
        parts = growths(self.part, self.where_part, source, grid, by)
        return {key: _divided(parts.get(key), total) for key, total in whole.items()}


@dataclass(frozen=True, slots=True)
class Quantile:
    """Reads a quantile of what histograms observed in each step; those that are not told apart are one."""

    histogram: str
    q: float
    where: Where = _all

    def __call__(self, source: Source, grid: Grid, by: tuple[str, ...]) -> Values:
        """Return the values by those of the labels."""
        return {key: quantiles(found, self.q) for key, found in self.buckets(source, grid, by).items()}

    def buckets(self, source: Source, grid: Grid, by: tuple[str, ...]) -> dict[tuple[str, ...], dict[float, array[float]]]:
        """Return what was observed in each step, by upper bound."""
        by_bound = growths(f"{self.histogram}_bucket", self.where, source, grid, (*by, "le"))
        found: dict[tuple[str, ...], dict[float, array[float]]] = {}
        for (*key, bound), grown in by_bound.items():
            found.setdefault(tuple(key), {})[float(bound)] = grown
        return found


@dataclass(frozen=True, slots=True)
class Level:
    """Reads a gauge: what is not told apart is added up, or else the highest of it is taken."""

    metric: str
    fold: Fold = Fold.LAST
    where: Where = _all
    is_sum: bool = True

    def __call__(self, source: Source, grid: Grid, by: tuple[str, ...]) -> Values:
        """Return the values by those of the labels."""
        found: Values = {}
        for frame in source.frames(self.metric, grid, fold=self.fold):
            if not self.where(frame.labels):
                continue
            key = _key(frame.labels, by)
            if self.is_sum:
                _add(found, key, frame.values)
            else:
                known = found.setdefault(key, array("d", frame.values))
                for index, value in enumerate(frame.values):
                    if not known[index] >= value and not math.isnan(value):
                        known[index] = value
        return found


def rate(metric: str, where: Where = _all) -> Rate:
    """Read what counters grew, a second; those that are not told apart are added up."""
    return Rate(metric, where)


def ratio(part: str, of: str, where_part: Where = _all, where_of: Where = _all) -> Ratio:
    """Read what one counter grew divided by what another did; nothing where the other did not grow."""
    return Ratio(part, of, where_part, where_of)


def quantile(histogram: str, q: float, where: Where = _all) -> Quantile:
    """Read a quantile of what histograms observed in each step; those that are not told apart are one."""
    return Quantile(histogram, q, where)


def level(metric: str, fold: Fold = Fold.LAST, where: Where = _all, *, is_sum: bool = True) -> Level:
    """Read a gauge: what is not told apart is added up, or else the highest of it is taken."""
    return Level(metric, fold, where, is_sum)
