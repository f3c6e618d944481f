"""How often the cause of a planted fault is ranked first, by kind, in how many findings, and how often healthy runs name one."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

from agentgauge.analytics.explain import explain

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "analytics"))

_FIRST_SEED = 5000
_LEAST_SHARE = 0.9
_MOST_NAMED = 0.1


def main() -> int:
    """Print a table; return 1 where a kind is ranked first in less than nine of ten runs, or healthy runs name causes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each kind; three times as many without a fault")
    parser.add_argument("--first-seed", type=int, default=_FIRST_SEED)
    arguments = parser.parse_args()
    made_faults: Any = importlib.import_module("made_faults")  # beside the tests

    is_kept = True
    print(f"{'kind':<20} {'first':>6} {'named':>6} {'causes':>7} {'runs':>5} {'s a run':>8}")
    for kind in (*made_faults.KINDS, None):
        runs = arguments.seeds * (1 if kind else 3)
        first = named = told = 0
        began = time.process_time()
        for seed in range(arguments.first_seed, arguments.first_seed + runs):
            run: Any = made_faults.made_run(kind, seed)
            causes = explain(run.source, run.window).causes
            first += bool(causes) and run.is_named_by(causes[0])
            named += bool(causes)
            told += len(causes)
        is_kept &= first >= _LEAST_SHARE * runs if kind else named <= _MOST_NAMED * runs
        spent = (time.process_time() - began) / runs
        share = f"{first / runs:.2f}" if kind else "-"
        print(f"{kind or 'no fault':<20} {share:>6} {named / runs:>6.2f} {told / runs:>7.2f} {runs:>5} {spent:>8.2f}", flush=True)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
