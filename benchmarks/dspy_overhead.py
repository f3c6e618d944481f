"""What observing DSPy adds to a ``dspy.Predict`` whose language model answers at once.

A script too, that measures in the environment of another library. Its arguments are calls in a window and rounds, and for other
libraries the package and the file that gets the figures and what each records.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fresh import run_fresh
from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Collection

    from rows import Effort

__all__ = ["PREDICT", "SUITES", "figures"]

PREDICT = "DSPy Predict, metrics only"
_CALLS_A_PREDICT = 10  # a Predict takes longer than ten of the calls that windows are made for


def figures(package: str, calls: int, rounds: int) -> dict[str, Any]:
    """Measure DSPy alone, one callback, agentgauge, and the package's ways where there is one.

    Returns:
        For JSON: the nanoseconds of a Predict, what one leaves behind, and the versions of what was measured.
    """
    from dspy_program import predictor
    from dspy_ways import Outlet, taking_turns, ways_of
    from measure import measure
    from references import Tracing

    def outlet() -> Outlet:
        tracing = Tracing(1.0)

        def spans() -> int:
            tracing.flush()
            return tracing.exporter.count

        return Outlet(tracing.provider, spans)

    ways = ways_of(package, outlet)
    subjects, left = taking_turns(ways, predictor())
    found = measure(subjects, calls=calls, rounds=rounds)
    packages = ("dspy", "opentelemetry-sdk", *([package] if package else []))
    return {
        "nanoseconds": {name: figure.best for name, figure in found.items()},
        "left": left,
        "versions": {name: version(name) for name in packages},
    }


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    found = run_fresh(Path(__file__).name, effort.calls // _CALLS_A_PREDICT, effort.rounds)["nanoseconds"]
    ours, callback = (found[name] - found["bare"] for name in ("ours: metrics", "callback"))
    return [Row(PREDICT, ours / callback, ours, callback, "ns", "one no-op callback")]


SUITES = (Suite((PREDICT,), _measure),)

if __name__ == "__main__":
    number, how_many_rounds = int(sys.argv[1]), int(sys.argv[2])
    if len(sys.argv) == 3:
        print(json.dumps(figures("", number, how_many_rounds)))
    else:
        from dspy_records import records

        found_records = records(sys.argv[3])
        found_figures = {**figures(sys.argv[3], number, how_many_rounds), "records": found_records}
        Path(sys.argv[4]).write_text(json.dumps(found_figures), encoding="utf-8")
