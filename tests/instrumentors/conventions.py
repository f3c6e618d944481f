"""Reads content back from spans, and sees that it has the form of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from opentelemetry.util.genai import types

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

INPUT, OUTPUT, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"

_PARTS: dict[str, Any] = {
    field.default: kind
    for kind in (value for name, value in vars(types).items() if name.endswith("Part") and dataclasses.is_dataclass(value))
    for field in dataclasses.fields(kind)
    if field.name == "type" and isinstance(field.default, str)
}


def read_back(span: ReadableSpan, name: str) -> Any:
    """Return the content of a span; None where it bears none, and a failed test where it is not in the conventions' form."""
    text = (span.attributes or {}).get(name)
    if text is None:
        return None
    found = json.loads(str(text))
    assert isinstance(found, list)
    if name == SYSTEM:
        check_parts(found)
        return found
    for message in found:
        assert message.keys() - {"finish_reason"} == {"role", "parts"}
        assert message["role"] in {"system", "user", "assistant", "tool"}
        assert "finish_reason" not in message or name == OUTPUT
        check_parts(message["parts"])
    return found


def check_parts(parts: list[dict[str, Any]]) -> None:
    """See that each part is one that the conventions know, with all that belongs to it and nothing more."""
    for part in parts:
        made = _PARTS[part["type"]](**part)
        assert all(isinstance(part[name], str) for name in ("content", "name", "uri", "file_id") if hasattr(made, name))


def text(role: str, content: str, finish_reason: str | None = None) -> dict[str, Any]:
    """Return the message that says just that."""
    message = {"role": role, "parts": [{"type": "text", "content": content}]}
    return message if finish_reason is None else {**message, "finish_reason": finish_reason}
