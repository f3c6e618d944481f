"""Spans in the shapes of libraries that are not installed here, made by hand as those make them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
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


@pytest.mark.parametrize(
    ("attributes", "labels", "counts"),
    [
        pytest.param(
            {
                **CHAT,
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 9,
                "gen_ai.usage.cache_read.input_tokens": 40,
                "gen_ai.usage.cache_creation.input_tokens": 30,
                "gen_ai.usage.reasoning.output_tokens": 5,
            },
            OPENAI,
            {"input": 100, "output": 9, "cache_read": 40, "cache_write": 30, "reasoning": 5},
            id="conventions",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.system": "openai",
                "gen_ai.request.model": "small",
                "gen_ai.usage.prompt_tokens": 100,
                "gen_ai.usage.completion_tokens": 9,
            },
            OPENAI,
            {"input": 100, "output": 9, "cache_read": None},
            id="conventions of 1.28",
        ),
        pytest.param(
            {
                "openinference.span.kind": "LLM",
                "llm.provider": "openai",
                "llm.model_name": "small",
                "llm.token_count.prompt": 100,
                "llm.token_count.completion": 9,
                "llm.token_count.total": 109,
                "llm.token_count.prompt_details.cache_read": 40,
                "llm.token_count.completion_details.reasoning": 5,
            },
            OPENAI,
            {"input": 100, "output": 9, "cache_read": 40, "reasoning": 5},
            id="OpenInference",
        ),
        pytest.param(
            {
                "llm.request.type": "chat",
                "gen_ai.system": "OpenAI",
                "gen_ai.request.model": "small",
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 9,
                "llm.usage.total_tokens": 109,
                "gen_ai.usage.cache_read_input_tokens": 40,
            },
            OPENAI,
            {"input": 100, "output": 9, "cache_read": 40},
            id="OpenLLMetry",
        ),
        pytest.param(
            {"gen_ai.operation.name": "embeddings", "gen_ai.system": "vertex_ai", "gen_ai.request.model": "small"},
            {**OPENAI, "gen_ai_operation_name": "embeddings", "gen_ai_provider_name": "gcp.vertex_ai"},
            {"input": None, "output": None},
            id="a provider that was renamed",
        ),
        pytest.param(
            {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "small", "llm.system": "openai"},
            {**OPENAI, "gen_ai_operation_name": "embeddings"},
            {"input": None},
            id="OpenInference's embeddings",
        ),
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["at start", "after start"])
def test_an_lm_call_is_read_in_every_dialect_whenever_it_gets_its_attributes(
    fresh: Isolation, attributes: dict[str, Any], labels: dict[str, str], counts: dict[str, int | None], *, is_late: bool
) -> None:
    with span("openai.chat", None if is_late else attributes, kind=SpanKind.CLIENT) as opened:
        opened.set_attributes(attributes)

    assert fresh.value(COUNT, **labels) == 1
    for token_type, count in counts.items():
        assert fresh.value("agent_tokens_total", gen_ai_request_model="small", gen_ai_token_type=token_type) == count
    assert fresh.value("agentgauge_events_recorded_total") == 1


def test_the_answer_tells_model_cost_and_why_it_ended(fresh: Isolation) -> None:
    with span("chat small", CHAT) as opened:
        opened.set_attribute("gen_ai.response.model", "small-2")
        opened.set_attribute("gen_ai.response.finish_reasons", ["stop", "length"])
        opened.set_attribute("operation.cost", 0.25)

    assert fresh.value(COUNT, **OPENAI, gen_ai_response_model="small-2") == 1
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="small") == 0.25
    for reason in ("stop", "length"):
        labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "small", "gen_ai_response_finish_reason": reason}
        assert fresh.value("agent_lm_finish_reasons_total", **labels) == 1


@pytest.mark.parametrize(
    ("parameters", "asked", "answered"),
    [
        ('{"model": "small"}', "small", "small-2"),
        ('{"model": ', "small-2", ""),
        ("[]", "small-2", ""),
        ('{"top_p": 1}', "small-2", ""),
    ],
)
def test_openinference_tells_the_model_that_was_asked_for_among_its_parameters(
    fresh: Isolation, parameters: str, asked: str, answered: str
) -> None:
    with span("ChatCompletion", {"openinference.span.kind": "LLM", "llm.provider": "openai"}) as opened:
        opened.set_attributes({"llm.invocation_parameters": parameters, "llm.model_name": "small-2"})

    labels = {**OPENAI, "gen_ai_request_model": asked, **({"gen_ai_response_model": answered} if answered else {})}
    assert fresh.value(COUNT, **labels) == 1


def test_a_model_that_is_another_at_the_end_is_counted_as_that(fresh: Isolation) -> None:
    with span("chat first", {**CHAT, "gen_ai.request.model": "first"}) as opened:
        opened.set_attribute("gen_ai.request.model", "second")

    assert fresh.value(COUNT, **{**OPENAI, "gen_ai_request_model": "second"}) == 1
    assert fresh.value(COUNT, **{**OPENAI, "gen_ai_request_model": "first"}) is None


def test_google_adk_names_its_spans_before_it_gives_them_attributes(fresh: Isolation) -> None:
    adk = "gcp.vertex.agent"
    with span("invocation", scope=adk), span("invoke_agent weather", scope=adk) as run:
        run.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "weather"})
        with span("call_llm", scope=adk) as call:
            with span("generate_content gemini", scope=adk) as inference:
                inference.set_attributes(
                    {"gen_ai.operation.name": "generate_content", "gen_ai.system": "gemini", "gen_ai.request.model": "gemini"}
                )
                inference.set_attributes({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 1})
            call.set_attributes({"gen_ai.system": "gcp.vertex.agent", "gen_ai.usage.input_tokens": 10})
        for name in ("lookup", "clock"):
            with span(f"execute_tool {name}", scope=adk) as tool:
                tool.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name})
        with span("execute_tool (merged)", scope=adk) as merged:
            merged.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "(merged tools)"})
        assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="weather", agent_task="invoke_agent") == 1

    labels = {"gen_ai_operation_name": "generate_content", "gen_ai_provider_name": "gcp.gemini", "gen_ai_request_model": "gemini"}
    assert fresh.value(COUNT, **labels) == 1
    assert tokens(fresh, "gemini", "input", "weather") == 10
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", gen_ai_agent_name="weather") == 2
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="weather") == 1
    assert fresh.value("agentgauge_events_recorded_total") == 4


def test_autogen_calls_its_own_agents_as_a_client_and_under_old_names(fresh: Isolation) -> None:
    common = {"gen_ai.system": "autogen"}
    with span("create_agent weather", {**common, "gen_ai.operation.name": "create_agent", "gen_ai.agent.name": "weather"}):
        pass
    run = {**common, "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "weather"}
    tool = {**common, "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}

    def call_tool() -> None:
        with span("execute_tool lookup", tool, "autogen-core") as opened:
            opened.set_attribute("error.type", "LookupError")
            raise LookupError

    with pytest.raises(LookupError), span("invoke_agent weather", run, "autogen-core", kind=SpanKind.CLIENT):
        call_tool()

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="weather", error_type="LookupError") == 1
    labels = {"gen_ai_agent_name": "weather", "gen_ai_tool_name": "lookup", "error_type": "LookupError"}
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", **labels) == 1
    assert fresh.value("agentgauge_events_recorded_total") == 2


def test_openllmetry_tells_what_its_decorated_functions_are_after_their_start(fresh: Isolation) -> None:
    kinds = (("workflow", "trip"), ("agent", "planner"), ("task", "step"), ("tool", "lookup"))
    with ExitStack() as stack:
        for kind, name in kinds:
            opened = stack.enter_context(span(f"{name}.{kind}", scope="opentelemetry.instrumentation.decorators"))
            opened.set_attributes({"traceloop.span.kind": kind, "traceloop.entity.name": name})
        stack.enter_context(span("openai.chat", {"llm.request.type": "chat", "gen_ai.request.model": "small"}))

    assert fresh.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="trip") == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="planner") == 1
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="planner", gen_ai_tool_name="lookup") == 1
    assert (
        fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="planner", agent_task="step", outcome="success") == 1
    )
    assert fresh.value("agent_run_steps_sum", gen_ai_agent_name="planner") == 1
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="planner") == 1


def test_openinference_agents_and_tools_count_and_its_chains_only_lead_on(fresh: Isolation) -> None:
    with (
        span("run", {"openinference.span.kind": "AGENT", "agent.name": "planner"}, "openinference.instrumentation.x"),
        span("RunnableSequence", {"openinference.span.kind": "CHAIN"}, "openinference.instrumentation.x"),
        span("lookup", {"openinference.span.kind": "TOOL", "tool.name": "lookup"}, "openinference.instrumentation.x"),
    ):
        pass

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="planner") == 1
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="planner", gen_ai_tool_name="lookup") == 1
    assert fresh.value("agentgauge_events_recorded_total") == 2


def test_tokens_on_spans_of_agents_and_workflows_are_sums_and_not_counted(fresh: Isolation) -> None:
    sums = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9, "gen_ai.aggregated_usage.input_tokens": 100}
    for name in ("invoke_agent", "invoke_workflow", "execute_tool", "create_agent", "plan"):
        with span(
            f"{name} x", {"gen_ai.operation.name": name, "gen_ai.agent.name": "x", "gen_ai.request.model": "small", **sums}
        ):
            pass

    assert tokens(fresh, "small", "input", "x") is None
    assert tokens(fresh, "small", "input") is None
    assert fresh.value("agentgauge_events_recorded_total") == 3


def test_spans_of_anything_else_are_no_calls_but_lead_on_to_the_agent_around(fresh: Isolation) -> None:
    with span("GET /", {"http.request.method": "GET"}, "http"), span("chat room", scope="app"):
        pass
    assert fresh.value("agentgauge_events_recorded_total") == 0

    with (
        span("invoke_agent x", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "x"}),
        span("running tools", scope="app"),
        span("POST", {"http.request.method": "POST"}, "http"),
        span("chat small", {**CHAT, "gen_ai.usage.input_tokens": 7}),
    ):
        pass
    assert tokens(fresh, "small", "input", "x") == 7


@pytest.mark.parametrize(
    ("attributes", "counted"),
    [
        pytest.param({"gen_ai.response.finish_reasons": 5}, 7, id="a number for reasons"),
        pytest.param({"gen_ai.response.finish_reasons": [1, 2]}, 7, id="numbers among reasons"),
        pytest.param({"llm.invocation_parameters": "[" * 100_000}, 7, id="nested past the recursion limit"),
        pytest.param({"llm.invocation_parameters": "[1]"}, 7, id="parameters that are a list"),
        pytest.param({"gen_ai.usage.input_tokens": True}, None, id="True"),
        pytest.param({"gen_ai.usage.input_tokens": -1}, None, id="below zero"),
        pytest.param({"gen_ai.usage.input_tokens": 2**53 + 1}, None, id="more than there can be"),
        pytest.param({"gen_ai.usage.input_tokens": float("inf")}, None, id="without end"),
        pytest.param({"gen_ai.usage.input_tokens": "7"}, None, id="text"),
        pytest.param({"gen_ai.usage.input_tokens": 7.0}, 7, id="a whole number as float"),
        pytest.param({"gen_ai.usage.cost": float("inf")}, 7, id="cost without end"),
        pytest.param({"gen_ai.usage.cost": float("nan")}, 7, id="cost that is no number"),
        pytest.param({"gen_ai.usage.cost": 10**400}, 7, id="cost past floats"),
        pytest.param({"gen_ai.response.time_to_first_chunk": float("inf")}, 7, id="first chunk never"),
        pytest.param({"gen_ai.response.time_to_first_chunk": True}, 7, id="first chunk True"),
    ],
)
def test_a_value_that_cannot_be_is_untold_and_the_call_is_counted(
    fresh: Isolation, attributes: dict[str, Any], counted: int | None
) -> None:
    with span("chat small", {**CHAT, "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2, **attributes}):
        pass

    assert fresh.value(COUNT, **OPENAI) == 1
    assert tokens(fresh, "small", "input") == counted
    assert tokens(fresh, "small", "output") == 2
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="small") is None
    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **OPENAI) is None
    fresh.recorder.drain()
    assert fresh.recorder.open_records() == []
