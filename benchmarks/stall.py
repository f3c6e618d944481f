"""For how long a scrape of 10,000 children holds up a decorated call at worst.

Run as a script, with the number of trials, it prints the longest stall of each trial during a scrape and without one, in
seconds. The scrape comes from another process as Prometheus asks for it: OpenMetrics, compressed.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

import agentgauge
from fresh import run_fresh
from mirror import Children
from rows import Row, Suite
from subjects import work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["SUITES"]

_NAME = "worst stall of a call in a 10k scrape"
_CHILDREN = 10_000
_WATCH_SECONDS = 0.7  # longer than the scrape takes beside a busy caller

_CLIENT = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "Accept-Encoding": "gzip"})
for _ in sys.stdin:
    with urllib.request.urlopen(request) as answer:
        print(len(answer.read()), flush=True)
"""


def _longest_stall(call: Callable[[int], int]) -> float:
    """Call again and again; return for how long at most other threads of this process kept a call from its end, in seconds.

    Other programs hold calls up too, on a busy machine for longer than any scrape does. A stall that is ours is time that passes
    while other threads of ours use the processor: the lesser of the two counts.
    """
    gc.collect()
    longest = 0.0
    last, last_others = time.perf_counter(), time.process_time() - time.thread_time()
    end = last + _WATCH_SECONDS
    while last < end:
        call(1)
        now, others = time.perf_counter(), time.process_time() - time.thread_time()
        longest = max(longest, min(now - last, others - last_others))
        last, last_others = now, others
    return longest


def _longest_stalls(trials: int) -> dict[str, list[float]]:
    call = agentgauge.task("work")(work)
    children = Children(_CHILDREN)
    registry = CollectorRegistry()
    limit = 2 * len(children.names)
    monitor = agentgauge.start(port=0, registry=registry, series_limit=limit)
    children.touch()
    during, idle = [], []
    # S603: our own client
    client = subprocess.Popen(  # noqa: S603 - see above
        [sys.executable, "-c", _CLIENT, str(monitor.url)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with client:
        if client.stdin is None or client.stdout is None:
            raise RuntimeError("the client has no pipes")
        for trial in range(trials + 1):
            children.touch()
            without = _longest_stall(call)
            client.stdin.write("scrape\n")
            client.stdin.flush()
            while_scraped = _longest_stall(call)
            if not client.stdout.readline():
                raise RuntimeError("the scrape failed")
            if trial:  # the first page fills what is cached
                idle.append(without)
                during.append(while_scraped)
        client.stdin.close()
    monitor.stop()
    return {"during": during, "idle": idle}


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    longest = run_fresh("stall.py", effort.trials)
    during, idle = (1e3 * statistics.median(longest[state]) for state in ("during", "idle"))
    return [Row(_NAME, during - idle, during, idle, "ms", "idle")]


SUITES = (Suite((_NAME,), _measure),)

if __name__ == "__main__":
    print(json.dumps(_longest_stalls(int(sys.argv[1]))))
