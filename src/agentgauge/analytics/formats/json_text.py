"""A saved document as strict JSON: no NaN, no Infinity, no name twice."""

from __future__ import annotations

import json
from typing import Any

from agentgauge.errors import HistoryError

__all__ = ["from_json", "to_json"]


_MOST_PARTS = 1_000_000
"""A metric has three; what has many more takes far more memory than its bytes: an empty mapping of two takes 64."""


def to_json(document: dict[str, Any]) -> bytes:
    """Write a document; floats come back as they were."""
    return (json.dumps(document, allow_nan=False) + "\n").encode()


def from_json(content: bytes, path: str) -> Any:
    """Read a document.

    Raises:
        HistoryError: It is no strict JSON, or has more mappings and lists than ``to_json`` writes.
    """
    if content.count(b"{") + content.count(b"[") > _MOST_PARTS:
        raise HistoryError(
            f"{path}: it has more than {_MOST_PARTS} mappings and lists, which save() never writes: it is not read"
        )
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"{path}: it is no JSON that can be read, maybe cut off: {error}") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made
