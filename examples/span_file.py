"""Finished spans of OpenTelemetry as JSON lines in a file: traces without a network or a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["SpanFile"]


class SpanFile(SpanExporter):
    """Appends one JSON object a span.

    With ``trace_id``, ``span_id``, ``parent_id`` or null, ``name``, ``start_unix_nano``, ``end_unix_nano``, ``status`` and
    ``attributes``.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write ``spans``, and let readers see them at once."""
        for span in spans:
            context = span.get_span_context()
            if context is None:
                continue
            line = {
                "trace_id": f"{context.trace_id:032x}",
                "span_id": f"{context.span_id:016x}",
                "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
                "name": span.name,
                "start_unix_nano": span.start_time,
                "end_unix_nano": span.end_time,
                "status": span.status.status_code.name,
                "attributes": dict(span.attributes or {}),
            }
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()
