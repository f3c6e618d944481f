"""A stand-in for the recorder: families with points made up by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from agentgauge import catalogue
from agentgauge.catalogue import Family, Kind
from agentgauge.recording.points import Exemplar, HistogramPoint, Point, label_text
from agentgauge.recording.recorded_family import RecordedFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recording.points import Labels


class MadeUp:
    """A collector of recorded families that describes no names, as the recorder does."""

    def __init__(self, points_by_family: dict[Family, list[Point | HistogramPoint]]) -> None:
        self.points_by_family = points_by_family

    def describe(self) -> list[RecordedFamily]:
        return []

    def collect(self) -> Iterator[RecordedFamily]:
        for family, points in self.points_by_family.items():
            yield RecordedFamily(family, lambda points=points: iter(points))


def registry_of(*collectors: object) -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


def plain(labels: Labels, value: float) -> Point:
    return Point(label_text(labels), labels, value)


def histogram(labels: Labels, counts: list[int], total: float, exemplars: dict[int, Exemplar] | None = None) -> HistogramPoint:
    return HistogramPoint(label_text(labels), labels, counts, total, exemplars or {})


def task_durations(children: int) -> MadeUp:
    """Histograms of as many tasks, each with one call in every bucket."""
    counts = [1] * (len(catalogue.TASK_DURATION.buckets) + 1)
    return MadeUp(
        {
            catalogue.TASK_DURATION: [
                histogram(
                    ((catalogue.AGENT, "researcher"), (catalogue.TASK, f"task {index}"), ("outcome", "success")), counts, 1.5
                )
                for index in range(children)
            ]
        }
    )


def one_of_each_kind() -> MadeUp:
    """A family of each kind, with labels and without."""
    agent = (catalogue.AGENT, "researcher")
    task = (agent, (catalogue.TASK, "answer"))
    counts = [1] * (len(catalogue.TASK_DURATION.buckets) + 1)
    exemplar = Exemplar(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 0.015, 1700000000.125)
    return MadeUp(
        {
            catalogue.TASK_DURATION: [histogram((*task, ("outcome", "success")), counts, 12.5, {1: exemplar})],
            catalogue.TASK_INPUT_SIZE: [histogram((), [2] * (len(catalogue.TASK_INPUT_SIZE.buckets) + 1), 1e9)],
            catalogue.TASK_ERRORS: [plain((*task, (catalogue.ERROR_TYPE, "ValueError")), 3)],
            catalogue.TASKS_IN_PROGRESS: [plain(task, 2), plain((), 1)],
            catalogue.STATE: [plain((agent, ("agent_state", state)), float(state == "idle")) for state in catalogue.AGENT_STATES],
            catalogue.TARGET_INFO: [plain((("service_name", "swarm"),), 1)],
            catalogue.EVENTS_RECORDED: [plain((), 12345678)],
            Family("made_up_empty", Kind.GAUGE, "A family that has no series yet."): [],
        }
    )
