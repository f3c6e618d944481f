"""``make bench-peers``: what the decorators of other libraries cost, and what instruments DSPy, beside ours, for the README.

Each peer gets an environment of its own with its newest release; agentgauge comes from this source tree, and its calls, the
yardsticks and the peer take turns in one process. A peer that fails costs its row, not the table.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from dspy_peers import DSPY_PEERS, measured
from dspy_table import render_dspy
from peers_environment import install, python_of, run
from peers_setup import PEERS
from peers_table import Peer, Result, plain_reason, render
from readme import between_markers, measured_by

_MEASURE_SECONDS = 180


def main() -> int:
    """Install, measure, print the table, and put it into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="calls in a window (default 2000)")
    parser.add_argument("--rounds", type=int, default=11, help="timed windows for each subject (default 11)")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="only packages that match")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put a whole table between this page's markers")
    options = parser.parse_args()
    chosen = [(number, peer) for number, peer in enumerate(PEERS) if options.only.search(peer.package)]
    problems = {peer.package: install(peer.package, peer.also) for peer in {peer.package: peer for _, peer in chosen}.values()}
    results = []
    for number, peer in chosen:
        print(f"{peer.package} {peer.decorator}, content {peer.content}", flush=True)
        problem = problems[peer.package]
        results.append(Result(peer, failure=problem) if problem else _measure(number, peer, options.calls, options.rounds))
    windows = f"{measured_by('make bench-peers')}, {options.rounds} interleaved windows of"
    tables = {"peers": render(results, f"{windows} {options.calls} calls")} if chosen else {}
    of_dspy = [package for package in DSPY_PEERS if options.only.search(package)]
    found = measured(of_dspy, options.calls, options.rounds)
    if found:
        tables["dspy-peers"] = render_dspy(found, f"{windows} {options.calls // 10} Predicts")
    for table in tables.values():
        print(f"\n{table}")
    if options.json is not None:
        figures = [*map(asdict, results), *map(asdict, found)]
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.readme is not None:
        page = options.readme.read_text(encoding="utf-8")
        for name, is_whole in (("peers", len(chosen) == len(PEERS)), ("dspy-peers", len(of_dspy) == len(DSPY_PEERS))):
            if is_whole:
                page = between_markers(page, name, tables[name])
        options.readme.write_text(page, encoding="utf-8")
    return 0


def _measure(number: int, peer: Peer, calls: int, rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:  # peers write logs and caches where they run
        figures = Path(folder) / "figures.json"
        script = Path(__file__).with_name("peers_measure.py")
        command = [str(python_of(peer.package)), str(script), str(number), str(calls), str(rounds), str(figures)]
        problem = run(command, _MEASURE_SECONDS, folder)
        if not figures.exists():
            return Result(peer, failure=problem or "it wrote no figures")
        found = json.loads(figures.read_text(encoding="utf-8"))
    failures = {kind: plain_reason(reason) for kind, reason in found["failures"].items()}
    if not found["nanoseconds"]:
        return Result(peer, versions=found["versions"], failure="; ".join(failures.values()))
    return Result(peer, found["nanoseconds"], found["versions"], failures=failures)


if __name__ == "__main__":
    sys.exit(main())
