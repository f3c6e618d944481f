"""What a manager knows, as a file for other programs."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.system_metrics.readings import MetricPoint

__all__ = ["choose_format", "to_csv", "to_json", "write_whole"]

FORMATS = ("json", "csv")
_COLUMNS = ("timestamp", "time", "metric", "labels", "value", "unit")


def choose_format(path: str | os.PathLike[str], wanted: str | None) -> str:
    """Return ``json`` or ``csv``: what is wanted, else what the path ends in.

    Raises:
        ConfigurationError: It is neither.
    """
    chosen = Path(path).suffix.removeprefix(".").lower() if wanted is None else wanted
    if not isinstance(chosen, str) or chosen.lower() not in FORMATS:
        raise ConfigurationError(f"export_metrics(format={wanted!r}): give 'json' or 'csv', or a path that ends in one of them")
    return chosen.lower()


def to_json(document: Mapping[str, object]) -> str:
    """Write a document of mappings, sequences, dataclasses and numbers; NaN and infinities become texts, as JSON has none."""
    return json.dumps(_plain(document), indent=1, allow_nan=False) + "\n"


def to_csv(points: Iterable[MetricPoint]) -> str:
    """Write readings, one a line; the labels are a JSON object."""
    text = StringIO()
    lines = csv.writer(text)
    lines.writerow(_COLUMNS)
    for point in points:
        time = datetime.fromtimestamp(point.timestamp, UTC).isoformat(timespec="milliseconds")
        labels = json.dumps(dict(point.labels), sort_keys=True)
        lines.writerow((repr(point.timestamp), time, point.metric, labels, _text_of(point.value), point.unit))
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, whoever reads it meanwhile and whatever ends the program.

    Raises:
        OSError: It cannot be written; what was there before is unchanged.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, float) and not math.isfinite(value):
        return _text_of(value)
    return value


def _text_of(value: float) -> str:
    """Write a number as Prometheus' own API does."""
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")
