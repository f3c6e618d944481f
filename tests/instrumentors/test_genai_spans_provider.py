"""How the listener comes to a program's spans and goes again, and what it leaves alone."""

from __future__ import annotations

import functools
import gc
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.util._once import Once

import agentgauge
from agentgauge.errors import contained_errors
from agentgauge.instrumentors import genai_spans, span_operations
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import SpanListener, instrument, unsampled_reason
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.tracing import span_frames
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

    SetProvider = Callable[..., InMemorySpanExporter]

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "small"}
RUN = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "x"}
COUNT = "gen_ai_client_operation_duration_seconds_count"
LABELS = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "small"}


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with reraise_internal_errors(), ExitStack() as undo:
        yield undo
    assert not span_frames


@pytest.fixture
def kit(fresh: Isolation, undo: ExitStack) -> Kit:
    return Kit("genai-spans", fresh.recorder, Content(), undo)


def chat() -> None:
    with trace.get_tracer("somebody").start_as_current_span("chat small", attributes=CHAT):
        pass


def processors() -> tuple[SpanProcessor, ...]:
    provider: Any = trace.get_tracer_provider()
    return provider._active_span_processor._span_processors


def test_a_provider_that_is_set_before_and_one_that_is_set_later_are_listened_to_once(
    fresh: Isolation, set_provider: SetProvider, kit: Kit
) -> None:
    set_provider()
    instrument(kit)
    chat()
    assert fresh.value(COUNT, **LABELS) == 1

    set_provider()
    chat()
    trace._set_tracer_provider(trace.get_tracer_provider(), log=False)
    chat()

    assert fresh.value(COUNT, **LABELS) == 3
    assert sum(isinstance(processor, SpanListener) for processor in processors()) == 1


def test_the_program_keeps_the_provider_that_it_sets_and_all_of_its_spans(set_provider: SetProvider, kit: Kit) -> None:
    instrument(kit)
    exporter = set_provider()
    provider = trace.get_tracer_provider()
    chat()

    assert trace.get_tracer_provider() is provider
    assert [span.name for span in exporter.get_finished_spans()] == ["chat small"]
    assert provider.force_flush()


def test_a_second_provider_is_refused_as_without_us(
    set_provider: SetProvider, kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    set_provider()
    first = trace.get_tracer_provider()
    instrument(kit)
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))

    assert trace.get_tracer_provider() is first
    assert "Overriding of current TracerProvider is not allowed" in caplog.text


def test_a_provider_of_another_make_is_left_alone(monkeypatch: pytest.MonkeyPatch, kit: Kit) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    instrument(kit)
    provider = NoOpTracerProvider()
    trace.set_tracer_provider(provider)
    chat()

    assert trace.get_tracer_provider() is provider
    assert vars(provider) == {}


def test_listening_sets_no_provider_where_the_program_has_none(monkeypatch: pytest.MonkeyPatch, kit: Kit) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider")
    instrument(kit)

    assert trace._TRACER_PROVIDER is None


@pytest.mark.parametrize("is_concurrent", [False, True])
def test_undo_gives_everything_back_exactly(
    fresh: Isolation, set_provider: SetProvider, kit: Kit, monkeypatch: pytest.MonkeyPatch, *, is_concurrent: bool
) -> None:
    set_provider()
    if is_concurrent:
        provider = TracerProvider(active_span_processor=ConcurrentMultiSpanProcessor(1), shutdown_on_exit=False)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    before = trace._set_tracer_provider, processors()
    instrument(kit)
    assert (trace._set_tracer_provider, processors()) != before
    chat()
    kit.undo.close()
    chat()
    set_again = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(set_again)

    assert (trace._set_tracer_provider, processors()) == before
    assert not set_again._active_span_processor._span_processors
    assert fresh.value(COUNT, **LABELS) == 1
    if is_concurrent:
        provider.shutdown()


