"""LangChain: prompts, answers and arguments of tools on spans, in the form of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk

from agentgauge.errors import contained_errors
from agentgauge.instrumentors import langchain as instrumentor
from agentgauge.instrumentors.content import Content
from tests.instrumentors.conventions import INPUT, OUTPUT, SYSTEM, read_back, text
from tests.instrumentors.langchain_programs import (
    HELLO,
    BrokenModel,
    StreamingModel,
    add,
    agent,
    answer,
    instrumented,
    lm_calls,
    model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

ON = Content(is_captured=True)


@pytest.fixture
def captured(fresh: Isolation) -> Iterator[Isolation]:
    with instrumented(fresh, ON):
        yield fresh


def asked_and_answered(spans: InMemorySpanExporter) -> tuple[Any, Any]:
    """Return what the one span says of what its model was asked and answered."""
    [span] = spans.get_finished_spans()
    return read_back(span, INPUT), read_back(span, OUTPUT)


def test_what_was_asked_and_answered_is_on_the_span_as_messages(captured: Isolation, spans: InMemorySpanExporter) -> None:
    model(answer("blue")).invoke("what colour?")
    assert asked_and_answered(spans) == ([text("user", "what colour?")], [text("assistant", "blue", "stop")])


def test_every_role_and_tool_call_of_a_conversation_is_a_message_of_its_own(
    captured: Isolation, spans: InMemorySpanExporter
) -> None:
    asking: Any = {"name": "add", "args": {"first": 1, "second": 2}, "id": "c1", "type": "tool_call"}
    wrong: Any = {"name": "add", "args": "{first: 1", "id": "c2", "error": "no JSON", "type": "invalid_tool_call"}
    conversation: list[BaseMessage] = [
        SystemMessage("be brief"),
        HumanMessage("1 + 2"),
        AIMessage("", tool_calls=[asking], invalid_tool_calls=[wrong]),
        ToolMessage("3", tool_call_id="c1"),
        ChatMessage("it is 3", role="assistant"),
    ]
    model(answer("", add={"first": 3, "second": 4})).invoke(conversation)
    asked, answered = asked_and_answered(spans)
    assert asked == [
        text("system", "be brief"),
        text("user", "1 + 2"),
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"first": 1, "second": 2}},
                {"type": "tool_call", "id": "c2", "name": "add", "arguments": "{first: 1"},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "3"}]},
        text("assistant", "it is 3"),
    ]
    call = {"type": "tool_call", "id": "call-add", "name": "add", "arguments": {"first": 3, "second": 4}}
    assert answered == [{"role": "assistant", "parts": [call], "finish_reason": "tool_calls"}]


def test_blocks_of_a_message_are_parts_and_calls_that_are_told_twice_are_shown_once(
    captured: Isolation, spans: InMemorySpanExporter
) -> None:
    picture: Any = [{"type": "text", "text": "what is it?"}, {"type": "image", "url": "https://example.invalid/cat.png"}]
    inline: Any = ["and this?", {"type": "image", "base64": "AAAAAAAA", "mime_type": "image/png"}]
    blocks: Any = [
        {"type": "thinking", "thinking": "a cat", "signature": "x"},
        {"type": "text", "text": "one moment"},
        {"type": "tool_use", "id": "call-add", "name": "add", "input": {"first": 1}},
    ]
    told = answer("", add={"first": 1})
    told.content = blocks
    model(told).invoke([HumanMessage(picture), HumanMessage(inline)])
    asked, answered = asked_and_answered(spans)
    cat = {"type": "uri", "modality": "image", "mime_type": None, "uri": "https://example.invalid/cat.png"}
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "<6 bytes>"}
    assert [message["parts"] for message in asked] == [
        [{"type": "text", "content": "what is it?"}, cat],
        [{"type": "text", "content": "and this?"}, blob],
    ]
    assert answered[0]["parts"] == [
        {"type": "reasoning", "content": "a cat"},
        {"type": "text", "content": "one moment"},
        {"type": "tool_call", "id": "call-add", "name": "add", "arguments": {"first": 1}},
    ]


async def test_of_a_stream_the_whole_answer_is_one_message(captured: Isolation, spans: InMemorySpanExporter) -> None:
    lm = StreamingModel(messages=iter([answer("one two three"), answer("four five")]), clock=captured.clock)
    assert len(list(lm.stream("first"))) > 3
    assert len([chunk async for chunk in lm.astream("second")]) > 2
    first, second = spans.get_finished_spans()
    assert (read_back(first, INPUT), read_back(first, OUTPUT)[0]["parts"]) == (
        [text("user", "first")],
        [{"type": "text", "content": "one two three"}],
    )
    assert (read_back(second, INPUT), read_back(second, OUTPUT)[0]["parts"]) == (
        [text("user", "second")],
        [{"type": "text", "content": "four five"}],
    )


class AskingModel(StreamingModel):
    """Streams a call of a tool in pieces."""

    def _stream(self, *_: Any, **__: Any) -> Any:
        for piece in ('{"first": 1', ', "second": 2}'):
            chunk: Any = {"name": "add", "args": piece, "id": "c1", "index": 0, "type": "tool_call_chunk"}
            chunk |= {} if piece.startswith("{") else {"name": None, "id": None}
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))


def test_a_tool_call_that_came_in_pieces_is_one_part(captured: Isolation, spans: InMemorySpanExporter) -> None:
    for _ in AskingModel(messages=iter([])).stream("1 + 2"):
        pass
    call = {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"first": 1, "second": 2}}
    assert asked_and_answered(spans)[1] == [{"role": "assistant", "parts": [call]}]


def test_of_a_stream_that_is_left_what_had_come_is_kept(captured: Isolation, spans: InMemorySpanExporter) -> None:
    stream: Any = StreamingModel(messages=iter([answer("one two three")]), clock=captured.clock).stream("hello")
    next(stream)
    stream.close()
    assert asked_and_answered(spans) == ([text("user", "hello")], [text("assistant", "one")])


def test_a_call_that_fails_bears_what_was_asked_alone(captured: Isolation, spans: InMemorySpanExporter) -> None:
    with pytest.raises(ConnectionError):
        BrokenModel(responses=[]).invoke("hello")
    assert asked_and_answered(spans) == ([text("user", "hello")], None)


async def test_the_prompts_of_a_text_completion_model_are_messages_too(captured: Isolation, spans: InMemorySpanExporter) -> None:
    await FakeListLLM(responses=["done", "again"]).abatch(["one", "two"], {"max_concurrency": 1})
    told = [(read_back(span, INPUT), read_back(span, OUTPUT)) for span in spans.get_finished_spans()]
    assert sorted(told, key=str) == [
        ([text("user", "one")], [text("assistant", "done")]),
        ([text("user", "two")], [text("assistant", "again")]),
    ]


async def test_an_agents_calls_show_its_prompt_the_call_of_the_tool_and_what_it_answered(
    captured: Isolation, spans: InMemorySpanExporter
) -> None:
    one, _ = agent(answer("", add={"first": 1, "second": 2}), answer("3"))
    await one.ainvoke(HELLO)
    first, second = (span for span in spans.get_finished_spans() if span.name.startswith("chat"))
    [tool] = (span for span in spans.get_finished_spans() if span.name == "execute_tool add")
    assert read_back(first, INPUT) == [text("user", "hello")]
    call = {"type": "tool_call", "id": "call-add", "name": "add", "arguments": {"first": 1, "second": 2}}
    assert read_back(second, INPUT) == [
        text("user", "hello"),
        {"role": "assistant", "parts": [call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-add", "response": "3"}]},
    ]
    assert read_back(second, OUTPUT) == [text("assistant", "3", "stop")]
    assert SYSTEM not in (first.attributes or {})  # a system message is one of the messages here
    assert json.loads(str((tool.attributes or {})["gen_ai.tool.call.arguments"])) == {"first": 1, "second": 2}
    assert (tool.attributes or {})["gen_ai.tool.call.result"] == "3"


# --- what may be kept -------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where content is made."""

    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(instrumentor, "input_messages", fail)
    monkeypatch.setattr(instrumentor, "output_messages", fail)
    monkeypatch.setattr(Content, "attribute", fail)


