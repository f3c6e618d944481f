"""``make bench``: what a decorated call costs, beside what others would write for the same.

Every subject runs in turn in one process, on CPU time; the figures are medians over the rounds, less the bare function. Ratios
carry over between machines, nanoseconds do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from measure import Figure, measure
from subjects import Mode, modes

_PACKAGES = ("agentgauge", "opentelemetry-sdk", "prometheus-client")


def main() -> int:
    """Measure, print the table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="timed windows for each subject (default 21)")
    parser.add_argument("--calls", type=int, default=5000, help="calls in a window (default 5000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    print(f"measuring {options.rounds} rounds; about {options.rounds * options.calls // 2500} s", flush=True)
    rows = modes()
    subjects = {subject.name: subject for mode in rows for subject in (mode.bare, mode.ours, mode.reference)}
    figures = measure(list(subjects.values()), calls=options.calls, rounds=options.rounds)
    results = [_result(mode, figures) for mode in rows]
    environment = _environment(options.rounds, options.calls)
    _print_table(results, environment)
    if options.json is not None:
        options.json.write_text(json.dumps({"environment": environment, "results": results}, indent=2) + "\n")
    return 0


def _result(mode: Mode, figures: dict[str, Figure]) -> dict[str, object]:
    bare = figures[mode.bare.name].median
    ours = figures[mode.ours.name].median - bare
    reference = figures[mode.reference.name].median - bare
    ratio = ours / reference
    return {
        "mode": mode.name,
        "ours_ns": round(ours),
        "reference": mode.reference_name,
        "reference_ns": round(reference),
        "ratio": round(ratio, 3),
        "bar": mode.bar,
        "is_met": mode.bar is None or ratio <= mode.bar,
    }


def _environment(rounds: int, calls: int) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "packages": {name: version(name) for name in _PACKAGES},
        "rounds": rounds,
        "calls": calls,
    }


def _print_table(results: list[dict[str, object]], environment: dict[str, object]) -> None:
    print(f"{environment['date']}, Python {environment['python']}, {environment['machine']}, {environment['packages']}")
    print(f"{'added to a call':42}{'ours':>9}{'reference':>11}  {'against':24}{'ratio':>7}{'bar':>7}")
    for row in results:
        bar = f"{row['bar']:.2f}x" if row["bar"] is not None else ""
        missed = "" if row["is_met"] else "  MISSED"
        print(
            f"{row['mode']:42}{row['ours_ns']:>6} ns{row['reference_ns']:>8} ns  {row['reference']:24}"
            f"{row['ratio']:>6.2f}x{bar:>7}{missed}"
        )


if __name__ == "__main__":
    sys.exit(main())
