"""What LangChain's models are asked and answer, as messages of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

from typing import Any

from agentgauge.instrumentors.langchain_facts import finish_reason_of
from agentgauge.instrumentors.messages import message, parts_of, read, tool_call, tool_call_response

__all__ = ["asked", "input_messages", "output_messages"]

_ROLES = {"human": "user", "ai": "assistant", "function": "tool"}
_CALLS_IN_CONTENT = frozenset(
    ("tool_call", "tool_use", "function_call", "invalid_tool_call", "tool_call_chunk", "input_json_delta", "custom_tool_call")
)
"""Blocks by which providers tell of tool calls that LangChain keeps beside the content too; of a stream they are pieces."""


_SENT = ("type", "content", "name", "role", "tool_calls", "tool_call_id", "status", "additional_kwargs")
"""What a provider is sent of a message; its ``id`` differs each time, and what is told of a model's answer is not sent."""


def asked(prompts: Any, parameters: Any) -> Any:
    """Return what a model is asked, and with which parameters, as plain data as far as it is."""
    texts = [each if isinstance(each, str) else [_sent(one) for one in each] for each in prompts]
    return texts, parameters


def _sent(told: Any) -> list[Any]:
    fields = getattr(told, "__dict__", told)  # Pydantic takes a microsecond for each that is not there
    return [fields.get(name) for name in _SENT]


def input_messages(prompts: Any) -> list[dict[str, Any]]:
    """Return what a model is asked: lists of messages of a chat model, or texts of a text-completion model."""
    found = []
    for prompt in prompts:
        if isinstance(prompt, str):
            found.append(message("user", parts_of(prompt)))
        else:
            found += [message(_role_of(each), _parts_of(each)) for each in prompt]
    return found


def output_messages(result: Any) -> list[dict[str, Any]]:
    """Return the choices of an ``LLMResult``, each as one message; what is left of a stream that broke off is one too."""
    choices = [choice for choices in result.generations for choice in choices]
    found = []
    for choice in choices:
        told = getattr(choice, "message", None)
        parts = parts_of(choice.text) if told is None else _parts_of(told)
        reason = finish_reason_of(choice)
        if parts or reason:
            found.append(message("assistant", parts, reason))
    return found


def _role_of(told: Any) -> str:
    kind = str(read(told, "type")).removesuffix("MessageChunk").lower()  # of AIMessageChunk and its like
    return str(read(told, "role") or kind) if kind == "chat" else _ROLES.get(kind, kind)


def _parts_of(told: Any) -> list[dict[str, Any]]:
    content = read(told, "content")
    if read(told, "type") == "tool":
        return [tool_call_response(read(told, "tool_call_id"), content)]
    calls = [*(read(told, "tool_calls") or ()), *(read(told, "invalid_tool_calls") or ())]
    if calls and isinstance(content, list):
        content = [block for block in content if isinstance(block, str) or read(block, "type") not in _CALLS_IN_CONTENT]
    reasoning = (read(told, "additional_kwargs") or {}).get("reasoning_content")
    thoughts = [{"type": "reasoning", "content": reasoning}] if isinstance(reasoning, str) and reasoning else []
    asked = [tool_call(read(call, "id"), read(call, "name"), read(call, "args")) for call in calls]
    return [*thoughts, *parts_of(content), *asked]
