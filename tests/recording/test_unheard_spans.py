"""Where a provider has nobody who would hear of spans, none are made, and what is handed on stays the same."""

from __future__ import annotations

import random

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from agentgauge import agent, task
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import SeriesKind


class Asked(Sampler):
    """Counts how often it is asked."""

    def __init__(self, sampler):
        self.sampler = sampler
        self.times = 0

    def should_sample(self, *args, **kwargs):
        self.times += 1
        return self.sampler.should_sample(*args, **kwargs)

    def get_description(self):
        return "asked"


@pytest.fixture
def deaf(monkeypatch):
    def install(sampler=None):
        provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return provider

    return install


@agent("scout")
@task
def explore():
    headers = {}
    propagate.inject(headers)
    inner = look()
    return trace.get_current_span(), headers.get("traceparent"), inner


@task
def look():
    headers = {}
    propagate.inject(headers)
    return headers.get("traceparent")


def bears_sampled(traceparent):
    return bool(int(traceparent[-2:], 16) & 1)


def listen(provider):
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.mark.parametrize(("sampler", "is_sampled"), [(ALWAYS_ON, True), (ALWAYS_OFF, False), (TraceIdRatioBased(1.0), True)])
def test_the_samplers_decision_is_handed_on_without_a_span(fresh, deaf, sampler, is_sampled):
    deaf(ParentBased(sampler))
    span, outer, inner = explore()

    assert not isinstance(span, ReadableSpan)
    assert bears_sampled(outer) is is_sampled
    assert inner == outer  # a root that records nothing stands for all that it calls
    assert (
        fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="scout", agent_task="explore", outcome="success") == 1
    )


def test_of_many_roots_as_many_are_sampled_as_the_ratio_says(fresh, deaf):
    deaf(ParentBased(TraceIdRatioBased(0.5)))
    sampled = sum(bears_sampled(explore()[1]) for _ in range(400))

    assert 120 < sampled < 280


def test_the_decision_takes_no_number_of_a_host_that_has_seeded_its_own(fresh, deaf):
    deaf(ParentBased(TraceIdRatioBased(0.5)))
    work = task("work")(lambda: None)
    random.seed(7)
    before = random.getstate()
    for _ in range(20):
        work()

    assert random.getstate() == before


def test_a_span_of_the_hosts_stays_the_current_one(fresh, deaf):
    provider = deaf()
    with provider.get_tracer("host").start_as_current_span("host") as host:
        span, outer, _ = explore()

    assert span is host
    assert f"{host.get_span_context().span_id:016x}" in outer


def test_a_processor_that_is_added_later_hears_of_the_next_span(fresh, deaf):
    provider = deaf()
    explore()
    exporter = listen(provider)
    explore()

    assert [span.name for span in exporter.get_finished_spans()] == ["execute_task look", "invoke_agent scout"]


def test_a_processor_that_is_added_while_a_root_is_open_hears_of_what_it_calls(fresh, deaf):
    provider = deaf()
    exporters = []

    @task
    def outer():
        exporters.append(listen(provider))
        look()

    outer()

    assert [span.name for span in exporters[0].get_finished_spans()] == ["execute_task look"]
    assert exporters[0].get_finished_spans()[0].parent is not None


def test_a_processor_that_is_deaf_to_our_spans_does_not_count(fresh, deaf):
    class Deaf(SpanProcessor):
        is_deaf_to_agentgauge = True

    deaf().add_span_processor(Deaf())

    assert not isinstance(explore()[0], ReadableSpan)


def test_a_sampler_that_is_not_known_is_asked_all_the_same(fresh, deaf):
    sampler = Asked(ALWAYS_ON)
    deaf(sampler)
    span, outer, _ = explore()

    assert sampler.times >= 1
    assert isinstance(span, ReadableSpan)
    assert bears_sampled(outer)


def test_operations_beside_the_context_make_no_span_under_one_either(fresh, deaf):
    provider = deaf()
    with provider.get_tracer("host").start_as_current_span("host"):
        call = Operation(fresh.recorder, SeriesKind.TOOL, "search", instrumentor="tests", is_beside=True)
        assert not call.is_recording
        call.end()

    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="search") == 1
