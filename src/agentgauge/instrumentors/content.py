"""Prompts, answers and arguments of tools: kept out of everything unless the standard variable asks for them on spans.

``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` (OpenTelemetry GenAI conventions). Content never reaches a label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Content"]

_CUT = "…"


@dataclass(frozen=True)
class Content:
    """What may be kept of content.

    Attributes:
        is_captured: Whether spans bear it.
        limit_bytes: How much of one attribute is kept, in bytes of UTF-8.
        redact: Takes the text of an attribute and its name, and returns what may be kept, None for nothing.
    """

    is_captured: bool = False
    limit_bytes: int = 16_384
    redact: Callable[[str, str], str | None] | None = None

    def attribute(self, name: str, value: Any) -> str | None:
        """Return ``value`` as the text of a span's attribute, redacted and cut; None where it must not be kept.

        A redactor that fails keeps nothing.
        """
        if not self.is_captured or value is None:
            return None
        kept: str | None = None
        with contain_internal_errors("content"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            kept = text if self.redact is None else self.redact(text, name)
        if not isinstance(kept, str):
            return None
        encoded = kept.encode("utf-8", "replace")
        if len(encoded) <= self.limit_bytes:
            return kept
        return encoded[: self.limit_bytes].decode("utf-8", "ignore") + _CUT
