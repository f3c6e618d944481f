"""What a sweep holds: exactly what a Prometheus would have after it scraped the page."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.parser import text_string_to_metric_families

from agentgauge import AgentMetricsCollector, agent, task, tool, track
from agentgauge.analytics.sweeps import RegistryReader
from agentgauge.collectors.targets import TargetsCollector
from agentgauge.exposition.text import render
from agentgauge.targets import DEFAULT_THRESHOLDS


def on_the_page(registry):
    """Read the text page as a Prometheus does: of a series that is there twice, the first; no empty labels."""
    page = b"".join(render(registry, openmetrics=False)).decode()
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if value))
            found.setdefault((sample.name, labels), sample.value)
    return found


def in_the_sweep(registry):
    return {(name, labels): value for name, labels, value in RegistryReader(registry).read(0.0).samples()}


def without_times(samples):
    """Leave out what a reading itself changes."""
    return {series: value for series, value in samples.items() if not series[0].startswith("agentgauge_overhead")}


@agent("researcher")
class Researcher:
    @task
    def research(self, question):
        return self.search(question)

    @tool
    def search(self, question):
        if question is None:
            raise LookupError
        return question


def work():
    Researcher().research("why")
    with pytest.raises(LookupError):
        Researcher().research(None)
    with track('a "quoted"\nname\\', "été"):
        pass
    reported = AgentMetricsCollector("reporter")
    reported.set_state("processing")
    reported.update_queue_size(7, "inbox")
    reported.record_queue_wait(2_000_000.0, "inbox")
    reported.set_custom_metric("backlog", 1.5)


class Yields:
    def __init__(self, *families):
        self.families = families

    def collect(self):
        return iter(self.families)


def test_a_sweep_has_the_series_that_the_page_has_of_everything_that_the_recorder_and_collectors_show(fresh):
    work()
    fresh.registry.register(TargetsCollector(DEFAULT_THRESHOLDS, {"service.name": "swarm", "region": ""}))
    page = without_times(on_the_page(fresh.registry))
    assert without_times(in_the_sweep(fresh.registry)) == page
    assert {"agent_task_duration_seconds_bucket", "agent_task_errors_total", "agent_state", "target_info"} <= {
        name for name, _ in page
    }


def test_a_sweep_has_the_series_that_the_page_has_of_a_program_s_own_metrics():
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", ["kind"], registry=registry).labels("").inc(2)
    Gauge("depth", "Depth.", registry=registry).set(float("inf"))
    Histogram("size", "Sizes.", buckets=(0.5, 1, 2_000_000), registry=registry).observe(3)
    Summary("wait", "Waits.", registry=registry).observe(0.25)
    Info("built", "Build.", registry=registry).info({"by": "hand", "with": ""})
    Enum("phase", "Phase.", states=["on", "off"], registry=registry).state("off")
    registry.register(Yields(GaugeHistogramMetricFamily("ages", "Ages.", buckets=[("1", 2), ("+Inf", 3)], gsum_value=4)))
    page = on_the_page(registry)
    assert in_the_sweep(registry) == page
    assert ("size_bucket", (("le", "2e+06"),)) in page
    assert ("jobs_total", ()) in page


def test_of_series_that_several_collectors_show_a_sweep_has_the_one_that_the_page_shows():
    registry = CollectorRegistry()
    first = GaugeMetricFamily("depth", "Depth.", labels=["queue"])
    first.add_metric(["a"], 1)
    first.add_metric(["a"], 9)
    second = GaugeMetricFamily("depth", "Depth.", labels=["queue"])
    second.add_metric(["a"], 2)
    second.add_metric(["b"], 3)
    counter = CounterMetricFamily("depth", "Depth.", value=4)  # which the page names otherwise
    other_type = UnknownMetricFamily("depth", "Depth.", labels=["queue"])
    other_type.add_metric(["c"], 5)
    histogram = HistogramMetricFamily("size", "Size.", buckets=[("1", 1), ("+Inf", 2)], sum_value=2)
    finer = HistogramMetricFamily("size", "Size.", buckets=[("0.5", 7), ("1", 7), ("+Inf", 7)], sum_value=7)
    for family in (first, second, counter, other_type, histogram, finer):
        registry.register(Yields(family))
    swept = in_the_sweep(registry)
    assert swept == on_the_page(registry)
    assert swept["depth", (("queue", "a"),)] == 1
    assert swept["depth", (("queue", "b"),)] == 3
    assert ("size_bucket", (("le", "0.5"),)) not in swept
    assert ("depth", (("queue", "c"),)) not in swept


def test_a_series_that_comes_or_goes_between_two_sweeps_is_in_those_that_it_was_there_for(fresh):
    reader = RegistryReader(fresh.registry)
    reported = AgentMetricsCollector("reporter")
    seen = []
    for depth in (1, 2, 3):
        reported.update_queue_size(depth, f"queue {depth}")
        seen.append([dict(labels)["queue"] for name, labels, _ in reader.read(0).samples() if name == "agent_queue_depth"])
    assert seen == [["queue 1"], ["queue 1", "queue 2"], ["queue 1", "queue 2", "queue 3"]]


def test_what_has_gone_is_forgotten():
    registry = CollectorRegistry()
    gauge = Gauge("depth", "Depth.", ["queue"], registry=registry)
    reader = RegistryReader(registry)
    for number in range(50):
        gauge.clear()
        gauge.labels(str(number)).set(number)
        assert [value for *_, value in reader.read(number).samples()] == [number]
    assert len(reader._known) == 1


def test_labels_of_the_program_are_added_to_those_series_that_have_none_of_that_name():
    registry = CollectorRegistry()
    gauge = Gauge("depth", "Depth.", ["job"], registry=registry)
    gauge.labels("theirs").set(1)
    gauge.labels("").set(2)
    samples = RegistryReader(registry, {"job": "ours", "instance": ""}).read(0).samples()
    assert sorted(samples) == [("depth", (("job", "ours"),), 2), ("depth", (("job", "theirs"),), 1)]


def test_a_family_that_cannot_be_read_costs_no_other(fresh):
    class Broken(GaugeMetricFamily):
        @property
        def samples(self):
            raise ArithmeticError

        @samples.setter
        def samples(self, _value):
            pass

    fresh.registry.register(Yields(Broken("broken", "Broken."), GaugeMetricFamily("whole", "Whole.", value=1)))
    swept = in_the_sweep(fresh.registry)
    assert swept["whole", ()] == 1
    assert in_the_sweep(fresh.registry)["agentgauge_internal_errors_total", (("hook", "history"),)] >= 1


def test_a_label_that_no_file_can_hold_costs_no_sweep():
    registry = CollectorRegistry()
    Gauge("depth", "Depth.", ["queue"], registry=registry).labels("a\ud800b").set(1)
    assert in_the_sweep(registry) == {("depth", (("queue", "a?b"),)): 1}


def test_while_threads_record_every_histogram_of_a_sweep_is_one_that_there_was(fresh):
    stop = threading.Event()
    researcher = Researcher()

    def record():
        while not stop.is_set():
            researcher.research("why")

    threads = [threading.Thread(target=record) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        reader = RegistryReader(fresh.registry)
        before = 0.0
        for number in range(30):
            swept = {(name, labels): value for name, labels, value in reader.read(number).samples()}
            tasks = {labels: value for (name, labels), value in swept.items() if name == "agent_task_duration_seconds_count"}
            for labels, count in tasks.items():
                highest = tuple(sorted((*labels, ("le", "+Inf"))))
                assert swept["agent_task_duration_seconds_bucket", highest] == count
            assert sum(tasks.values()) >= before
            before = sum(tasks.values())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    final = {(name, labels): value for name, labels, value in reader.read(99).samples()}
    assert final["agentgauge_events_recorded_total", ()] == final["agentgauge_events_exported_total", ()]
