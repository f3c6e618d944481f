"""Which of the calls that somebody else's spans tell are counted, whose they are, how and when they ended."""

from __future__ import annotations

import asyncio
import contextvars
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.tracing import span_frames
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

GENAI = "opentelemetry.instrumentation.genai.openai"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "small"}
OPENAI = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "small"}
COUNT = "gen_ai_client_operation_duration_seconds_count"


@pytest.fixture(autouse=True)
def instrumented(fresh: Isolation, spans: InMemorySpanExporter) -> Iterator[None]:
    """Listen to the spans of a provider that is set already."""
    spans.clear()
    with reraise_internal_errors(), ExitStack() as undo:
        instrument(Kit("genai-spans", fresh.recorder, Content(), undo))
        yield
        assert not span_frames, "a frame of a span that has ended was left behind"


def span(name: str, attributes: dict[str, Any] | None = None, scope: str = GENAI, **options: Any) -> Any:
    return trace.get_tracer(scope).start_as_current_span(name, attributes=attributes, **options)


def tokens(fresh: Isolation, model: str, token_type: str, agent: str = "") -> float | None:
    labels = {"gen_ai_request_model": model, "gen_ai_token_type": token_type, "gen_ai_agent_name": agent}
    return fresh.value(
        "agent_tokens_total", **{name: value for name, value in labels.items() if value or name != "gen_ai_agent_name"}
    )


# --- one owner ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_late", [False, True], ids=["at start", "at end"])
def test_two_libraries_that_report_one_lm_call_are_counted_once(fresh: Isolation, *, is_late: bool) -> None:
    outer = {"openinference.span.kind": "LLM", "llm.model_name": "small", "llm.token_count.prompt": 10}
    with span("ChatOpenAI", None if is_late else outer, "openinference.instrumentation.langchain") as opened:
        with span("POST", scope="http"), span("chat small", CHAT) as inner:
            inner.set_attribute("gen_ai.usage.input_tokens", 10)
        if is_late:
            opened.set_attributes(outer)

    assert tokens(fresh, "small", "input") == 10
    assert fresh.value("agentgauge_events_recorded_total") == 1
    owner = "genai-spans" if is_late else "openinference.instrumentation.langchain"
    assert fresh.value("agentgauge_calls_suppressed_total", instrumentor="genai-spans", owner=owner, kind="lm") == 1


def test_a_tool_of_two_libraries_is_one_and_one_that_calls_itself_is_two(fresh: Isolation) -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}
    with span("execute_tool lookup", tool, "one"), span("execute_tool lookup", tool, "other"):
        pass
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="lookup") == 1

    with span("execute_tool lookup", tool, "one"), span("execute_tool lookup", tool, "one"):
        pass
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="lookup") == 3


def test_a_span_whose_parent_is_named_by_hand_belongs_there_and_not_to_the_current_one(fresh: Isolation) -> None:
    tracer = trace.get_tracer("callbacks")
    run = tracer.start_span("invoke_agent a", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"})
    with span("invoke_agent b", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "b"}):
        model = tracer.start_span(
            "chat small", attributes={**CHAT, "gen_ai.usage.input_tokens": 3}, context=trace.set_span_in_context(run)
        )
        model.end()
    run.end()

    assert tokens(fresh, "small", "input", "a") == 3
    assert fresh.value("agent_handoffs_total", source="a", target="b", outcome="success") is None


def test_what_came_over_a_wire_belongs_to_its_sender_in_whatever_context_it_runs(fresh: Isolation) -> None:
    tracer = trace.get_tracer("wire")
    with ExitStack() as undo:
        connection = Kit("some-hook", fresh.recorder, Content(), undo).begin(SeriesKind.RUN, "connect", agent="a")
        context = contextvars.copy_context()
        connection.end()

    def serve() -> None:
        received = trace.NonRecordingSpan(
            trace.SpanContext(sent.trace_id, sent.span_id, is_remote=True, trace_flags=sent.trace_flags)
        )
        with tracer.start_as_current_span("POST", context=trace.set_span_in_context(received)):
            tracer.start_span("chat small", attributes={**CHAT, "gen_ai.usage.input_tokens": 3}).end()

    with span("invoke_agent b", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "b"}) as sender:
        sent = sender.get_span_context()
        context.run(serve)

    assert tokens(fresh, "small", "input", "b") == 3
    assert tokens(fresh, "small", "input", "a") is None


