"""What models of the OpenAI Agents SDK are asked and answer, as messages of OpenTelemetry's GenAI conventions.

The SDK speaks the items of OpenAI's Responses to every model, whatever its provider; spans of chat completions bear messages.
"""

from __future__ import annotations

from typing import Any

from agentgauge.instrumentors.messages import message, parts_of, read, server_tool_call, tool_call, tool_call_response

__all__ = ["input_messages", "output_messages", "system_instructions"]

_ASSISTANT = "assistant"
_SERVER_CALLS = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call", "tool_search_call")
)
_SERVER_DETAILS = ("action", "queries", "code", "arguments", "server_label", "output", "results", "error")
_ARGUMENTS = ("arguments", "input", "action", "operation")
_REASONS = {"completed": "stop", "failed": "error", "cancelled": "error", "max_output_tokens": "length"}


def system_instructions(told: Any) -> list[dict[str, Any]] | None:
    """Return an agent's instructions as parts; None where it has none."""
    return parts_of(told) or None


def input_messages(told: Any) -> list[dict[str, Any]]:
    """Return what a model is asked: a text, or items of which calls and thoughts belong to the assistant's message before."""
    if isinstance(told, str):
        return [message("user", parts_of(told))]
    found: list[dict[str, Any]] = []
    for item in told or ():
        role, parts, is_whole = _read_item(item)
        if not is_whole and found and found[-1]["role"] == role == _ASSISTANT:
            found[-1]["parts"] += parts
        else:
            found.append(message(role, parts))
    return found


def output_messages(output: Any, status: str | None = None, incomplete_because: str | None = None) -> list[dict[str, Any]]:
    """Return an answer's items as the one message that they are.

    Args:
        output: The items, or what a span of chat completions bears of them.
        status: That of the response, where it is told.
        incomplete_because: Why the response is incomplete, where it says so.
    """
    parts: list[dict[str, Any]] = []
    for item in output or ():
        inner = read(item, "output") if read(item, "object") == "response" else None
        parts += [part for each in (inner or (item,)) for part in _read_item(each)[1]]
    reason = incomplete_because or status
    is_asking = any(part["type"] == "tool_call" for part in parts)
    if is_asking and reason in (None, "completed"):
        reason = "tool_call"
    return [message(_ASSISTANT, parts, None if reason is None else _REASONS.get(reason, reason))] if parts or reason else []


def _read_item(item: Any) -> tuple[str, list[dict[str, Any]], bool]:
    """Return whose it is, what it says, and whether it is a message of its own."""
    kind = str(read(item, "type") or "message")
    role = read(item, "role")
    if role is not None or kind == "message":
        return (*_read_message(item, str(role or _ASSISTANT)), True)
    call_id = read(item, "call_id") or read(item, "id")
    if kind.endswith("_output"):
        return "tool", [tool_call_response(call_id, read(item, "output"))], True
    if kind in _SERVER_CALLS:
        name = read(item, "name") or kind.removesuffix("_call")
        part = server_tool_call(call_id, name, {detail: read(item, detail) for detail in _SERVER_DETAILS})
    elif kind.endswith("_call"):
        arguments = next((found for name in _ARGUMENTS if (found := read(item, name)) is not None), None)
        part = tool_call(call_id, read(item, "name") or kind.removesuffix("_call"), arguments)
    else:
        [part] = parts_of([item])
    return _ASSISTANT, [part], False


def _read_message(item: Any, role: str) -> tuple[str, list[dict[str, Any]]]:
    if role == "tool":  # of chat completions, as are the tool calls below
        return role, [tool_call_response(read(item, "tool_call_id"), read(item, "content"))]
    parts = parts_of(read(item, "content"))
    for call in read(item, "tool_calls") or ():
        function = read(call, "function")
        parts.append(tool_call(read(call, "id"), read(function, "name"), read(function, "arguments")))
    return role, parts
