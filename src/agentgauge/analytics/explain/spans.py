"""Spans as plain records, from a file of OTLP JSON, Jaeger's API or OpenTelemetry's console exporter, or of one span a line."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgauge.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Span", "ended_within", "read_spans", "spans_of"]


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace_id: Of its trace.
        span_id: Its own.
        parent_id: Of its parent; None for a root.
        name: What it is called.
        start: When it began, Unix time in seconds.
        end: When it ended; None while it is open.
        attributes: What it says of itself, ``service.name`` of its resource included.
        is_error: Whether its status is an error.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: float
    end: float | None
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    is_error: bool = False


def read_spans(path: Path) -> list[Span]:
    """Read the spans of a file.

    Args:
        path: Of JSON: OTLP (``resourceSpans``; one document, or one a line as a collector writes it), the answer of
            Jaeger's ``/api/traces``, what the SDK's ``ConsoleSpanExporter`` or ``ReadableSpan.to_json()`` writes, or one object a
            span and line with ``trace_id``, ``span_id``, ``parent_id``, ``name``, ``start`` and ``end`` in Unix seconds (or
            ``start_unix_nano`` and ``end_unix_nano``) and ``attributes``. What is cut off is left out, as are spans without
            a time.

    Raises:
        SourceError: It cannot be read, or there is no span in it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f"cannot read spans from {path}: {error.strerror or error}") from error
    spans = list(spans_of(_documents(text)))
    if not spans:
        raise SourceError(
            f"{path} has no span with a time in it: give OTLP JSON lines, the answer of Jaeger's /api/traces, what a "
            "ConsoleSpanExporter wrote, or one JSON object a span and line with trace_id, span_id, parent_id, name, start, end"
        )
    return spans


def ended_within(spans: Iterable[Span], since: float, until: float) -> list[Span]:
    """Return the spans of the traces that ended in ``(since, until]``; what is open ends when it began."""
    found = list(spans)
    ends: dict[str, float] = {}
    for span in found:
        ends[span.trace_id] = max(ends.get(span.trace_id, 0.0), span.start if span.end is None else span.end)
    return [span for span in found if since < ends[span.trace_id] <= until]


def _documents(text: str) -> Iterator[Any]:
    """Yield one document, or one a line, or those that follow one another over many lines each; what is cut off is left out."""
    try:
        yield json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        return
    begun: list[str] = []  # a document over many lines: from a brace that stands alone to one that does
    for line in text.splitlines():
        if line in {"{", "["}:
            begun = []
        begun.append(line)
        for tried in (line, "\n".join(begun)) if line in {"}", "]"} else (line,):
            try:
                found = json.loads(tried)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict | list):
                yield found
                begun = []


def spans_of(documents: Iterable[Any]) -> Iterator[Span]:
    """Yield the spans of documents of any of the forms; what is none of them is left out."""
    for document in documents:
        for one in document if isinstance(document, list) else [document]:
            if isinstance(one, dict):
                yield from _of(one)


def _of(document: dict[str, Any]) -> Iterator[Span]:
    if "resourceSpans" in document or "resource_spans" in document:
        yield from _otlp(document)
    elif isinstance(document.get("data"), list):
        for trace in _dicts(document["data"]):
            yield from _jaeger(trace)
    elif isinstance(document.get("spans"), list):
        yield from _jaeger(document)
    elif isinstance(document.get("context"), dict):
        yield from _console(document)
    else:
        yield from _plain(document)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _seconds(value: Any, per_second: float) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number / per_second if 0 < number < float("inf") else None


def _plain(span: dict[str, Any]) -> Iterator[Span]:
    start = _seconds(span.get("start"), 1) or _seconds(span.get("start_unix_nano"), 1e9)
    if start is None or not span.get("span_id"):
        return
    yield Span(
        str(span.get("trace_id", "")),
        str(span["span_id"]),
        str(span["parent_id"]) if span.get("parent_id") else None,
        str(span.get("name", "")),
        start,
        _seconds(span.get("end"), 1) or _seconds(span.get("end_unix_nano"), 1e9),
        _dict(span.get("attributes")),
        span.get("status") == "ERROR",
    )


def _instant(value: Any) -> float | None:
    try:
        at = dt.datetime.fromisoformat(str(value))
        return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _console(span: dict[str, Any]) -> Iterator[Span]:
    context, start = span["context"], _instant(span.get("start_time"))
    if start is None or not context.get("span_id"):
        return
    yield Span(
        str(context.get("trace_id", "")),
        str(context["span_id"]),
        str(span["parent_id"]) if span.get("parent_id") else None,
        str(span.get("name", "")),
        start,
        _instant(span.get("end_time")),
        _dict(_dict(span.get("resource")).get("attributes")) | _dict(span.get("attributes")),
        _dict(span.get("status")).get("status_code") == "ERROR",
    )


def _value(value: Any) -> Any:
    """Return what OTLP's AnyValue holds; of lists and maps, their JSON."""
    for kind, held in _dict(value).items():
        if kind in {"intValue", "int_value"}:
            return int(held) if str(held).lstrip("-").isdigit() else held
        return held if isinstance(held, str | int | float | bool) else json.dumps(held)
    return None


def _attributes(pairs: Any) -> dict[str, Any]:
    return {str(pair.get("key")): _value(pair.get("value")) for pair in _dicts(pairs)}


def _otlp(document: dict[str, Any]) -> Iterator[Span]:
    for of_resource in _dicts(document.get("resourceSpans") or document.get("resource_spans")):
        resource = _attributes(_dict(of_resource.get("resource")).get("attributes"))
        for of_scope in _dicts(of_resource.get("scopeSpans") or of_resource.get("scope_spans")):
            for span in _dicts(of_scope.get("spans")):
                start = _seconds(span.get("startTimeUnixNano"), 1e9)
                if start is not None and span.get("spanId"):
                    yield Span(
                        str(span.get("traceId", "")),
                        str(span["spanId"]),
                        str(span["parentSpanId"]) if span.get("parentSpanId") else None,
                        str(span.get("name", "")),
                        start,
                        _seconds(span.get("endTimeUnixNano"), 1e9),
                        resource | _attributes(span.get("attributes")),
                        _dict(span.get("status")).get("code") in {2, "STATUS_CODE_ERROR"},
                    )


def _jaeger(trace: dict[str, Any]) -> Iterator[Span]:
    processes = _dict(trace.get("processes"))
    for span in _dicts(trace.get("spans")):
        start, lasted = _seconds(span.get("startTime"), 1e6), span.get("duration")
        if start is None or not span.get("spanID"):
            continue
        tags = {str(tag.get("key")): tag.get("value") for tag in _dicts(span.get("tags"))}
        service = _dict(processes.get(str(span.get("processID")))).get("serviceName")
        parent = next(
            (one.get("spanID") for one in _dicts(span.get("references")) if one.get("refType") == "CHILD_OF"),
            span.get("parentSpanID"),
        )
        yield Span(
            str(span.get("traceID", "")),
            str(span["spanID"]),
            str(parent) if parent else None,
            str(span.get("operationName", "")),
            start,
            start + lasted / 1e6 if isinstance(lasted, int | float) and lasted >= 0 else None,
            ({"service.name": service} if service else {}) | tags,
            tags.get("error") in {True, "true"},
        )
