"""The table of what instruments DSPy, as Markdown: what each adds to a Predict, and what each was found to record."""

from __future__ import annotations

import statistics
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DspyResult", "render_dspy"]

_FAIRNESS = """\
CPU time that is added to a `dspy.Predict` whose language model answers at once, the fastest window of each, in one process with
DSPy alone. Everything that was recorded was exported or folded within the window, and counted: each Predict left as many spans,
calls and tokens as the first one that was looked at. What the columns say was found by running a program for each under each
library and searching its spans and its metrics for it. agentgauge is the median over the environments of the others."""
_OURS = {"ours: metrics": "**agentgauge, metrics only**", "ours: spans and metrics": "**agentgauge, every span sampled**"}
_CALLBACK = "callback"
_BESIDE = ("dspy", "opentelemetry-sdk")


@dataclass(frozen=True)
class DspyResult:
    """What became of one library.

    Attributes:
        package: The distribution.
        nanoseconds: The CPU time of a Predict: ``bare``, ``callback``, ours, and the library's ways.
        records: For each way, where each thing that was looked for showed.
        left: For each way, how much of what a Predict left.
        versions: Of the packages in the environment.
        failure: Why nothing was measured.
    """

    package: str
    nanoseconds: Mapping[str, float] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""

    def added(self, way: str) -> float | None:
        """Return what a way adds to a Predict in microseconds, None where it was not measured."""
        known = self.nanoseconds
        return (known[way] - known["bare"]) / 1e3 if way in known else None


def render_dspy(results: Sequence[DspyResult], machine: str) -> str:
    """Return the table and what there is to say about it.

    Args:
        results: The libraries, in order.
        machine: When and where it was measured: one sentence without its full stop.
    """
    columns = next((list(found) for result in results for found in result.records.values()), [])
    lines = [
        "| | added to a Predict | against agentgauge for the same | spans of a Predict |"
        + "".join(f" {column} |" for column in columns),
        "|---" * (4 + len(columns)) + "|",
    ]
    for way, name in _OURS.items():
        lines.append(_row(name, way, results, None, columns))
    lines += [
        f"| yardstick: one DSPy callback that does nothing | {_microseconds(_median(results, _CALLBACK))} |"
        + " |" * (2 + len(columns))
    ]
    for result in results:
        name = f"{result.package} {result.versions.get(result.package, '')}".rstrip()
        if result.failure:
            lines.append(f"| {name} | not measured: {result.failure} |" + " |" * (2 + len(columns)))
        for way in result.records:
            if way not in _OURS:
                same = "ours: metrics" if way == "metrics" else "ours: spans and metrics"
                lines.append(_row(f"{name}, {way}", way, [result], same, columns))
    beside = {f"{name} {result.versions[name]}" for result in results for name in _BESIDE if name in result.versions}
    told = f"{machine}; {', '.join(sorted(beside)) or 'nothing was installed'}."
    return "\n".join([*lines, "", _wrapped(_FAIRNESS), "", _wrapped(told)])


def _row(name: str, way: str, results: Sequence[DspyResult], same: str | None, columns: Sequence[str]) -> str:
    added = _median(results, way)
    ours = None if same is None else _median(results, same)
    ratio = f"{added / ours:.1f}x" if added is not None and ours else ""
    result = next((result for result in results if way in result.records), None)
    found = result.records[way] if result is not None else {}
    spans = result.left.get(way, {}).get("spans", 0) if result is not None else 0
    cells = "".join(f" {found.get(column) or '-'} |" for column in columns)
    return f"| {name} | {_microseconds(added)} | {ratio} | {spans:.0f} |{cells}"


def _median(results: Sequence[DspyResult], way: str) -> float | None:
    known = [value for result in results if (value := result.added(way)) is not None]
    return statistics.median(known) if known else None


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} µs"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 140, break_long_words=False, break_on_hyphens=False)
