"""When a program was deployed, by what its series say of its version and of its start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentgauge.analytics.signals import SOURCE_LABELS

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Mapping

    from agentgauge.analytics.frames import Frame, Grid, Source

__all__ = ["Deploy", "find_deploys"]

_VERSIONS = (
    ("target_info", "service_version", "service_version"),
    ("agentgauge_build_info", "version", "agentgauge_version"),
)
_NEAR_STEPS = 6  # restarts so near a change of version, or each other, are one


@dataclass(frozen=True, slots=True, eq=False)
class Deploy:
    """A change of version, or a restart.

    Attributes:
        at: When it began: where the first instance's process did, or at the earliest, a step before it was seen, where its start
            is not known.
        until: When the last one was.
        labels: ``job`` where the source has it.
        what: ``service_version``, ``agentgauge_version`` or ``restart``.
        before: The version before; empty for a restart.
        after: The version after; empty for a restart.
        instances: How many instances changed.
    """

    at: datetime
    until: datetime
    labels: Mapping[str, str]
    what: str
    before: str
    after: str
    instances: int


def find_deploys(source: Source, grid: Grid) -> list[Deploy]:
    """Return the changes of version, and the restarts, that the window shows, the earliest first.

    A version is seen when the series that bears it appears; where instances change one after another, that is one deploy.

    Raises:
        SourceError: The source cannot be asked.
    """
    found: list[Deploy] = []
    started = source.frames("process_start_time_seconds", grid)
    starts = {_program(frame): frame.values for frame in started}
    for metric, label, what in _VERSIONS:
        jobs: dict[str, list[tuple[int, str, float]]] = {}
        for frame in source.frames(metric, grid):
            version = frame.labels.get(label, "")
            if version:
                job = frame.labels.get("job", "")
                own = starts.get(_program(frame))
                jobs.setdefault(job, []).extend((index, version, _begun(own, index, grid)) for index in _appearances(frame))
        for job, seen in jobs.items():
            found.extend(_changes(job, sorted(seen), what, grid))
    near = _NEAR_STEPS * grid.step_seconds
    for restart in _restarts(started, grid):
        if not any(
            each.labels == restart.labels
            and each.at.timestamp() - near <= restart.at.timestamp() <= each.until.timestamp() + near
            for each in found
            if each.what != "restart"
        ):
            found.append(restart)
    return sorted(found, key=lambda deploy: (deploy.at, deploy.what))


def _program(frame: Frame) -> tuple[str, ...]:
    return tuple(frame.labels.get(name, "") for name in SOURCE_LABELS)


def _begun(starts: array[float] | None, index: int, grid: Grid) -> float:
    """Return where a program that is seen at a time first began: where its process did, or else in the step that ends there."""
    at, step = grid.times[index], grid.step_seconds
    start = starts[index] if starts is not None else math.nan
    return start if at - (1 + _NEAR_STEPS) * step < start <= at else at - step  # an old process may say its version anew


def _appearances(frame: Frame) -> Iterator[int]:
    values = frame.values
    for index, value in enumerate(values):
        if not math.isnan(value) and (index == 0 or math.isnan(values[index - 1])):
            yield index


def _changes(job: str, seen: list[tuple[int, str, float]], what: str, grid: Grid) -> Iterator[Deploy]:
    first, current, _ = seen[0]
    deploy: Deploy | None = None
    for index, version, began in seen:
        at, begun = (datetime.fromtimestamp(moment, UTC) for moment in (grid.times[index], began))
        if version == current:
            if deploy is not None and index > first:
                deploy = replace(deploy, until=at, instances=deploy.instances + 1)
            continue
        if deploy is not None:
            yield deploy
        deploy = Deploy(begun, at, {"job": job} if job else {}, what, current, version, 1)
        current = version
    if deploy is not None:
        yield deploy


def _restarts(started: list[Frame], grid: Grid) -> list[Deploy]:
    moments: dict[str, list[float]] = {}
    for frame in started:
        job = frame.labels.get("job", "")
        before = math.nan
        for value in frame.values:
            if not math.isnan(value):
                if value > before + 1:
                    moments.setdefault(job, []).append(value)
                before = value
    found: list[Deploy] = []
    for job, starts in moments.items():
        labels = {"job": job} if job else {}
        for start in sorted(starts):
            at = datetime.fromtimestamp(start, UTC)
            last = found[-1] if found and found[-1].labels == labels else None
            if last and start - last.until.timestamp() <= _NEAR_STEPS * grid.step_seconds:
                found[-1] = replace(last, until=at, instances=last.instances + 1)
            else:
                found.append(Deploy(at, at, labels, "restart", "", "", 1))
    return found
