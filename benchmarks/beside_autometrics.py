"""What a call costs beside autometrics' decorator with its gauge of calls in flight.

autometrics pins a prometheus_client older than ours, so both run in an environment of its own (``make`` builds it): this file
is a script there, and agentgauge comes from the source tree. Recording a call uses nothing of prometheus_client.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentgauge
from fresh import run_fresh
from measure import Subject, measure
from rows import Row, Suite
from subjects import OurSeries, loop, loop_async, work, work_async

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["SUITES"]

_ROOT = Path(__file__).parents[1]
_PYTHON = _ROOT / ".venv" / "autometrics" / "bin" / "python"
_KINDS = ("sync", "async")


class _TheirSeries:
    """How many calls autometrics counted since the last time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = function.__qualname__
        self._seen = 0

    def settle(self) -> int:
        client = importlib.import_module("prometheus_client")
        total = sum(
            int(sample.value)
            for family in client.REGISTRY.collect()
            if family.name == "function_calls"
            for sample in family.samples
            if sample.name == "function_calls_total" and sample.labels["function"] == self._name
        )
        total, self._seen = total - self._seen, total
        return total


def _nanoseconds(calls: int, rounds: int) -> dict[str, float]:
    autometrics: Any = importlib.import_module("autometrics")
    autometrics.init(tracker="prometheus", service_name="bench")
    subjects = []
    kinds: tuple[tuple[str, Callable[[int], Any], Callable[..., Callable[[int], None]]], ...]
    kinds = (("sync", work, loop), ("async", work_async, loop_async))
    for kind, function, looped in kinds:
        theirs = autometrics.autometrics(track_concurrency=True)(function)
        subjects += [
            Subject(f"{kind}: bare", looped(function)),
            Subject(f"{kind}: ours", looped(agentgauge.task("work")(function)), OurSeries().settle),
            Subject(f"{kind}: theirs", looped(theirs), _TheirSeries(function).settle),
        ]
    return {name: figure.best for name, figure in measure(subjects, calls=calls, rounds=rounds).items()}


def _name(kind: str) -> str:
    return f"metrics only, {kind}, against autometrics"


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    if not _PYTHON.exists():
        raise RuntimeError(f"{_PYTHON} is missing: make bench builds it")
    figures = run_fresh(
        Path(__file__).name,
        effort.calls,
        effort.rounds,
        python=str(_PYTHON),
        environment={"PYTHONPATH": str(_ROOT / "src")},
    )
    rows = []
    for kind in _KINDS:
        bare, ours, theirs = (figures[f"{kind}: {subject}"] for subject in ("bare", "ours", "theirs"))
        rows.append(Row(_name(kind), (ours - bare) / (theirs - bare), ours - bare, theirs - bare, "ns", "autometrics"))
    return [row for row in rows if row.name in names]


SUITES = (Suite(tuple(_name(kind) for kind in _KINDS), _measure),)

if __name__ == "__main__":
    print(json.dumps(_nanoseconds(int(sys.argv[1]), int(sys.argv[2]))))
