"""Messages as OpenTelemetry's GenAI conventions want them on spans: made only where content is asked for and a span takes it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.operation import Operation

__all__ = ["message", "note_content", "parts_of", "read", "server_tool_call", "tool_call", "tool_call_response"]

_LONGEST_ARGUMENTS = 65_536
"""Arguments of a tool that are longer stay the text that they are: reading them costs more than what is kept of them."""

_REASONING = frozenset(("reasoning", "reasoning_text", "summary_text", "thinking", "reasoning_content"))
_TOOL_CALLS = frozenset(("tool_call", "tool_use", "function_call", "invalid_tool_call"))
_SERVER_TOOL_CALLS = frozenset(("server_tool_call", "server_tool_use"))
_MODALITIES = ("image", "audio", "video")
_INNER = ("source", "image_url", "input_audio", "file")
"""Where providers keep what a medium is: Anthropic's, and those of OpenAI's chat."""


def note_content(kit: Kit, operation: Operation | None, name: str, make: Callable[[], Any]) -> None:
    """Put content on the span of an operation, redacted and cut, where it is asked for and there is a span to take it.

    Args:
        kit: Tells what may be kept of content.
        operation: The call that it is of, if any.
        name: The attribute.
        make: Returns the content; it is called only where it may be kept. A fault of it is contained.
    """
    if kit.content.is_captured and operation is not None and operation.is_recording:
        with contain_internal_errors("content"):
            operation.set_attributes({name: kit.content.attribute(name, make())})


def read(thing: Any, name: str) -> Any:
    """Return an item of a dictionary, or an attribute of anything else; None where there is none."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def message(role: Any, parts: list[dict[str, Any]], finish_reason: str | None = None) -> dict[str, Any]:
    """Return a message; why it ended is said where it is told."""
    made = {"role": str(role), "parts": parts}
    return made if finish_reason is None else {**made, "finish_reason": finish_reason}


def tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Return the part by which a model asks for a tool; arguments that are JSON are shown as what they say."""
    if isinstance(arguments, str) and len(arguments) <= _LONGEST_ARGUMENTS:
        with contextlib.suppress(ValueError, RecursionError):  # a model may write anything there
            arguments = json.loads(arguments)
    return {"type": "tool_call", "id": call_id, "name": str(name or ""), "arguments": arguments}


def tool_call_response(call_id: Any, response: Any) -> dict[str, Any]:
    """Return the part that bears what a tool answered; content of several parts is shown as parts."""
    if isinstance(response, list | tuple):
        response = parts_of(response)
    elif isinstance(response, dict) and _medium(response, str(response.get("type") or "")) is not None:
        [response] = parts_of(response)
    return {"type": "tool_call_response", "id": call_id, "response": response}


def server_tool_call(call_id: Any, name: Any, details: dict[str, Any]) -> dict[str, Any]:
    """Return the part that says that a provider ran a tool of its own."""
    name = str(name or "")
    call = {"type": name, **{key: value for key, value in details.items() if value is not None}}
    return {"type": "server_tool_call", "id": call_id, "name": name, "server_tool_call": call}


def parts_of(content: Any) -> list[dict[str, Any]]:
    """Return what a message says as parts: text, or blocks as OpenAI, Anthropic and LangChain write them.

    A kind of block that is none of these is named and not shown.
    """
    blocks = content if isinstance(content, list | tuple) else (content,)
    return [_part(block) for block in blocks if block is not None and block != ""]


def _part(block: Any) -> dict[str, Any]:
    if isinstance(block, str):
        return _text(block)
    kind = str(read(block, "type") or "other")
    if kind in _REASONING:
        return {"type": "reasoning", "content": _reasoning_of(block)}
    if kind == "refusal":
        return {"type": kind, "content": str(read(block, "refusal") or "")}
    text = read(block, "text")
    if isinstance(text, str):
        return _text(text)
    call_id = read(block, "call_id") or read(block, "id")
    if kind in _TOOL_CALLS:
        arguments = next((found for name in ("args", "input", "arguments") if (found := read(block, name)) is not None), None)
        return tool_call(call_id, read(block, "name"), arguments)
    if kind == "tool_result":
        return tool_call_response(read(block, "tool_use_id"), read(block, "content"))
    if kind in _SERVER_TOOL_CALLS:
        arguments = read(block, "args") or read(block, "input")
        return server_tool_call(call_id, read(block, "name"), {"arguments": arguments})
    return _medium(block, kind) or {"type": kind}


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _reasoning_of(block: Any) -> str:
    for name in ("reasoning", "thinking", "text"):
        if isinstance(found := read(block, name), str):
            return found
    summary = read(block, "content") or read(block, "summary")
    pieces = summary if isinstance(summary, list | tuple) else (summary,)
    texts = (piece if isinstance(piece, str) else read(piece, "text") for piece in pieces)
    return "\n".join(text for text in texts if isinstance(text, str))


def _medium(block: Any, kind: str) -> dict[str, Any] | None:
    """Return an image, a sound, a film or a document: where it is, and of what comes along the size alone."""
    inner = next((found for name in _INNER if (found := read(block, name)) is not None), None)
    places = (block,) if inner is None or isinstance(inner, str) else (inner, block)
    otherwise = "document" if read(block, "image_url") is None else "image"
    modality = next((modality for modality in _MODALITIES if modality in kind), otherwise)
    mime_type = _first(places, "mime_type", "media_type")
    uri = _first(places, "url", "uri", "file_url", "image_url")
    data = _first(places, "base64", "data", "file_data")
    if uri is not None and uri.startswith("data:"):
        header, _, data = uri.partition(",")
        mime_type, uri = header.removeprefix("data:").partition(";")[0] or mime_type, None
    about = {"mime_type": mime_type, "modality": modality}
    if data is not None:
        size = len(data) * 3 // 4 if isinstance(data, str) else len(data)
        return {"type": "blob", **about, "content": f"<{size} bytes>"}
    if uri is not None:
        return {"type": "uri", **about, "uri": uri}
    file_id = _first(places, "file_id") or (_first(places, "id") if read(block, "source_type") == "id" else None)
    return None if file_id is None else {"type": "file", **about, "file_id": file_id}


def _first(places: tuple[Any, ...], *names: str) -> Any:
    """Return the first of these that is there, as text or bytes."""
    found = (read(place, name) for name in names for place in places)
    return next((value for value in found if isinstance(value, str | bytes) and value), None)
