"""What a page costs, in both text formats, beside prometheus_client's generate_latest of the same series.

Run as a script, with the number of children and of trials, it prints the CPU seconds of each: a process of its own, since a
heap of that size slows whatever else is measured beside it. Every child changes between two pages.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_latest_openmetrics

from agentgauge.exposition.text import render
from fresh import run_fresh
from mirror import Children, Mirror
from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["SUITES", "page_writers"]

_FORMATS = ("text", "OpenMetrics")
_SIZES = {"1k": 1_000, "10k": 10_000}
_PAGES_A_TRIAL = {"1k": 2, "10k": 0.4}


def page_writers(children: Children, mirror: Mirror) -> dict[str, Callable[[], object]]:
    """Return what writes each page: ours in chunks as the server sends them, and the other's at once, by format."""
    openmetrics: Callable[..., bytes] = generate_latest_openmetrics  # prometheus_client does not type it
    return {
        "text: ours": lambda: list(render(children.registry, openmetrics=False)),
        "text: theirs": lambda: generate_latest(mirror.registry),
        "OpenMetrics: ours": lambda: list(render(children.registry, openmetrics=True)),
        "OpenMetrics: theirs": lambda: openmetrics(mirror.registry),
    }


def _cpu_seconds(write: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    write()
    return time.process_time() - began


def _timed(count: int, trials: int) -> dict[str, float]:
    children = Children(count)
    children.touch()
    mirror = Mirror(list(children.registry.collect()))
    writers = page_writers(children, mirror)
    for name, write in writers.items():
        if name.endswith("ours"):  # its first pages fill what is cached; theirs has nothing to fill
            write()
    best: dict[str, float] = {}
    for _ in range(trials):
        children.touch()
        mirror.touch()
        for name, write in writers.items():
            seconds = _cpu_seconds(write)
            best[name] = min(best.get(name, seconds), seconds)
    return best


def _name(format_name: str, size: str) -> str:
    return f"scrape, {format_name}, {size} children"


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    rows = []
    for size, count in _SIZES.items():
        wanted = [each for each in _FORMATS if _name(each, size) in names]
        seconds: dict[str, Any] = run_fresh("scrape.py", count, int(effort.trials * _PAGES_A_TRIAL[size])) if wanted else {}
        for each in wanted:
            ours, theirs = seconds[f"{each}: ours"], seconds[f"{each}: theirs"]
            rows.append(Row(_name(each, size), ours / theirs, ours * 1e3, theirs * 1e3, "ms", "generate_latest"))
    return rows


SUITES = (Suite(tuple(_name(each, size) for size in _SIZES for each in _FORMATS), _measure),)

if __name__ == "__main__":
    print(json.dumps(_timed(int(sys.argv[1]), int(sys.argv[2]))))