@pytest.mark.usefixtures("make_nothing")
def test_without_being_asked_for_nothing_is_made_and_nothing_kept(langchain: Isolation, spans: InMemorySpanExporter) -> None:
    model(answer("revealed")).invoke("secret")
    add.invoke({"first": 1, "second": 2})
    kept = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    assert len(kept) == 2
    assert not any({INPUT, OUTPUT, "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"} & each.keys() for each in kept)
    assert "secret" not in str(kept)
    assert "revealed" not in str(kept)


@pytest.mark.usefixtures("make_nothing")
def test_asked_for_without_anybody_who_takes_spans_nothing_is_made(captured: Isolation) -> None:
    model().invoke("hello")
    add.invoke({"first": 1, "second": 2})


def attributes_of(content: Content, fresh: Isolation, spans: InMemorySpanExporter) -> dict[str, Any]:
    with instrumented(fresh, content):
        model(answer("my key is sk-1")).invoke("your key is sk-2")
    [span] = spans.get_finished_spans()
    return dict(span.attributes or {})


def test_the_redactor_sees_each_attribute_and_the_limit_cuts_it(fresh: Isolation, spans: InMemorySpanExporter) -> None:
    seen: list[str] = []

    def redact(told: str, name: str) -> str | None:
        seen.append(name)
        return None if name == OUTPUT else told.replace("sk-2", "***")

    kept = attributes_of(Content(is_captured=True, limit_bytes=80, redact=redact), fresh, spans)
    assert seen == [INPUT, OUTPUT]
    assert OUTPUT not in kept
    assert kept[INPUT] == '[{"role": "user", "parts": [{"type": "text", "content": "your key is ***"}]}]'
    spans.clear()
    kept = attributes_of(Content(is_captured=True, limit_bytes=40), fresh, spans)
    assert kept[INPUT] == '[{"role": "user", "parts": [{"type": …'
    assert len(kept[OUTPUT].encode()) == 40