def test_after_undo_no_provider_is_listened_to_although_somebody_has_wrapped_what_we_installed(
    monkeypatch: pytest.MonkeyPatch, set_provider: SetProvider, kit: Kit
) -> None:
    monkeypatch.setattr(trace, "_set_tracer_provider", trace._set_tracer_provider)  # what is given back in the end
    instrument(kit)
    ours = trace._set_tracer_provider
    monkeypatch.setattr(trace, "_set_tracer_provider", functools.partial(ours))
    kit.undo.close()
    set_provider()

    assert not any(isinstance(processor, SpanListener) for processor in processors())


@pytest.mark.usefixtures("spans")
def test_calls_that_are_open_at_undo_end_as_they_would_and_then_nothing_is_left(fresh: Isolation, kit: Kit) -> None:
    before = processors()
    instrument(kit)
    with trace.get_tracer("somebody").start_as_current_span("invoke_agent x", attributes=RUN):
        kit.undo.close()
        chat()
        assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="x", agent_task="invoke_agent") == 1

    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="x", agent_task="invoke_agent") == 0
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="x") == 1
    assert fresh.value(COUNT, **LABELS) is None
    assert processors() == before


@pytest.mark.usefixtures("spans")
def test_our_own_spans_and_spans_from_before_are_no_calls(fresh: Isolation, kit: Kit) -> None:
    earlier = trace.get_tracer("somebody").start_span("chat small", attributes=CHAT)
    instrument(kit)
    with agentgauge.track("x", "step"):
        pass
    earlier.end()

    assert fresh.value("agentgauge_events_recorded_total") == 1
    assert fresh.value("agentgauge_instrumentor_calls_total", instrumentor="genai-spans") is None


def test_a_fault_of_ours_reaches_neither_the_program_nor_its_exporter(fresh: Isolation, set_provider: SetProvider) -> None:
    with ExitStack() as undo:
        kit = Kit("genai-spans", fresh.recorder, Content(), undo)
        exporter = set_provider()
        instrument(kit)

        def fail() -> float:
            raise RuntimeError

        clock, fresh.recorder.clock = fresh.recorder.clock, fail
        chat()
        fresh.recorder.clock = clock
        opened = trace.get_tracer("somebody").start_span("chat small", attributes=CHAT)
        fresh.recorder.clock = fail
        opened.end()
        fresh.recorder.clock = clock

    assert len(exporter.get_finished_spans()) == 2
    assert fresh.value("agentgauge_internal_errors_total", hook="genai_spans") == 2


@pytest.mark.usefixtures("spans")
def test_spans_that_never_end_are_given_up_when_they_are_dropped(fresh: Isolation, kit: Kit) -> None:
    instrument(kit)
    dropped = trace.get_tracer("somebody").start_span("invoke_agent x", attributes=RUN)
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="x", agent_task="invoke_agent") == 1
    del dropped
    gc.collect()
    chat()

    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="x", agent_task="invoke_agent") == 0
    labels = {"gen_ai_agent_name": "x", "agent_task": "invoke_agent", "outcome": "abandoned"}
    assert fresh.value("agent_task_duration_seconds_count", **labels) == 1


def test_of_too_many_open_spans_the_oldest_are_given_up(fresh: Isolation, set_provider: SetProvider, undo: ExitStack) -> None:
    listener = SpanListener(fresh.recorder, "genai-spans", most_open=3)
    set_provider(None, listener)
    undo.callback(listener.close)
    tracer = trace.get_tracer("somebody")
    opened = [
        tracer.start_span("invoke_agent x", attributes={**RUN, "gen_ai.agent.name": f"agent-{number}"}) for number in range(5)
    ]

    assert len(listener._open) == len(span_frames) == 3
    for span in opened:
        span.end()

    assert not listener._open
    outcomes = [
        fresh.value(
            "agent_task_duration_seconds_count", gen_ai_agent_name=f"agent-{number}", agent_task="invoke_agent", outcome=outcome
        )
        for number in range(5)
        for outcome in ("abandoned", "success")
    ]
    assert outcomes == [1, 0, 1, 0, None, 1, None, 1, None, 1]


