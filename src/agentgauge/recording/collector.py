"""The recorder as a collector of a ``CollectorRegistry``: what every reader sees."""

from __future__ import annotations

from functools import lru_cache, partial
from math import isfinite
from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.catalogue import FAMILIES, Family, Kind
from agentgauge.errors import contain_internal_errors, contained_errors
from agentgauge.recording.cells import expand_states
from agentgauge.recording.cost import RecordingCost
from agentgauge.recording.points import HistogramPoint, Point, label_text
from agentgauge.recording.recorded_family import RecordedFamily
from agentgauge.recording.recorder import END, START, TARGET
from agentgauge.recording.series import SeriesKind
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import CallSeries, Child

__all__ = ["RecorderCollector"]

_CHILDREN_A_HOLD = 64
_HOT_HOOKS = ("start", "end", "drain")  # shown before anything happens there, so that rate() sees the first fault


class RecorderCollector:
    """Drains the recorder, then yields its families; their points are copied while they are written, some at a time."""

    def __init__(self, recorder: Recorder) -> None:
        """Show ``recorder``."""
        self._recorder = recorder
        self._cost = RecordingCost(recorder)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a described catalogue would make a user's own family of one of its names fail to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a series."""
        recorder = self._recorder
        for reporter in recorder.reporters:
            with contain_internal_errors("report"):
                reporter.report(recorder)
        with contain_internal_errors("drain"):
            self._cost.note()
            recorder.drain()
        for part in (self._calls, self._cells, self._self_observation):
            with contain_internal_errors("collect"):  # the rest of the page, the host's own metrics included, must be read
                yield from part()

    def _cells(self) -> Iterator[Metric]:
        cells = self._recorder.cells
        for family in FAMILIES:
            if (values := cells.values.get(family)) is not None:
                yield RecordedFamily(family, partial(_cell_points, family, values))
            elif (children := cells.children.get(family)) is not None:
                yield RecordedFamily(family, partial(self._cell_children, children))

    # --- calls ------------------------------------------------------------------------------------------------------------

    def _calls(self) -> Iterator[Metric]:
        recorder = self._recorder
        for table in recorder.series.values():
            all_series = list(table.values())
            if all_series:
                yield RecordedFamily(all_series[0].family, partial(self._call_children, all_series))
        tasks = list(recorder.series[SeriesKind.TASK].values())
        if tasks:
            yield from self._tasks(tasks)

    def _tasks(self, tasks: list[CallSeries]) -> Iterator[Metric]:
        in_progress, oldest = self._in_progress()
        offset = self._recorder.wall_offset
        yield _family(catalogue.TASKS_IN_PROGRESS, lambda: ((task, in_progress.get(task, 0)) for task in tasks))
        yield _family(catalogue.TASK_OLDEST_START, lambda: ((task, start + offset) for task, start in oldest.items()))
        yield _family(
            catalogue.TASK_LAST_SUCCESS,
            lambda: ((task, task.last_success + offset) for task in tasks if isfinite(task.last_success)),
        )
        yield RecordedFamily(catalogue.TASK_ERRORS, lambda: (point for task in tasks for point in _error_points(task)))
        promised = [(task, task.objective) for task in tasks if task.objective is not None]
        ratios = [(task, promise.success_ratio) for task, promise in promised if promise.success_ratio is not None]
        latencies = [(task, promise.latency_seconds) for task, promise in promised if promise.latency_seconds is not None]
        yield _family(catalogue.OBJECTIVE_SUCCESS, lambda: ratios)
        yield _family(catalogue.OBJECTIVE_LATENCY, lambda: latencies)
        yield _family(catalogue.OBJECTIVE_LATENCY_MISSED, lambda: ((task, task.missed) for task, _ in latencies))

    def _in_progress(self) -> tuple[dict[CallSeries, int], dict[CallSeries, float]]:
        counts: dict[CallSeries, int] = {}
        oldest: dict[CallSeries, float] = {}
        for record in self._recorder.open_records():
            series = record[TARGET].series
            if series.kind is SeriesKind.TASK and record[END] is None:
                counts[series] = counts.get(series, 0) + 1
                oldest[series] = min(oldest.get(series, record[START]), record[START])
        return counts, oldest

    def _call_children(self, all_series: list[CallSeries]) -> Iterator[HistogramPoint]:
        return self._child_points([child for series in all_series for child in series.children()])

    def _cell_children(self, table: Mapping[Labels, Child]) -> Iterator[HistogramPoint]:
        return self._child_points(list(table.values()))

    def _child_points(self, children: list[Child]) -> Iterator[HistogramPoint]:
        for first in range(0, len(children), _CHILDREN_A_HOLD):
            chunk = children[first : first + _CHILDREN_A_HOLD]
            yield from self._recorder.snapshot(chunk)

    # --- everything else --------------------------------------------------------------------------------------------------

    def _self_observation(self) -> Iterator[Metric]:
        recorder = self._recorder
        yield _points(catalogue.BUILD_INFO, [_point((("version", __version__),), 1)])
        # In this order: what is recorded in between must not look exported before it came.
        exported = recorder.folded
        yield _points(catalogue.EVENTS_RECORDED, [_point((), recorder.recorded)])
        yield _points(catalogue.EVENTS_EXPORTED, [_point((), exported)])
        yield _points(catalogue.EVENTS_DROPPED, [_point((), recorder.dropped)])
        yield _points(catalogue.BUFFER_HIGH_WATER, [_point((), recorder.high_water)])
        faults = {**dict.fromkeys(_HOT_HOOKS, 0), **contained_errors.count_by_hook}
        yield _points(catalogue.INTERNAL_ERRORS, [_point((("hook", hook),), count) for hook, count in faults.items()])


def _cell_points(family: Family, table: Mapping[Labels, float]) -> Iterator[Point]:
    values = list(table.items())
    if family.kind is Kind.STATE_SET:
        values = expand_states(family, values)
    return (_point(labels, value) for labels, value in values)


_cached_label_text = lru_cache(maxsize=16_384)(label_text)


def _point(labels: Labels, value: float) -> Point:
    return Point(_cached_label_text(labels), labels, value)


def _points(family: Family, points: list[Point]) -> RecordedFamily:
    return RecordedFamily(family, lambda: iter(points))


def _family(family: Family, values: Callable[[], Iterable[tuple[CallSeries, float]]]) -> RecordedFamily:
    return RecordedFamily(family, lambda: (Point(series.label_text, series.labels, value) for series, value in values()))


def _error_points(task: CallSeries) -> Iterator[Point]:
    for error_type, count in list(task.errors.items()):
        own = (catalogue.ERROR_TYPE, error_type)
        yield Point(f"{task.label_text},{_cached_label_text((own,))}", (*task.labels, own), count)