class LeaveError(BaseException):
    """What a redactor stops the program with."""


@pytest.mark.parametrize("where", [INPUT, OUTPUT])
def test_what_stops_the_program_in_a_redactor_passes_and_leaves_nothing_open(
    fresh: Isolation, spans: InMemorySpanExporter, where: str
) -> None:
    def redact(told: str, name: str) -> str:
        if name == where:
            raise LeaveError
        return told

    with instrumented(fresh, Content(is_captured=True, redact=redact)), pytest.raises(LeaveError):  # it sees that none is open
        model().invoke("hello")
    assert len(spans.get_finished_spans()) == 1


def test_a_block_of_no_known_kind_is_named_and_not_shown(captured: Isolation, spans: InMemorySpanExporter) -> None:
    blocks: Any = [{"type": "hologram", "beam": "secret"}, {"type": "text", "text": "see?"}]
    model().invoke([HumanMessage(blocks)])
    [span] = spans.get_finished_spans()
    parts = [{"type": "hologram"}, {"type": "text", "content": "see?"}]
    assert json.loads(str((span.attributes or {})[INPUT])) == [{"role": "user", "parts": parts}]


def test_content_that_cannot_be_read_is_contained_and_the_call_is_counted(
    captured: Isolation, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise LookupError

    monkeypatch.setattr(instrumentor, "input_messages", fail)
    assert model().invoke("hello").content == "done"
    assert contained_errors.count_by_hook == {"content": 1}
    contained_errors.forget()
    assert asked_and_answered(spans) == (None, [text("assistant", "done", "stop")])
    assert lm_calls(captured) == 1
