"""Prompts that programs of each framework send twice: what tells one from another, and what shows too little to tell."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from agents import ModelBehaviorError, ModelSettings, Runner
from dspy import lm15
from dspy_programs import Engine, lm_of
from dspy_programs import instrumented as dspy_instrumented
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from openai.types.shared import Reasoning
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.instrumentors.span_shapes import prompt_of
from agentgauge.testing import reraise_internal_errors
from tests.instrumentors.langchain_programs import model
from tests.instrumentors.openai_agents_programs import agent, ask, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.testing import Isolation

SHOWN = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "small",
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]',
}
ROUTED = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "house",
    "gen_ai_request_model": "router",
    "gen_ai_response_model": "offline-2026",
}


def repeated(fresh: Isolation, **labels: str) -> float:
    return sum(
        sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == "agent_lm_repeated_prompts_total" and labels.items() <= sample.labels.items()
    )


# --- DSPy -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["metrics", "spans"])
def measured(fresh: Isolation, request: pytest.FixtureRequest) -> Iterator[Isolation]:
    """Instrument DSPy, with and without spans: each has a call of its own kind."""
    if request.param == "spans":
        request.getfixturevalue("spans")
    with dspy_instrumented():
        yield fresh


def test_dspy_repeats_a_prompt_by_its_messages_and_parameters(measured: Isolation) -> None:
    lm = lm_of(Engine())
    for _ in range(3):
        lm("hello")
    assert repeated(measured, gen_ai_request_model="offline") == 2
    lm("hello", temperature=0.7)
    lm("hello", rollout_id=1, temperature=0.7)  # which asks for another answer
    lm.copy(max_tokens=9)("hello")
    lm("good-bye")
    assert repeated(measured) == 2
    lm("hello")
    assert repeated(measured) == 3


def test_typed_requests_of_dspy_are_told_apart_too(measured: Isolation) -> None:
    lm = lm_of(Engine())

    def request(text: str, **config: Any) -> lm15.Request:
        return lm15.Request(model=lm.model, messages=(lm15.Message.user(text),), config=lm15.Config(**config))

    for asked in (request("hello"), request("hello"), request("good-bye"), request("hello", temperature=0.5)):
        lm(asked)
    assert repeated(measured) == 1
    lm(request("hello"), rollout_id=1)
    assert repeated(measured) == 1


async def test_a_predictor_of_dspy_repeats_its_prompts_asynchronously_too(measured: Isolation) -> None:
    predictor = dspy.Predict("question -> answer")
    with dspy.context(lm=lm_of(Engine()), adapter=dspy.ChatAdapter()):
        for question in ("why?", "why?", "how?"):
            await predictor.acall(question=question)
    assert repeated(measured) == 1


def test_a_form_that_an_adapter_makes_anew_for_each_call_is_the_same_prompt(measured: Isolation) -> None:
    def form() -> type:
        from pydantic import create_model

        return create_model("Form", answer=(str, ...))

    lm = lm_of(Engine(), response_format=form())
    lm("hello")
    lm("hello", response_format=form())
    assert repeated(measured) == 1


def test_of_answers_of_a_cache_and_failures_of_dspy_none_repeats_a_prompt(
    measured: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspy.clients.cache import Cache

    monkeypatch.setattr(dspy, "cache", Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None))
    cached = lm_of(Engine(), cache=True)
    for _ in range(3):
        cached("hello")
    assert measured.value("agent_lm_cache_hits_total", gen_ai_request_model="offline") == 2
    failing = lm_of(Engine([ConnectionError(), ConnectionError()]))
    for _ in range(2):
        with pytest.raises(dspy.LMError):
            failing("good-bye")
    failing("good-bye")
    assert repeated(measured) == 0


def test_a_call_that_fails_after_its_answer_repeats_nothing(measured: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_entry: object) -> None:
        raise OSError

    lm = lm_of(Engine())
    with monkeypatch.context() as patch:
        patch.setattr(lm, "update_history", refuse, raising=False)
        for _ in range(2):
            with contextlib.suppress(OSError):
                lm("hello")
    lm("hello")
    assert repeated(measured) == 0
    lm("hello")
    assert repeated(measured) == 1


def test_what_a_model_asks_another_is_not_what_it_was_asked(measured: Isolation) -> None:
    inner = lm_of(Engine(), model="house/inner")

    class Router(dspy.BaseLM):  # type: ignore[misc]  # mypy does not look into DSPy
        def __call__(self, prompt: Any = None, messages: Any = None, **options: Any) -> Any:
            inner("always the same")
            return ["[[ ## answer ## ]]\nyes"]

    with dspy.context(lm=Router("house/router"), adapter=dspy.ChatAdapter()):
        for question in ("why?", "how?"):
            dspy.Predict("question -> answer")(question=question)
    assert measured.value("gen_ai_client_operation_duration_seconds_count", **ROUTED) == 2
    assert repeated(measured) == 0


# --- LangChain ------------------------------------------------------------------------------------------------------------


def test_langchain_repeats_a_prompt_by_its_messages_whatever_their_ids(langchain: Isolation) -> None:
    lm = model()

    def messages(**call: Any) -> list[Any]:
        asked = {"name": "add", "args": {"first": 1}, "id": "call-1", **call}
        return [
            SystemMessage("be brief"),
            HumanMessage("hello"),
            AIMessage("", tool_calls=[asked]),
            ToolMessage("2", tool_call_id="call-1"),
        ]

    for identity in ("one", "two"):
        asked = messages()
        asked[1].id = identity
        lm.invoke(asked)
    assert repeated(langchain, gen_ai_request_model="fake-1") == 1
    lm.invoke(messages(args={"first": 2}))
    lm.invoke(messages()[:2])
    lm.invoke([HumanMessage("be brief"), HumanMessage("hello")])
    lm.invoke(messages(), stop=["."])
    assert repeated(langchain) == 1
    lm.invoke(messages())
    assert repeated(langchain) == 2


# --- the OpenAI Agents SDK ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
async def test_the_agents_sdk_repeats_a_prompt_by_input_instructions_settings_and_tools(sdk: Isolation) -> None:
    def made(**options: Any) -> Any:
        settings = options.pop("settings", {"temperature": 0.5, "reasoning": Reasoning(effort="low")})
        return agent(say(), model_settings=ModelSettings(**settings), instructions="be brief", **options)[0]

    for one in (made(), made(), made(tools=[]), made(settings={"temperature": 0.5, "reasoning": Reasoning(effort="high")})):
        await Runner.run(one, "hello")
    assert repeated(sdk, gen_ai_agent_name="adder") == 1
    await Runner.run(made(handoffs=[made(name="writer")]), "hello")
    await Runner.run(made(), "good-bye")
    with contextlib.suppress(ModelBehaviorError):  # which is no answer of that form
        await Runner.run(made(output_type=list[int]), "hello")
    assert repeated(sdk) == 1
    result = Runner.run_streamed(made(), "hello")
    assert [event async for event in result.stream_events()]
    assert repeated(sdk) == 2


@pytest.mark.usefixtures("offline")
async def test_of_a_conversation_that_the_provider_keeps_nobody_can_tell_what_is_repeated(sdk: Isolation) -> None:
    for _ in range(2):
        await Runner.run(agent(say())[0], "hello", conversation_id="c")
    for before in ("a", "b"):
        await Runner.run(agent(say())[0], "hello", previous_response_id=before)
    assert repeated(sdk) == 0
    for _ in range(2):
        await Runner.run(agent(ask("add", first=1, second=2), say())[0], "hello")
    assert repeated(sdk) == 1  # the first turn: the second bears the id of a call


# --- spans of others ------------------------------------------------------------------------------------------------------


@pytest.fixture
def listening(fresh: Isolation, spans: object) -> Iterator[Isolation]:
    """Listen to the spans of others."""
    with reraise_internal_errors(), ExitStack() as undo:
        instrument(Kit("genai-spans", fresh.recorder, Content(), undo))
        yield fresh


OPENLLMETRY = {"llm.request.type": "chat", "gen_ai.request.model": "small", "gen_ai.prompt.0.content": "hello"}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "small",
    "llm.invocation_parameters": '{"temperature": 0}',
    "llm.input_messages.0.message.content": "hello",
}


@pytest.mark.parametrize(
    ("attributes", "other"),
    [
        (SHOWN, {"gen_ai.request.temperature": 0.5}),
        (SHOWN, {"gen_ai.system_instructions": '[{"type":"text","content":"be brief"}]'}),
        (OPENLLMETRY, {"gen_ai.prompt.0.content": "good-bye"}),
        (OPENINFERENCE, {"llm.invocation_parameters": '{"temperature": 1}'}),
    ],
)
def test_a_span_that_shows_its_messages_repeats_a_prompt(
    listening: Isolation, attributes: dict[str, Any], other: dict[str, Any]
) -> None:
    tracer = trace.get_tracer("somebody")
    for more in ({}, other, {"gen_ai.response.id": "2", "gen_ai.usage.input_tokens": 3}):
        with tracer.start_as_current_span("chat small", attributes={**attributes, **more}):
            pass
    assert repeated(listening, gen_ai_request_model="small") == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {name: value for name, value in SHOWN.items() if "messages" not in name},
        {**SHOWN, "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text"}]}]'},  # Pydantic AI without content
        {**OPENINFERENCE, "llm.input_messages.0.message.content": "__REDACTED__"},
        {**SHOWN, "gen_ai.prompt.0.role": "user", "gen_ai.input.messages": ""},
    ],
)
def test_a_span_that_hides_its_messages_does_not(listening: Isolation, attributes: dict[str, Any]) -> None:
    for _ in range(2):
        with trace.get_tracer("somebody").start_as_current_span("chat small", attributes=attributes):
            pass
    assert listening.value("agentgauge_instrumentor_calls_total", instrumentor="genai-spans") == 2
    assert repeated(listening) == 0


def test_of_messages_that_the_sdk_cut_short_or_dropped_nobody_can_tell() -> None:
    for limits, is_whole in (
        (SpanLimits(), True),
        (SpanLimits(max_span_attribute_length=50), False),
        (SpanLimits(max_span_attributes=3), False),
    ):
        span: Any = (
            TracerProvider(span_limits=limits, shutdown_on_exit=False).get_tracer("t").start_span("chat", attributes=SHOWN)
        )
        assert (prompt_of(span) is not None) is is_whole
        span.end()
