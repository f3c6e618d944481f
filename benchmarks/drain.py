"""How long a full buffer takes to drain, and what 8 threads that record for long lose and add to the process.

Run as a script it prints either: ``full TRIALS`` the CPU seconds of each drain, ``threads SECONDS`` how many calls were made and
lost, and the bytes added.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil

import agentgauge
from agentgauge.recording.default import default_recorder
from agentgauge.recording.recorder import HARD_LIMIT
from fresh import run_fresh
from rows import Row, Suite
from subjects import OurSeries, work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["SUITES"]

_FULL = "drain of a full buffer"
_LOST = "lost of 8 threads' calls"
_ADDED = "memory that 8 threads add"
_THREADS = 8
_MEBIBYTE = 2**20


def _drain_seconds(trials: int) -> list[float]:
    call = agentgauge.task("work")(work)
    series = OurSeries()
    seconds = []
    for _ in range(trials + 1):
        _fill(call)
        gc.collect()
        began = time.process_time()
        default_recorder().drain()
        seconds.append(time.process_time() - began)
        if series.settle() != HARD_LIMIT:
            raise RuntimeError("the buffer was not full")
    return seconds[1:]


def _fill(call: Callable[[int], int]) -> None:
    """Fill the buffer to its hard limit; another thread holds the drain meanwhile, or callers would drain it."""
    is_held, is_full = threading.Event(), threading.Event()

    def hold() -> None:
        with default_recorder().lock:
            is_held.set()
            is_full.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    for value in range(HARD_LIMIT):
        call(value)
    is_full.set()
    holder.join()


def _record_at_once(seconds: float) -> dict[str, float]:
    call = agentgauge.task("work")(work)
    series = OurSeries()
    call(1)
    series.settle()
    made = [0] * _THREADS
    gate = threading.Barrier(_THREADS + 1)
    end = threading.Event()

    def record(thread: int) -> None:
        gate.wait()
        count = 0
        while not end.is_set():
            for value in range(100):
                call(value)
            count += 100
        made[thread] = count

    threads = [threading.Thread(target=record, args=(thread,)) for thread in range(_THREADS)]
    for thread in threads:
        thread.start()
    process = psutil.Process()
    before = most = process.memory_info().rss
    gate.wait()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
        most = max(most, process.memory_info().rss)
    end.set()
    for thread in threads:
        thread.join()
    return {"made": sum(made), "lost": sum(made) - series.settle(), "added": most - before}


def _measure_full(_names: Collection[str], effort: Effort) -> list[Row]:
    best = 1e3 * min(run_fresh("drain.py", "full", effort.trials))
    return [Row(_FULL, best, best, None, "ms")]


def _measure_threads(names: Collection[str], effort: Effort) -> list[Row]:
    found = run_fresh("drain.py", "threads", effort.seconds)
    added = found["added"] / _MEBIBYTE
    rows = [
        Row(_LOST, found["lost"], found["lost"], found["made"], "calls", f"recorded in {effort.seconds:g} s"),
        Row(_ADDED, added, added, None, "MiB"),
    ]
    return [row for row in rows if row.name in names]


SUITES = (Suite((_FULL,), _measure_full), Suite((_LOST, _ADDED), _measure_threads))

if __name__ == "__main__":
    print(json.dumps(_drain_seconds(int(sys.argv[2])) if sys.argv[1] == "full" else _record_at_once(float(sys.argv[2]))))
