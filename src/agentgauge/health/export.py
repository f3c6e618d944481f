"""What is known, as JSON.

Schema 1: ``schema`` and ``schema_version``; ``exported_at``; ``summary``, ``components``, ``alerts`` and ``handlers`` with the
attributes of ``StatusReport``; ``history``, a list of ``HealthRecord`` for each component. Times are ISO 8601 with a time zone.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.health.course import HealthRecord
    from agentgauge.health.report import StatusReport

__all__ = ["SCHEMA", "SCHEMA_VERSION", "choose_file", "to_json", "write"]

SCHEMA = "agentgauge.health"
SCHEMA_VERSION = 1
_DEEPEST = 8
_EXAMPLE = "give the path of a file, such as 'health.json'"


def choose_file(path: object, wanted: object) -> Path | None:
    """Return where to write; None where nothing is to be written.

    Raises:
        ConfigurationError: It is no path of a regular file, or another format than JSON is wanted.
    """
    if wanted != "json":
        raise ConfigurationError(f"export_health_data(format={wanted!r}): give 'json', the only format there is")
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise ConfigurationError(f"export_health_data(path={path!r}): {_EXAMPLE}")
    chosen = Path(path)
    if chosen.name in {"", ".."} or (chosen.exists() and not stat.S_ISREG(chosen.stat().st_mode)):
        raise ConfigurationError(f"export_health_data(path={str(path)!r}): there is a folder, a pipe or a device; {_EXAMPLE}")
    return chosen


def to_json(report: StatusReport, history: Mapping[str, Sequence[HealthRecord]]) -> str:
    """Write down everything that is known."""
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "exported_at": report.summary.at,
        "summary": report.summary,
        "components": report.components,
        "alerts": report.alerts,
        "handlers": report.handlers,
        "history": history,
    }
    return json.dumps(_plain(document), indent=1, allow_nan=False) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        OSError: It cannot be written; what was there before is unchanged.
    """
    load("agentgauge.system_metrics.files").write_whole(path, text)  # only those who export need what comes with it


def _plain(value: object, depth: int = 0) -> object:
    """Return what JSON can write; of what a check gave as details, too, whatever that is."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth < _DEEPEST:
        if is_dataclass(value) and not isinstance(value, type):
            return {part.name: _plain(getattr(value, part.name), depth + 1) for part in fields(value)}
        if isinstance(value, Mapping):
            return {str(name): _plain(part, depth + 1) for name, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(part, depth + 1) for part in value]
    return f"an object of type {type(value).__name__}"
