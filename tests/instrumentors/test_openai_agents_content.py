"""The OpenAI Agents SDK: instructions, prompts, answers and arguments of tools on spans, in the form of the GenAI conventions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import agents
import pytest
from agents import Agent, RunConfig, Runner
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel

from agentgauge.instrumentors import openai_agents_models
from agentgauge.instrumentors.content import Content
from tests.instrumentors.conventions import INPUT, OUTPUT, SYSTEM, read_back, text
from tests.instrumentors.openai_agents_programs import (
    CHAT_COMPLETION,
    RESPONSE,
    UNTRACED,
    adder,
    agent,
    ask,
    client_that_answers,
    instrumented,
    run_to_end,
    say,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

pytestmark = pytest.mark.usefixtures("offline")

ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"


@pytest.fixture
def captured(fresh: Isolation, offline: object) -> Iterator[Isolation]:
    with instrumented(fresh, Content(is_captured=True)):
        yield fresh


def chats(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    """Return the spans of LM calls, in the order in which they ended."""
    return [span for span in spans.get_finished_spans() if span.name.startswith("chat")]


def one_named(spans: InMemorySpanExporter, name: str) -> dict[str, Any]:
    """Return the attributes of the one span of that name."""
    [span] = (span for span in spans.get_finished_spans() if span.name == name)
    return dict(span.attributes or {})


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("config", [RunConfig(), UNTRACED])
async def test_instructions_prompts_calls_of_tools_and_answers_are_messages(
    captured: Isolation, spans: InMemorySpanExporter, is_streamed: bool, config: RunConfig
) -> None:
    one, _ = adder(instructions="be brief")
    assert await run_to_end(one, is_streamed, run_config=config) == "3"
    first, second = chats(spans)
    assert read_back(first, SYSTEM) == read_back(second, SYSTEM) == [{"type": "text", "content": "be brief"}]
    assert read_back(first, INPUT) == [text("user", "hello")]
    [asked] = read_back(first, OUTPUT)
    [call] = asked["parts"]
    assert asked == {"role": "assistant", "parts": [call], "finish_reason": "tool_call"}
    assert call == {"type": "tool_call", "id": call["id"], "name": "add", "arguments": {"first": 1, "second": 2}}
    assert read_back(second, INPUT) == [
        text("user", "hello"),
        {"role": "assistant", "parts": [call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": call["id"], "response": "3"}]},
    ]
    assert read_back(second, OUTPUT) == [text("assistant", "3", "stop" if is_streamed else None)]  # only a response says why
    tool = one_named(spans, "execute_tool add")
    assert json.loads(tool[ARGUMENTS]) == {"first": 1, "second": 2}
    assert tool[RESULT] == "3"


async def test_a_handoff_is_the_call_of_a_tool_and_its_answer(captured: Isolation, spans: InMemorySpanExporter) -> None:
    writer, _ = agent(say("text"), name="writer", tools=[], instructions="write")
    planner, _ = agent([*say("over to you"), *ask("transfer_to_writer")], name="planner", tools=[], handoffs=[writer])
    await Runner.run(planner, "hello")
    first, second = chats(spans)
    assert read_back(first, SYSTEM) is None
    [asked] = read_back(first, OUTPUT)
    said, call = asked["parts"]
    assert said == {"type": "text", "content": "over to you"}
    assert (call["type"], call["name"], call["arguments"]) == ("tool_call", "transfer_to_writer", {})
    assert read_back(second, SYSTEM) == [{"type": "text", "content": "write"}]
    assert read_back(second, INPUT) == [
        text("user", "hello"),
        {"role": "assistant", "parts": [said, call]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": call["id"], "response": '{"assistant": "writer"}'}],
        },
    ]


THOUGHT: Any = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "easy"}]}
COMPUTING: Any = {"type": "code_interpreter_call", "id": "ci", "status": "completed", "code": "1 + 2", "container_id": "x"}
RICH = {**RESPONSE, "output": [THOUGHT, COMPUTING, *RESPONSE["output"]]}
RICH_PARTS = [
    {"type": "reasoning", "content": "easy"},
    {
        "type": "server_tool_call",
        "id": "ci",
        "name": "code_interpreter",
        "server_tool_call": {"type": "code_interpreter", "code": "1 + 2"},
    },
    {"type": "text", "content": "done"},
]
COMPLETION_THAT_ASKS = {
    **CHAT_COMPLETION,
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"first": 1}'}}],
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("kind", "answer", "answered"),
    [
        (OpenAIResponsesModel, RESPONSE, [text("assistant", "done", "stop")]),
        (OpenAIResponsesModel, RICH, [{"role": "assistant", "parts": RICH_PARTS, "finish_reason": "stop"}]),
        (OpenAIChatCompletionsModel, CHAT_COMPLETION, [text("assistant", "done")]),
    ],
)
async def test_the_sdks_own_models_bear_what_was_sent_and_what_came_back(
    captured: Isolation, spans: InMemorySpanExporter, kind: Any, answer: Any, answered: Any
) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAAAAAA", "detail": "auto"}
    question: Any = [{"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, image]}]
    async with client_that_answers(answer) as client:
        await Runner.run(Agent(name="one", instructions="look", model=kind(model="gpt", openai_client=client)), question)
    [span] = chats(spans)
    assert read_back(span, SYSTEM) == [{"type": "text", "content": "look"}]
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "<6 bytes>"}
    assert read_back(span, INPUT) == [{"role": "user", "parts": [{"type": "text", "content": "what is it?"}, blob]}]
    assert read_back(span, OUTPUT) == answered


async def test_a_completion_that_asks_for_a_tool_is_no_null(captured: Isolation, spans: InMemorySpanExporter) -> None:
    async with client_that_answers(COMPLETION_THAT_ASKS) as client:
        model = OpenAIChatCompletionsModel(model="gpt", openai_client=client)
        with pytest.raises(agents.ModelBehaviorError, match="add"):  # the agent has no such tool
            await Runner.run(Agent(name="one", model=model), "hello")
    [span] = chats(spans)
    call = {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"first": 1}}
    assert read_back(span, OUTPUT) == [{"role": "assistant", "parts": [call], "finish_reason": "tool_call"}]


async def test_spans_that_the_program_opens_itself_bear_what_it_put_there(
    captured: Isolation, spans: InMemorySpanExporter
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"first": 1}'}}
    asked: Any = [
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    with agents.trace("by hand"), agents.generation_span(asked, [{"role": "assistant", "content": "3"}], model="m"):
        pass
    with agents.trace("by hand"), agents.response_span() as span:
        span.span_data.input = "hello"
    first, second = chats(spans)
    assert read_back(first, INPUT) == [
        text("system", "be brief"),
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "add", "arguments": {"first": 1}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "3"}]},
    ]
    assert read_back(first, OUTPUT) == [text("assistant", "3")]
    assert (read_back(second, INPUT), read_back(second, OUTPUT)) == ([text("user", "hello")], None)


# --- what may be kept -------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where content is made."""

    def fail(*_: Any) -> None:
        raise AssertionError

    for name in ("system_instructions", "input_messages", "output_messages"):
        monkeypatch.setattr(openai_agents_models, name, fail)
    monkeypatch.setattr(Content, "attribute", fail)


