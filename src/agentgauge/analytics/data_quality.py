"""Over a source: which data is missing, late or stuck; told in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from agentgauge.analytics.amounts import counted, duration, moment, percent
from agentgauge.analytics.analysis.quality import STUCK_SCORE, quality
from agentgauge.analytics.frames import Fold
from agentgauge.analytics.recorded import RECORDER_LABEL
from agentgauge.analytics.signals import SOURCE_LABELS
from agentgauge.catalogue import BUILD_INFO, FAMILIES, machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentgauge.analytics.analysis.quality import Quality
    from agentgauge.analytics.frames import Frame, Grid, Source
    from agentgauge.catalogue import Family

__all__ = ["FoundQuality", "check_quality"]

_COUNTERS = ("_total", "_count", "_sum", "_created")
_PARTS = ("_bucket", "_count", "_sum")

Program: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundQuality:
    """How good the data of a series is: its metric and labels, what is wrong with it, and that in plain words."""

    metric: str
    labels: Mapping[str, str]
    quality: Quality
    sentence: str


def _names(families: Iterable[Family]) -> frozenset[str]:
    return frozenset(f"{family.name}{part}" for family in families for part in ("", *_PARTS))


_SHIPPED = _names(FAMILIES)
_OF_AGENTS = _SHIPPED - _names(machine.FAMILIES) - {BUILD_INFO.name}


def check_quality(source: Source, grid: Grid, *, metrics: Sequence[str] | None = None) -> list[FoundQuality]:
    """Judge the data of a source, the worst first; what is faultless is in the list, too.

    A program is judged by ``agentgauge_build_info``: a sweep, or a scrape, has all of its series or none. Its other series are
    expected whenever it was seen, from their first sample on; where one comes less often than the grid steps, at the interval at
    which it mostly comes. What is absent by nature is judged only where it is named: what a program counts and states of its
    agents begins with their first call, ends with a restart, and rests (``agent_task_oldest_start_timestamp_seconds`` while none
    is in progress); what ``record_metric()`` took has no interval. Buckets of histograms are left to their ``_count``. Outliers,
    and values that stay, are told only of gauges that agentgauge does not read itself.

    Args:
        source: The history, or a Prometheus.
        grid: The window; its step should not be shorter than the interval of the samples.
        metrics: Which; unless given, all but what is absent by nature.

    Raises:
        SourceError: The source cannot be asked.
    """
    seen: dict[Program, set[float]] = {}
    for frame in source.frames(BUILD_INFO.name, grid, fold=Fold.COUNT):
        seen.setdefault(_program(frame.labels), set()).update(_times(frame))
    found = []
    for name in source.metrics() if metrics is None else metrics:
        if name.endswith("_bucket") or (metrics is None and name in _OF_AGENTS):
            continue
        values = {tuple(sorted(frame.labels.items())): frame for frame in source.frames(name, grid)}
        for counts in source.frames(name, grid, fold=Fold.COUNT):
            last = values.get(tuple(sorted(counts.labels.items())))
            if last is None or (metrics is None and RECORDER_LABEL in counts.labels):
                continue
            known = None if name == BUILD_INFO.name else seen.get(_program(counts.labels))
            found.append(_judged(name, last, counts, known))
    return sorted(found, key=lambda one: (one.quality.score, one.metric, sorted(one.labels.items())))


def _program(labels: Mapping[str, str]) -> Program:
    return tuple(labels.get(name, "") for name in SOURCE_LABELS)


def _times(counts: Frame) -> list[float]:
    return [at for at, count in zip(counts.grid.times, counts.values, strict=True) if count > 0]


def _judged(name: str, frame: Frame, counts: Frame, seen: set[float] | None) -> FoundQuality:
    """Judge one series.

    Args:
        name: Of its metric.
        frame: Its values.
        counts: How many samples it has in each step.
        seen: When its program was seen; None where nobody knows.
    """
    with_sample = set(_times(counts))
    values = {at: value for at, value in zip(frame.grid.times, frame.values, strict=True) if at in with_sample}
    times = sorted(at for at, value in values.items() if not math.isnan(value))
    own = [values[at] for at in times]
    usual = median(two - one for one, two in pairwise(times)) if len(times) > 1 else frame.grid.step_seconds
    interval = max(usual, frame.grid.step_seconds)
    expected = times
    if times and seen is not None:
        # nothing is expected while the program was not seen, nor of agents that rest while it was
        excused = [at for at in frame.grid.times if at > times[0] and (name in _OF_AGENTS or at not in seen)]
        expected = sorted({*times, *excused})
    told = [float(index % 2) for index, _ in enumerate(expected)]  # neither far out nor stuck
    came = quality(expected, told, interval_seconds=interval, until=frame.grid.end)
    judged = replace(came, points=len(times), usable=len(times))
    if name not in _SHIPPED and not name.endswith(_COUNTERS):
        said = quality(times, own, interval_seconds=interval, until=frame.grid.end)
        stuck = said.stuck if said.stuck and said.stuck.value else None  # at zero it rests
        judged = replace(judged, outliers=said.outliers, stuck=stuck, score=judged.score * (STUCK_SCORE if stuck else 1.0))
    return FoundQuality(name, frame.labels, judged, _sentence(name, frame.labels, judged))


def _sentence(name: str, labels: Mapping[str, str], judged: Quality) -> str:
    whom = ", ".join(labels.values())
    title = f"{name} of {whom}" if whom else name
    said = []
    if judged.is_stale:
        said.append(f"nothing for {duration(judged.age_seconds)} before the end")
    gaps = [gap for gap in judged.gaps if not (judged.is_stale and gap is judged.gaps[-1])]
    if gaps:
        longest = max(gaps, key=lambda gap: gap.end - gap.start)
        length = duration(longest.end - longest.start)
        said.append(f"{counted(len(gaps), 'gap')}, the longest of {length} from {moment(longest.start)}")
    if judged.stuck:
        said.append(f"stuck at {judged.stuck.value:g} since {moment(judged.stuck.start)}")
    if judged.outliers:
        said.append(counted(len(judged.outliers), "outlier"))
    return f"{title}: {percent(judged.completeness)} % complete" + "".join(f"; {one}" for one in said)
