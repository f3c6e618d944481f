"""The part of a source that belongs to some programs: those of one version, one job or one instance."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold, Frame
from agentgauge.analytics.signals import SOURCE_LABELS
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["INFO", "Programs", "program", "require_label"]

INFO = ("target_info", "agentgauge_build_info")
_NAN = math.nan
_MOST_NAMED = 10


def program(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the job and instance that a series is of."""
    return tuple(labels.get(name, "") for name in SOURCE_LABELS)


def require_label(setting: str, source: Source, grid: Grid, name: str, value: str) -> None:
    """Refuse a label that no program of a window has, while others have another value of it.

    Args:
        setting: Whose label it is, as the message begins.
        source: Where the programs are.
        grid: The window.
        name: Of the label.
        value: That which some program must have had in it.

    Raises:
        ConfigurationError: No program had it; the message says what there is.
        SourceError: The source cannot be asked.
    """
    seen = {frame.labels[name] for metric in INFO for frame in source.frames(metric, grid) if name in frame.labels}
    if seen and value not in seen:
        there = ", ".join(sorted(seen)[-_MOST_NAMED:])
        more = f", and {len(seen) - _MOST_NAMED} others" if len(seen) > _MOST_NAMED else ""
        raise ConfigurationError(f"{setting}: no program had the {name} {value!r} in this window; there is {there}{more}")


class Programs:
    """Another source's series, of programs with these labels alone, while they have them.

    Args:
        source: That with all programs.
        wanted: What a series must have itself, or else its program in ``target_info`` or ``agentgauge_build_info``.
    """

    def __init__(self, source: Source, wanted: Mapping[str, str]) -> None:
        self.name = source.name
        self._source = source
        self._wanted = dict(wanted)
        self._when: dict[tuple[Grid, frozenset[str]], dict[tuple[str, ...], list[bool]]] = {}

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return the series of a metric that are of these programs, missing where they were not yet, or no longer."""
        found = []
        for frame in self._source.frames(metric, grid, labels, fold):
            missing = {name: value for name, value in self._wanted.items() if frame.labels.get(name) != value}
            if not missing:
                found.append(frame)
            elif not missing.keys() & frame.labels.keys():
                when = self._times(grid, missing).get(program(frame.labels))
                if when and any(when):
                    values = [value if own else _NAN for value, own in zip(frame.values, when, strict=True)]
                    found.append(Frame(frame.metric, frame.labels, grid, array("d", values)))
        return found

    def metrics(self) -> list[str]:
        """Return the names of all samples of the source."""
        return self._source.metrics()

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the first and last sample of the source."""
        return self._source.extent()

    def _times(self, grid: Grid, missing: Mapping[str, str]) -> dict[tuple[str, ...], list[bool]]:
        """Return when each program had the labels that a series lacks, by the last that was said of it."""
        asked = grid, frozenset(missing)
        if asked not in self._when:
            latest: dict[tuple[str, ...], list[float]] = {}
            when: dict[tuple[str, ...], list[bool]] = {}
            for frame in (frame for metric in INFO for frame in self._source.frames(metric, grid)):
                if not missing.keys() <= frame.labels.keys():
                    continue
                own = program(frame.labels)
                matches = all(frame.labels[name] == value for name, value in missing.items())
                begun, states = latest.setdefault(own, [-1.0] * grid.count), when.setdefault(own, [False] * grid.count)
                since = -1.0
                for index, value in enumerate(frame.values):  # a series that ended is seen for a while: the newer one holds
                    since = _begin(frame.values, index, since) if not math.isnan(value) else -1.0
                    if not math.isnan(value) and since >= begun[index]:
                        begun[index], states[index] = since, matches
            self._when[asked] = when
        return self._when[asked]


def _begin(values: array[float], index: int, since: float) -> float:
    """Return where a run of values began, 0 for one that was there from the first step on."""
    return since if index and not math.isnan(values[index - 1]) else float(index)