def test_a_hook_inside_an_agent_that_was_named_after_its_start_belongs_to_it(fresh: Isolation) -> None:
    with ExitStack() as undo, span("agent run") as run:
        run.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "x"})
        with span("GET", scope="http"):
            pass
        call = Kit("some-hook", fresh.recorder, Content(), undo).begin_lm(LmName("chat", "openai", "small"))
        call.note_answer(Answer(input_tokens=3))
        call.end()

    assert tokens(fresh, "small", "input", "x") == 3


def test_only_what_is_innermost_is_work_of_a_workflow(fresh: Isolation) -> None:
    with (
        span("invoke_workflow trip", {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "trip"}),
        span("execute_tool lookup", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}),
    ):
        fresh.clock.advance(6)
        with span("chat small", CHAT):
            fresh.clock.advance(3)

    seconds = fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="trip")
    assert seconds == pytest.approx(6, abs=0.5)


# --- how it ended ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "error_type"),
    [
        (TimeoutError(), "timeout", "TimeoutError"),
        (asyncio.CancelledError(), "cancelled", "asyncio.exceptions.CancelledError"),
        (GeneratorExit(), "abandoned", "GeneratorExit"),
        (KeyError("x"), "error", "KeyError"),
    ],
)
def test_what_leaves_the_call_tells_how_it_ended(fresh: Isolation, error: BaseException, outcome: str, error_type: str) -> None:
    run = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "x"}
    with pytest.raises(type(error)), span("invoke_agent x", run):
        raise error

    labels = {"gen_ai_agent_name": "x", "agent_task": "invoke_agent"}
    assert fresh.value("agent_task_duration_seconds_count", **labels, outcome=outcome) == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="x", error_type=error_type) == 1


def test_work_after_a_cancellation_and_an_exception_that_was_handled_are_no_failures(fresh: Isolation) -> None:
    try:
        raise asyncio.CancelledError
    except asyncio.CancelledError:
        with span("chat small", CHAT):
            pass
    with span("chat small", CHAT) as opened:
        opened.record_exception(ValueError())

    assert fresh.value(COUNT, **OPENAI) == 2


def test_a_failure_without_a_type_is_of_another_type(fresh: Isolation) -> None:
    with span("chat small", CHAT) as opened:
        opened.set_status(StatusCode.ERROR, "no")

    assert fresh.value(COUNT, **OPENAI, error_type="_OTHER") == 1


# --- when -----------------------------------------------------------------------------------------------------------------


def test_a_call_lasts_by_the_recorders_clock(fresh: Isolation) -> None:
    with span("chat small", CHAT):
        fresh.clock.advance(3)

    total = fresh.value("gen_ai_client_operation_duration_seconds_sum", **OPENAI)
    assert total == pytest.approx(3, abs=0.5)  # but for the moments between a span's own times and their coming here


def test_times_that_a_library_gives_afterwards_are_believed(fresh: Isolation) -> None:
    now = time.time_ns()
    opened = trace.get_tracer("late").start_span("chat small", attributes=CHAT, start_time=now - 60_000_000_000)
    opened.end(end_time=now - 20_000_000_000)

    assert fresh.value("gen_ai_client_operation_duration_seconds_sum", **OPENAI) == pytest.approx(40, abs=0.5)


def test_times_that_cannot_be_are_taken_for_now(fresh: Isolation) -> None:
    opened = trace.get_tracer("broken").start_span("chat small", attributes=CHAT, start_time=1)
    opened.end()

    assert fresh.value("gen_ai_client_operation_duration_seconds_sum", **OPENAI) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("status", [StatusCode.UNSET, StatusCode.ERROR])
def test_exemplars_lead_to_the_span_and_nothing_is_written_to_it(
    fresh: Isolation, spans: InMemorySpanExporter, status: StatusCode
) -> None:
    with span("chat small", CHAT) as opened:
        opened.set_status(status)

    exemplars = [
        sample.exemplar.labels["trace_id"]
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == "gen_ai_client_operation_duration_seconds_bucket" and sample.exemplar
    ]
    (exported,) = spans.get_finished_spans()
    assert exemplars == [f"{exported.context.trace_id:032x}"]
    assert dict(exported.attributes) == CHAT
