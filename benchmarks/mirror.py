"""Many children of ours in a registry, and the same series in prometheus_client's own metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

import agentgauge
from agentgauge.recording.default import default_recorder, show_default_recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.core import Metric

__all__ = ["Children", "Mirror"]

_OUTCOMES = ("success", "error", "timeout")
_AGENTS = 10


class Children:
    """Children of ``agent_task_duration_seconds``, each task's three, and the other series that come with them."""

    def __init__(self, count: int) -> None:
        """Make ``count`` children, rounded up to whole tasks."""
        tasks = math.ceil(count / len(_OUTCOMES))
        self.names = [(f"agent-{number % _AGENTS}", f"summarise-{number:05}") for number in range(tasks)]
        self.count = tasks * len(_OUTCOMES)
        self.registry = CollectorRegistry()
        show_default_recorder(self.registry)
        default_recorder().series_limit = 2 * tasks

    def touch(self) -> None:
        """Record one call in every child, so that no page is what it was before."""
        for agent, task in self.names:
            for outcome in _OUTCOMES:
                with agentgauge.track(agent, task) as call:
                    call.set_outcome(outcome)
        default_recorder().drain()


class Mirror:
    """The same series as some families have, under the same names and labels, in prometheus_client's own metrics."""

    def __init__(self, families: Sequence[Metric]) -> None:
        # Its *_created series would be series that we do not have.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        self.registry = CollectorRegistry()
        self._histograms: list[Histogram] = []
        for family in families:
            self._add(family)

    def touch(self) -> None:
        """Observe in every child of a histogram."""
        for child in self._histograms:
            child.observe(0.001)

    def _add(self, family: Metric) -> None:
        samples = [sample for sample in family.samples if not sample.name.endswith(("_bucket", "_sum"))]
        if not samples:
            return
        name, text = family.name, family.documentation
        names = list({label: None for sample in samples for label in sample.labels})
        values = [[sample.labels.get(label, "") for label in names] for sample in samples]
        if family.type == "histogram":
            bounds = {float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")}
            histogram = Histogram(name, text, names, buckets=sorted(bounds), registry=self.registry)
            self._histograms += [histogram.labels(*each) if names else histogram for each in values]
        elif family.type == "counter":
            counter = Counter(name, text, names, registry=self.registry)
            for each, sample in zip(values, samples, strict=True):
                (counter.labels(*each) if names else counter).inc(sample.value)
        elif family.type == "gauge":
            gauge = Gauge(name, text, names, registry=self.registry)
            for each, sample in zip(values, samples, strict=True):
                (gauge.labels(*each) if names else gauge).set(sample.value)
        elif family.type == "info":
            Info(name, text, registry=self.registry).info(samples[0].labels)
        else:
            raise ValueError(f"{name} is a {family.type}: say how prometheus_client makes one")