@pytest.mark.usefixtures("make_nothing")
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_without_being_asked_for_nothing_is_made_and_nothing_kept(
    sdk: Isolation, spans: InMemorySpanExporter, is_streamed: bool
) -> None:
    await run_to_end(adder(instructions="be brief")[0], is_streamed)
    kept = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    assert len(kept) == 7
    assert not any({INPUT, OUTPUT, SYSTEM, ARGUMENTS, RESULT} & each.keys() for each in kept)
    assert "be brief" not in str(kept)


@pytest.mark.usefixtures("make_nothing")
async def test_asked_for_without_anybody_who_takes_spans_nothing_is_made(captured: Isolation) -> None:
    await Runner.run(adder()[0], "hello")


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_run_that_keeps_sensitive_data_out_of_traces_keeps_it_off_these_spans(
    captured: Isolation, spans: InMemorySpanExporter, is_streamed: bool
) -> None:
    one, _ = adder(instructions="be brief")
    await run_to_end(one, is_streamed, run_config=RunConfig(trace_include_sensitive_data=False))
    kept = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    assert len(kept) == 7
    assert not any({INPUT, OUTPUT, SYSTEM, ARGUMENTS, RESULT} & each.keys() for each in kept)


async def test_the_redactor_sees_each_attribute_and_the_limit_cuts_it(fresh: Isolation, spans: InMemorySpanExporter) -> None:
    seen: list[str] = []

    def redact(told: str, name: str) -> str | None:
        seen.append(name)
        return None if name == OUTPUT else told.replace("sk-2", "***")

    content = Content(is_captured=True, limit_bytes=80, redact=redact)
    with instrumented(fresh, content):
        await Runner.run(agent(say("sk-1"), instructions="the key is sk-2")[0], "your key is sk-2")
    assert seen == [SYSTEM, INPUT, OUTPUT]
    kept = one_named(spans, "chat fake/one")
    assert OUTPUT not in kept
    assert kept[SYSTEM] == '[{"type": "text", "content": "the key is ***"}]'
    assert kept[INPUT] == '[{"role": "user", "parts": [{"type": "text", "content": "your key is ***"}]}]'
    spans.clear()
    with instrumented(fresh, Content(is_captured=True, limit_bytes=40)):
        await Runner.run(agent()[0], "hello")
    kept = one_named(spans, "chat fake/one")
    assert kept[INPUT] == '[{"role": "user", "parts": [{"type": …'
    assert len(kept[OUTPUT].encode()) == 40


async def read_to_end(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


class LeaveError(BaseException):
    """What a redactor stops the program with."""


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("where", [SYSTEM, INPUT, OUTPUT])
async def test_what_stops_the_program_in_a_redactor_passes_and_leaves_nothing_open(
    fresh: Isolation, spans: InMemorySpanExporter, where: str, is_streamed: bool
) -> None:
    def redact(told: str, name: str) -> str:
        if name == where:
            raise LeaveError
        return told

    one, model = agent(instructions="be brief")
    asking: Any = ("be brief", "hello", None, [], None, [], agents.ModelTracing.ENABLED)
    with instrumented(fresh, Content(is_captured=True, redact=redact)):  # it sees that none is open
        await Runner.run(one, "hello", run_config=RunConfig(trace_include_sensitive_data=False))  # which wraps the model
        spans.clear()
        model.answers.append(say())
        with pytest.raises(LeaveError):
            await (read_to_end(model.stream_response(*asking)) if is_streamed else model.get_response(*asking))
    assert len(chats(spans)) == 1