@pytest.mark.usefixtures("spans")
def test_a_call_that_has_begun_ends_whatever_its_span_says_at_the_end(
    fresh: Isolation, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RecursionError

    contained_errors.is_reraising = False  # until the fixture puts back what was before it
    monkeypatch.setattr(genai_spans, "failure_of_span", fail)
    monkeypatch.setattr(span_operations, "answer_of", fail)
    instrument(kit)
    with trace.get_tracer("somebody").start_as_current_span("invoke_agent x", attributes=RUN):
        chat()

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="x") == 1
    assert fresh.value(COUNT, **LABELS) == 1
    assert fresh.value("agentgauge_internal_errors_total", hook="genai_spans") == 3
    fresh.recorder.drain()
    assert fresh.recorder.open_records() == []


def test_spans_that_begin_in_the_one_before_which_ends_then_are_not_kept(
    fresh: Isolation, set_provider: SetProvider, undo: ExitStack
) -> None:
    listener = SpanListener(fresh.recorder, "genai-spans")
    set_provider(None, listener)
    undo.callback(listener.close)
    tracer = trace.get_tracer("somebody")
    with tracer.start_as_current_span("POST"):
        opened = tracer.start_span("invoke_agent x", attributes=RUN)
        for _ in range(50):
            inner = tracer.start_span("invoke_agent x", attributes=RUN, context=trace.set_span_in_context(opened))
            opened.end()
            opened = inner
        last: Any = listener._open[opened.get_span_context().span_id]
        kept = []
        while last is not None:
            kept.append(last.is_over)
            last = last.parent
        opened.end()

    assert kept == [False, True, False], "itself, the one that it began in, and POST, which is open"
    assert not listener._open


@pytest.mark.usefixtures("spans")
def test_a_forked_child_leaves_the_parents_calls_to_the_parent_and_counts_its_own(fresh: Isolation, kit: Kit) -> None:
    instrument(kit)
    reader, writer = os.pipe()
    tracer = trace.get_tracer("somebody")
    with tracer.start_as_current_span("invoke_agent x", attributes=RUN) as opened:
        model = tracer.start_span("chat small", attributes=CHAT)
        child = os.fork()
        if child == 0:  # pragma: no cover - in the child
            found = "failed"
            try:
                chat()
                model.end()
                opened.end()
                runs = fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="x")
                found = f"{runs} {fresh.value(COUNT, **LABELS)}"
            finally:
                os.write(writer, found.encode())
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            assert answer.read() == "None 1"
        model.end()

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="x") == 1
    assert fresh.value(COUNT, **LABELS) == 1


@pytest.mark.usefixtures("spans")
def test_threads_that_call_at_the_same_time_lose_and_mix_up_nothing(fresh: Isolation, kit: Kit) -> None:
    instrument(kit)
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        tracer = trace.get_tracer("somebody")
        gate.wait()
        for _ in range(200):
            with tracer.start_as_current_span("invoke_agent", attributes={**RUN, "gen_ai.agent.name": f"agent-{number}"}):
                chat()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert fresh.value(COUNT, **LABELS) == 800
    for number in range(4):
        assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name=f"agent-{number}") == 200


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        (TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False), None),
        (TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False), None),
        (TracerProvider(sampler=TraceIdRatioBased(1.0), shutdown_on_exit=False), None),
        (TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), "drops every trace that begins here"),
        (TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.1)), shutdown_on_exit=False), "keeps 10.00% of the traces"),
        (NoOpTracerProvider(), "no tracer provider of the OpenTelemetry SDK is set"),
    ],
)
def test_a_program_can_be_told_why_spans_are_missed(provider: Any, reason: str | None) -> None:
    told = unsampled_reason(provider)

    assert told is reason is None or (told is not None and reason is not None and reason in told)
