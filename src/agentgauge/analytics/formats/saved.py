"""What a saved file has, whatever its format: one versioned document, made and read here."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.moments import iso
from agentgauge.analytics.points import EARLIEST, LATEST, Retention
from agentgauge.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMAT", "VERSION", "Reading", "Saved", "as_document"]

FORMAT = "agentgauge-analytics"
VERSION = 1
_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Saved:
    """What is saved of one analytics object.

    Attributes:
        name: Whose numbers they are.
        at: When, Unix time in seconds.
        retention: What is kept of each metric.
        points: The times and values of each metric.
    """

    name: str
    at: float
    retention: Retention
    points: Mapping[str, tuple[array[float], array[float]]]


def as_document(saved: Saved) -> dict[str, Any]:
    """Return what is saved as mappings, lists, texts and numbers."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": saved.name,
        "saved_at": iso(saved.at),
        "retention": {
            "period_seconds": saved.retention.period_seconds,
            "max_data_points": saved.retention.max_data_points,
        },
        "metrics": {
            metric: {"times": times.tolist(), "values": values.tolist()} for metric, (times, values) in saved.points.items()
        },
    }


class Reading:
    """Reads a document of any origin, and finds what is amiss.

    Args:
        path: How messages name the file.
        is_strict: Refuse what is amiss; else leave it out.
        most_metrics: How many metrics are taken, the first of them.

    Attributes:
        left_out: How many parts were left out.
    """

    def __init__(self, path: str, *, is_strict: bool, most_metrics: int) -> None:
        self._path = path
        self._is_strict = is_strict
        self._most_metrics = most_metrics
        self.left_out = 0

    def read(self, document: Any) -> Saved:
        """Return what a document has.

        Raises:
            HistoryError: It is not one of these, or a field is amiss; the message names it.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise HistoryError(f"{self._path}: it is not what save() writes: the field 'format' is not {FORMAT!r}")
        version: Any = document.get("version")
        if not (_is_count(version) and version >= 1):
            self._amiss("version", version, "a whole number from 1 on")
        elif version > VERSION:
            raise HistoryError(
                f"{self._path}: the field 'version' is {_shown(version)}, written by a newer agentgauge; this one reads up to "
                f"{VERSION}: pip install --upgrade agentgauge"
            )
        for field in sorted(document.keys() - {"format", "version", "name", "saved_at", "retention", "metrics"}, key=str):
            self._amiss(str(field)[:_NAME_LENGTH], "there", "none of the fields")
        name: Any = document.get("name")
        if not isinstance(name, str):
            self._amiss("name", name, "a text")
            name = ""
        return Saved(name, 0.0, self._retention(document.get("retention")), self._metrics(document.get("metrics")))

    def _retention(self, given: Any) -> Retention:
        if not isinstance(given, dict):
            self._amiss("retention", given, "a mapping")
            return Retention()
        period: Any = given.get("period_seconds")
        count: Any = given.get("max_data_points")
        if period is not None and not (_is_number(period) and 0 < period < math.inf):
            self._amiss("retention.period_seconds", period, "a number above 0, or null")
            period = None
        if count is not None and not (_is_count(count) and count >= 1):
            self._amiss("retention.max_data_points", count, "a whole number from 1 on, or null")
            count = None
        return Retention(None if period is None else float(period), count)

    def _metrics(self, given: Any) -> dict[str, tuple[array[float], array[float]]]:
        if not isinstance(given, dict):
            self._amiss("metrics", given, "a mapping")
            return {}
        read: dict[str, tuple[array[float], array[float]]] = {}
        for metric, points in given.items():
            if not isinstance(metric, str) or not metric.strip() or not metric.isprintable() or len(metric) > _NAME_LENGTH:
                self._amiss("metrics", metric, f"of names that are printable texts of at most {_NAME_LENGTH} characters")
            elif len(read) >= self._most_metrics:
                self._amiss(
                    "metrics", f"of {len(given)} names", f"of at most {self._most_metrics}, the max_metrics of this object"
                )
            elif (found := self._points(f"metrics.{metric}", points)) is not None:
                read[metric] = found
        return read

    def _points(self, field: str, given: Any) -> tuple[array[float], array[float]] | None:
        if not isinstance(given, dict):
            self._amiss(field, given, "a mapping")
            return None
        for part in ("times", "values"):
            if not isinstance(given.get(part), list):
                self._amiss(f"{field}.{part}", given.get(part), "a list of numbers")
                return None
        times: list[Any] = given["times"]
        values: list[Any] = given["values"]
        if len(times) != len(values):
            self._amiss(field, f"{len(times)} times and {len(values)} values", "of one time for each value")
        read_times, read_values = array("d"), array("d")
        for index, (at, value) in enumerate(zip(times, values, strict=False)):
            if not (_is_number(at) and EARLIEST <= at <= LATEST):
                self._amiss(f"{field}.times[{index}]", at, "Unix time in seconds, of the years 1 to 9999")
            elif not (_is_number(value) and math.isfinite(value)):
                self._amiss(f"{field}.values[{index}]", value, "a finite number")
            else:
                read_times.append(at)
                read_values.append(value)
        return read_times, read_values

    def _amiss(self, field: str, found: object, wanted: str) -> None:
        if self._is_strict:
            raise HistoryError(f"{self._path}: the field {field!r} is {_shown(found)}, but must be {wanted}")
        self.left_out += 1


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    if value is None:
        return "missing"
    try:
        return repr(value)[:80]
    except ValueError:  # a number of thousands of digits
        return "a number of thousands of digits"
