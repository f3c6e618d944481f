"""A root's trace id and the sampler's decision about it agree, whoever makes the ids and whoever hears of spans."""

from __future__ import annotations

import os

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

from agentgauge import task

_HALF = TraceIdRatioBased(0.5)


class Counting(RandomIdGenerator):
    """The ids of a program's own: their upper half says so."""

    def generate_trace_id(self):
        return 77 << 64 | super().generate_trace_id() % 2**64


@pytest.fixture
def contexts(fresh, monkeypatch):
    """Give a function that makes calls under a provider, and returns their spans' contexts and what was exported."""

    def make(calls, ids, *, is_heard, sampler=_HALF):
        provider = TracerProvider(sampler=ParentBased(sampler), id_generator=ids, shutdown_on_exit=False)
        exporter = InMemorySpanExporter()
        if is_heard:
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

        @task
        def work():
            return trace.get_current_span().get_span_context()

        return [work() for _ in range(calls)], {span.context.trace_id for span in exporter.get_finished_spans()}

    return make


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("ids", [RandomIdGenerator(), Counting()], ids=["of the SDK", "of the program's own"])
def test_the_id_that_a_root_hands_on_is_one_about_which_its_sampler_decides_so(contexts, ids, is_heard):
    handed_on, exported = contexts(300, ids, is_heard=is_heard)

    sampled = {context.trace_id for context in handed_on if context.trace_flags.sampled}
    assert sampled == {each.trace_id for each in handed_on if _HALF.should_sample(None, each.trace_id, "").decision.is_sampled()}
    assert exported == (sampled if is_heard else set())
    assert 90 < len(sampled) < 210
    assert len({context.trace_id for context in handed_on}) == len(handed_on)
    assert all(context.is_valid and context.trace_flags.random_trace_id for context in handed_on)
    is_own = {context.trace_id >> 64 == 77 for context in handed_on}
    assert is_own == {isinstance(ids, Counting)}


def test_dropped_roots_have_ids_from_the_whole_range(contexts):
    handed_on, _ = contexts(300, RandomIdGenerator(), is_heard=True, sampler=ALWAYS_OFF)

    for bit in range(128):
        ones = sum(context.trace_id >> bit & 1 for context in handed_on)
        assert 75 < ones < 225, f"bit {bit}"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ALWAYS_ON], ids=["dropped", "sampled"])
def test_a_call_that_forks_is_one_trace_in_parent_and_children(fresh, monkeypatch, sampler):
    provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    @task
    def work():
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, f"{trace.get_current_span().get_span_context().trace_id:032x}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            return pipe.read(), f"{trace.get_current_span().get_span_context().trace_id:032x}"

    of_child, of_parent = work()
    assert of_child == of_parent
