"""Prompts, answers and arguments of tools: kept out of everything unless the standard variable asks for them on spans.

``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` (OpenTelemetry GenAI conventions). Content never reaches a label.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from agentgauge.errors import contain_internal_errors, is_fault_of_ours, report_internal_error

__all__ = ["Content"]

_CUT = "…"
_CUT_BYTES = len(_CUT.encode())

_MARGIN = 4_096
"""How many characters more than are kept a redactor sees: the longest secret that the cut may fall into, such as a PEM key.

No pattern finds half a secret, so where a text was cut before, what the redactor left as it was at its end goes.
"""

_DEPTH = 16
_encode = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class Content:
    """What may be kept of content.

    Attributes:
        is_captured: Whether spans bear it.
        limit_bytes: How much of one attribute is kept, in bytes of UTF-8, the mark of what was cut included.
        redact: Takes the text of an attribute and its name, and returns what may be kept, None for nothing. A long text is cut
            before, a little beyond the limit, and need not be whole JSON then.
    """

    is_captured: bool = False
    limit_bytes: int = 16_384
    redact: Callable[[str, str], str | None] | None = None

    def attribute(self, name: str, value: Any) -> str | None:
        """Return ``value`` as the text of a span's attribute, redacted and cut; None where it must not be kept.

        Text stays as it is, anything else becomes JSON: of pydantic models and data classes the fields that their ``repr`` shows,
        of bytes the length alone, of what else is no plain data its ``str()``. A redactor that raises an ``Exception`` keeps
        nothing; what is none, such as ``KeyboardInterrupt``, is the program's own and goes on.
        """
        if not self.is_captured or value is None:
            return None
        text, is_cut = None, False
        with contain_internal_errors("content"):
            text, is_cut = _text_of(value, self.limit_bytes + _MARGIN)
        if text is not None and self.redact is not None:
            kept = self._redacted(self.redact, text, name)
            text = _without_same_end(kept, text) if is_cut and kept is not None else kept
        return None if text is None else self._bounded(text, is_cut=is_cut)

    @staticmethod
    def _redacted(redact: Callable[[str, str], str | None], text: str, name: str) -> str | None:
        fault = ""
        try:
            kept: Any = redact(text, name)
            if kept is None or isinstance(kept, str):
                return kept
            fault = f"returned {type(kept).__name__}, neither text nor None"
        except Exception as error:
            if not is_fault_of_ours(error):
                raise
            last = error.__traceback__
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            # Its message is kept out of the log: it may quote the very content.
            where = "" if last is None else f" at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
            fault = f"raised {type(error).__name__}{where}"
        report_internal_error("content", TypeError(f"content_redactor {fault}: nothing of {name} is kept"))
        return None

    def _bounded(self, text: str, *, is_cut: bool) -> str:
        encoded = text[: self.limit_bytes + 1].encode("utf-8", "replace")  # no more than that can be kept
        if len(encoded) <= self.limit_bytes and not is_cut:
            return encoded.decode()
        mark = _CUT if self.limit_bytes >= _CUT_BYTES else ""
        return encoded[: self.limit_bytes - len(mark.encode())].decode("utf-8", "ignore") + mark


def _text_of(value: Any, limit: int) -> tuple[str, bool]:
    """Return text of at most ``limit`` characters, and whether there would be more."""
    if isinstance(value, str):
        return str(value[:limit]), len(value) > limit
    writer = _Writer(limit)
    writer.write(value, 0)
    text = "".join(writer.parts)
    return text[:limit], len(text) > limit or writer.room <= 0


def _without_same_end(redacted: str, text: str) -> str:
    """Return ``redacted`` without the end that it shares with ``text``."""
    shared = 0
    for mine, theirs in islice(zip(reversed(redacted), reversed(text), strict=False), _MARGIN):
        if mine != theirs:
            break
        shared += 1
    return redacted[: len(redacted) - shared]


class _Writer:
    """Writes JSON until there is no room: what would be cut is not even read.

    Not ``json.dumps``: that writes megabytes first, and fails on keys that are no text and on values that hold themselves.
    """

    def __init__(self, room: int) -> None:
        self.parts: list[str] = []
        self.room = room

    def write(self, value: Any, depth: int) -> None:
        """Write a value that is ``depth`` values deep."""
        if value is None or isinstance(value, bool):
            self._put(json.dumps(value))
        elif type(value) is int or type(value) is float:
            self._put(_str_of(value))
        elif isinstance(value, str):
            self._put(_quoted(value, self.room))
        elif isinstance(value, bytes | bytearray | memoryview):
            self._put(f'"<{len(value)} bytes>"')
        elif isinstance(value, Enum):
            self.write(value.value, depth)
        elif depth >= _DEPTH:  # or a value that holds itself
            self._put(f'"{_CUT}"')
        elif isinstance(value, dict | Mapping):  # an abstract class is slow to ask
            self._write_items(value.items(), depth)
        elif isinstance(value, list | tuple | set | frozenset | deque):
            self._write_all(value, depth)
        elif (fields := _fields_of(value)) is not None:
            self._write_items(fields.items(), depth)
        else:
            self._put(_quoted(_str_of(value), self.room))

    def _put(self, part: str) -> None:
        self.parts.append(part)
        self.room -= len(part)

    def _write_items(self, items: Iterable[tuple[Any, Any]], depth: int) -> None:
        self._put("{")
        for number, (key, value) in enumerate(self._first(items)):
            if self.room <= 0:
                break
            self._put(", " if number else "")
            self._put(_quoted(key if isinstance(key, str) else _str_of(key), self.room))
            self._put(": ")
            self.write(value, depth + 1)
        self._put("}")

    def _write_all(self, values: Iterable[Any], depth: int) -> None:
        self._put("[")
        for number, value in enumerate(self._first(values)):
            if self.room <= 0:
                break
            self._put(", " if number else "")
            self.write(value, depth + 1)
        self._put("]")

    def _first(self, items: Iterable[Any]) -> list[Any]:
        """Return no more than there is room for, at once: another thread may add some meanwhile."""
        return list(islice(items, max(0, self.room)))


def _quoted(text: str, room: int) -> str:
    return _encode(str(text[: max(0, room)]))


def _str_of(value: Any) -> str:
    """Return what the value says of itself; its type where it fails to say anything."""
    try:
        return str(value)
    except Exception as error:
        if not is_fault_of_ours(error):
            raise
        return f"<{type(value).__name__}>"


def _fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a pydantic model or a data class that its ``repr`` shows; None for anything else."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.repr]
        return {name: getattr(value, name, None) for name in names}
    fields = getattr(kind, "model_fields", None) if hasattr(kind, "__pydantic_core_schema__") else None
    if not isinstance(fields, Mapping):
        return None
    kept = vars(value)
    shown = {name: kept[name] for name, field in fields.items() if name in kept and field.repr and not field.exclude}
    return {**shown, **(getattr(value, "__pydantic_extra__", None) or {})}
