"""``make bench``: what agentgauge costs, beside what others would write for the same, each row against its bar.

Subjects take turns in one process, on CPU time, with all that they record collected and counted inside the window.
Ratios carry over between machines, nanoseconds do not. ``make bench-check`` measures the same and fails where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import analytics
import beside_autometrics
import breaker
import calls
import concurrency
import drain
import dspy_overhead
import imports
import memory
import probe
import processing
import sampling
import scrape
import stall
import sweep
import whole
from cost_table import render, shortest_call_microseconds
from readme import between_markers, measured_by
from rows import FULL, SHORT, measured_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rows import Row, Suite

__all__ = ["SUITES", "main"]

SUITES: tuple[Suite, ...] = tuple(
    suite
    for module in (
        calls,
        beside_autometrics,
        breaker,
        concurrency,
        scrape,
        stall,
        sweep,
        memory,
        imports,
        drain,
        dspy_overhead,
        sampling,
        processing,
        probe,
        analytics,
    )
    for suite in module.SUITES
)

_PACKAGES = ("agentgauge", "opentelemetry-sdk", "prometheus-client")
_MARGIN = 0.25  # of a bar, in the short form: what a few windows on a busy machine may be off
_REPEATS = 2


def main(argv: Sequence[str] | None = None, suites: Sequence[Suite] = SUITES) -> int:
    """Measure, print the table, and write JSON where asked.

    Returns:
        The exit status: 1 where bars are to be checked and one is missed, 2 where no row has the name.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="measure what misses its bar again, and fail where it still does")
    parser.add_argument("--short", action="store_true", help=f"less of everything; bars have a margin of {_MARGIN:.0%}%")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="only rows that match")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="write the table there, between its markers")
    parser.add_argument("--whole", action="store_true", help="the demo with everything on and off instead; takes minutes")
    options = parser.parse_args(argv)
    suites = whole.SUITES if options.whole else suites
    margin = _MARGIN if options.short else 0.0
    names = [name for suite in suites for name in suite.names if options.only.search(name)]
    if not names:
        print(
            f"no row matches {options.only.pattern!r}; there are:", *(name for suite in suites for name in suite.names), sep="\n"
        )
        return 2
    environment = _environment()
    print(f"{environment['date']}, Python {environment['python']}, {environment['machine']}, {environment['packages']}")
    print(f"{'':50}{'ours':>10}{'reference':>12}       {'against':22}{'is':>8}{'bar':>8}{'stretch':>9}", flush=True)
    rows = []
    for row in measured_rows(
        suites, names, SHORT if options.short else FULL, margin=margin, repeats=_REPEATS if options.check else 0
    ):
        print(_line(row, margin), flush=True)
        rows.append(row)
    _print_shortest_calls(rows)
    if options.json is not None:
        options.json.write_text(
            json.dumps({"environment": environment, "results": [_record(row) for row in rows]}, indent=2) + "\n"
        )
    if options.readme is not None:
        page = options.readme.read_text(encoding="utf-8")
        packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items() if name != "agentgauge")
        text = f"{render(rows)}\n\n{measured_by('make bench')}, {packages}."
        options.readme.write_text(between_markers(page, "costs", text), encoding="utf-8")
    missed = [row for row in rows if not row.is_met(margin)]
    if missed:
        print(f"\n{len(missed)} of {len(rows)} bars missed{f', with a margin of {margin:.0%}' if margin else ''}:")
        for row in missed:
            print(f"  {row.name}: {row.value:.3g} {row.bar.unit}, the bar is {row.bar.bar:g}")
    return 1 if missed and options.check else 0


def _line(row: Row, margin: float) -> str:
    bar = row.bar
    reference = "" if row.reference is None else _figure(row.reference, row.unit)
    stretch = "" if bar.stretch is None else f"{bar.stretch:g}"
    costs = f"{_figure(row.ours, row.unit):>10}{reference:>12} {row.unit:5} {row.against[:21]:22}"
    return f"{row.name:50}{costs}{row.value:>8.3g}{bar.bar:>8g}{stretch:>9}{'' if row.is_met(margin) else '  MISSED'}"


def _figure(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit in {"ms", "MiB"} else f"{value:.0f}"


def _print_shortest_calls(rows: Sequence[Row]) -> None:
    """Print for each mode from what duration on a call is slowed by less than 5 %."""
    shortest = {row.name: microseconds for row in rows if (microseconds := shortest_call_microseconds(row)) is not None}
    if shortest:
        print("\nunder 5 % overhead, if the call takes at least")
    for name, microseconds in shortest.items():
        print(f"{name:50}{microseconds:>10.0f} µs")


def _record(row: Row) -> dict[str, object]:
    return {
        "row": row.name,
        "ours": row.ours,
        "reference": row.reference,
        "unit": row.unit,
        "against": row.against,
        "is": round(row.value, 4),
        "bar": row.bar.bar,
        "stretch": row.bar.stretch,
        "is_met": row.is_met(0.0),
    }


def _environment() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "packages": {name: version(name) for name in _PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())
