"""What one sweep costs: every collector that runs by default, read once, in all threads together.

Run as a script, with the number of trials, it prints the CPU seconds of a sweep in each: a trial is some sweeps one after the
other, none of them shared, in a process of its own.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from agentgauge.collectors.roster import build
from agentgauge.config import Config
from fresh import run_fresh
from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Collection

    from rows import Effort

__all__ = ["SUITES"]

_SWEEP = "one sweep of the collectors"
_SWEEPS_A_TRIAL = 20
_TRIALS = 40  # a trial is short, and whatever else the machine does shows in it


def _sweep_seconds(trials: int) -> list[float]:
    sweep = build(Config(collector_timeout_seconds=60), CollectorRegistry())
    if sweep is None:
        raise RuntimeError("there are no collectors")
    sweep._fresh_seconds = 0.0  # noqa: SLF001 - scrapes within a second would share one
    families = len(sweep.collect())  # starts the threads
    seconds = []
    for _ in range(trials):
        gc.collect()
        began = time.process_time()
        for _ in range(_SWEEPS_A_TRIAL):
            if len(sweep.collect()) < families:
                raise RuntimeError("a collector failed or was late")
        seconds.append((time.process_time() - began) / _SWEEPS_A_TRIAL)
    sweep.close()
    return seconds


def _measure(_names: Collection[str], _effort: Effort) -> list[Row]:
    best = 1e3 * min(run_fresh("sweep.py", _TRIALS))
    return [Row(_SWEEP, best, best, None, "ms")]


SUITES = (Suite((_SWEEP,), _measure),)

if __name__ == "__main__":
    print(json.dumps(_sweep_seconds(int(sys.argv[1]))))
