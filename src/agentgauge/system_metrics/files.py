"""What a manager knows, as a file for other programs."""

from __future__ import annotations

import csv
import json
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.files import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from agentgauge.system_metrics.readings import MetricPoint

__all__ = ["choose_file", "to_csv", "to_json", "write_whole"]

FORMATS = ("json", "csv")
_COLUMNS = ("timestamp", "time", "metric", "labels", "value", "unit")


def choose_file(path: str | os.PathLike[str], wanted: str | None) -> tuple[Path, str]:
    """Return where to write, and ``json`` or ``csv``: what is wanted, else what the path ends in.

    Raises:
        ConfigurationError: It is neither, or the path is none of a regular file.
    """
    try:
        chosen = Path(path)
    except TypeError:
        raise ConfigurationError(f"export_metrics(path={path!r}): give the path of a file, such as 'metrics.json'") from None
    ending = chosen.suffix.removeprefix(".").lower() if wanted is None else wanted
    if chosen.name in {"", ".."} or "\0" in chosen.name:
        raise ConfigurationError(f"export_metrics(path={str(path)!r}): give the path of a file, such as 'metrics.json'")
    if not isinstance(ending, str) or ending.lower() not in FORMATS:
        raise ConfigurationError(f"export_metrics(format={wanted!r}): give 'json' or 'csv', or a path that ends in one of them")
    mode = _mode_of(chosen)
    if mode is not None and not stat.S_ISREG(mode):
        raise ConfigurationError(
            f"export_metrics(path={str(path)!r}): there is a folder, a pipe or a device; give the path of a file, such as "
            "'metrics.json'"
        )
    return chosen, ending.lower()


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


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
