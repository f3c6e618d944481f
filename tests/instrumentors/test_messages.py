"""Messages in the form of OpenTelemetry's GenAI conventions: what becomes of the blocks and items that providers write."""

from __future__ import annotations

import base64
import time
from types import SimpleNamespace
from typing import Any

import pytest

from agentgauge.instrumentors.messages import parts_of, tool_call, tool_call_response
from agentgauge.instrumentors.openai_agents_messages import input_messages, output_messages
from tests.instrumentors.conventions import check_parts, text

DATA = "A" * 40
PNG = {"mime_type": "image/png", "modality": "image"}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, []),
        ("", []),
        (["", None, "a"], [{"type": "text", "content": "a"}]),
        ({"type": "input_text", "text": "a"}, [{"type": "text", "content": "a"}]),
        (SimpleNamespace(type="output_text", text="a"), [{"type": "text", "content": "a"}]),
        ({"type": "text-plain", "text": "a"}, [{"type": "text", "content": "a"}]),
        ({"type": "reasoning", "reasoning": "a"}, [{"type": "reasoning", "content": "a"}]),
        ({"type": "reasoning", "summary": [{"text": "a"}, {"text": "b"}]}, [{"type": "reasoning", "content": "a\nb"}]),
        ({"type": "reasoning", "encrypted_content": DATA}, [{"type": "reasoning", "content": ""}]),
        ({"type": "thinking", "thinking": "a"}, [{"type": "reasoning", "content": "a"}]),
        (
            {"type": "tool_use", "id": "c", "name": "add", "input": {"first": 1}},
            [{"type": "tool_call", "id": "c", "name": "add", "arguments": {"first": 1}}],
        ),
        (
            {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "3"}]},
            [{"type": "tool_call_response", "id": "c", "response": [{"type": "text", "content": "3"}]}],
        ),
        (
            {"type": "server_tool_use", "id": "c", "name": "web_search", "input": {"query": "a"}},
            [
                {
                    "type": "server_tool_call",
                    "id": "c",
                    "name": "web_search",
                    "server_tool_call": {"type": "web_search", "arguments": {"query": "a"}},
                }
            ],
        ),
        # media: OpenAI's chat, OpenAI's Responses, Anthropic, LangChain before and after its version 1
        (
            {"type": "image_url", "image_url": {"url": "https://x/a"}},
            [{"type": "uri", **PNG, "mime_type": None, "uri": "https://x/a"}],
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"},
            [{"type": "blob", **PNG, "content": "<30 bytes>"}],
        ),
        (
            {"type": "input_file", "file_id": "f"},
            [{"type": "file", "mime_type": None, "modality": "document", "file_id": "f"}],
        ),
        (
            {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
            [{"type": "blob", "mime_type": None, "modality": "audio", "content": "<30 bytes>"}],
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
            [{"type": "blob", **PNG, "content": "<30 bytes>"}],
        ),
        (
            {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
            [{"type": "blob", **PNG, "content": "<30 bytes>"}],
        ),
        ({"type": "image", "source_type": "id", "id": "f"}, [{"type": "file", **PNG, "mime_type": None, "file_id": "f"}]),
        ({"type": "image", "base64": b"1234", "mime_type": "image/png"}, [{"type": "blob", **PNG, "content": "<4 bytes>"}]),
    ],
)
def test_blocks_of_every_provider_become_parts(content: Any, parts: list[dict[str, Any]]) -> None:
    made = parts_of(content)
    check_parts(made)
    assert made == parts


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "refusal", "refusal": "no"}, {"type": "refusal", "content": "no"}),
        ({"type": "hologram", "beam": "x"}, {"type": "hologram"}),
        ({"beam": "x"}, {"type": "other"}),
        (5, {"type": "other"}),
    ],
)
def test_what_the_conventions_have_no_part_for_is_named(block: Any, part: dict[str, Any]) -> None:
    assert parts_of([block]) == [part]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"first": 1}', {"first": 1}),
        ("{first: 1", "{first: 1"),
        ("[" * 60_000, "[" * 60_000),
        (None, None),
        ({"first": 1}, {"first": 1}),
    ],
)
def test_arguments_that_are_json_are_shown_as_what_they_say(arguments: Any, shown: Any) -> None:
    assert tool_call("c", "add", arguments)["arguments"] == shown


def test_huge_arguments_and_pictures_cost_less_than_to_read_them() -> None:
    arguments, data = f"[{'1, ' * 4_000_000}1]", "A" * 20_000_000
    picture = f"data:image/png;base64,{data}"
    spent, read = [], []
    for _ in range(3):  # what else the machine does only adds
        began = time.thread_time()
        call = tool_call("c", "add", arguments)
        [seen] = parts_of({"type": "image_url", "image_url": {"url": picture}})
        ended = time.thread_time()
        base64.b64decode(data)
        spent.append(ended - began)
        read.append(time.thread_time() - ended)
    assert call["arguments"] is arguments
    assert seen["content"] == "<15000000 bytes>"
    assert min(spent) < min(read)  # and JSON takes twice as long


def test_what_a_computer_answers_is_a_picture_and_no_megabytes_of_it() -> None:
    screenshot = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{DATA}"}
    assert tool_call_response("c", screenshot)["response"] == {"type": "blob", **PNG, "content": "<30 bytes>"}
    assert tool_call_response("c", {"total": 3})["response"] == {"total": 3}


def test_items_of_one_turn_are_one_message_and_two_messages_stay_two() -> None:
    items = [
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"type": "reasoning", "summary": [{"text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "local_shell_call", "call_id": "s", "action": {"command": ["ls"]}},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "3"}]},
        {"type": "local_shell_call_output", "id": "s", "output": "a.txt"},
        {"type": "mcp_call", "id": "m", "name": "read", "arguments": "{}", "output": "text"},
    ]
    made = input_messages(items)
    for message in made:
        check_parts(message["parts"])
    assert made == [
        text("assistant", "one"),
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "two"},
                {"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "id": "c", "name": "add", "arguments": {}},
                {"type": "tool_call", "id": "s", "name": "local_shell", "arguments": {"command": ["ls"]}},
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c", "response": [{"type": "text", "content": "3"}]}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "s", "response": "a.txt"}]},
        {
            "role": "assistant",
            "parts": [
                {
                    "type": "server_tool_call",
                    "id": "m",
                    "name": "read",
                    "server_tool_call": {"type": "read", "arguments": "{}", "output": "text"},
                }
            ],
        },
    ]


SAID: Any = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "3"}]}]
ASKED: Any = [{"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"}]


@pytest.mark.parametrize(
    ("output", "status", "because", "reason"),
    [
        (SAID, "completed", None, "stop"),
        (SAID, "incomplete", "max_output_tokens", "length"),
        (SAID, "incomplete", "content_filter", "content_filter"),
        (SAID, "failed", None, "error"),
        (SAID, None, None, None),
        (ASKED, None, None, "tool_call"),
        (ASKED, "completed", None, "tool_call"),
        (ASKED, "incomplete", "max_output_tokens", "length"),
        ([{"object": "response", "output": SAID}], "completed", None, "stop"),
    ],
)
def test_why_an_answer_ended_is_said_in_the_conventions_words(output: Any, status: Any, because: Any, reason: Any) -> None:
    [message] = output_messages(output, status, because)
    assert message.get("finish_reason") == reason
    assert message["parts"][0]["type"] == ("tool_call" if output is ASKED else "text")


def test_no_answer_is_no_message() -> None:
    assert output_messages([]) == []
