"""The bars: what each row of the table must not exceed, and what it is meant to reach. They live here alone."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BARS", "Bar"]


@dataclass(frozen=True)
class Bar:
    """What one row is held to.

    Attributes:
        bar: What must not be exceeded.
        stretch: What it is meant to reach, or None.
        unit: What both are in: ``x`` for a ratio.
    """

    bar: float
    stretch: float | None = None
    unit: str = "x"


BARS = {
    "metrics only, sync, outside an agent": Bar(0.28, 0.20),
    "metrics only, async, outside an agent": Bar(0.32, 0.25),
    "metrics only, sync, inside an agent": Bar(0.34, 0.26),
    "metrics only, async, inside an agent": Bar(0.38, 0.30),
    "metrics only, sync, against autometrics": Bar(0.06, 0.04),
    "metrics only, async, against autometrics": Bar(0.06, 0.04),
    "no SDK, sync": Bar(0.10, 0.07),
    "no SDK, async": Bar(0.11, 0.07),  # of which 0.016 is the coroutine of the wrapper, before it does anything
    "unsampled child, sync": Bar(0.10, 0.07),
    "unsampled child, async": Bar(0.10, 0.07),
    "unsampled root, sync": Bar(0.30, 0.25),
    "unsampled root, async": Bar(0.30, 0.25),
    "sampled span + metrics, sync": Bar(1.0, 0.85),
    "sampled span + metrics, async": Bar(1.0, 0.85),
    "error path, sync": Bar(0.25),
    "error path, async": Bar(0.25),
    "closed circuit breaker, sync, against pybreaker": Bar(0.5, 0.2),
    "closed circuit breaker, sync, against purgatory": Bar(0.5, 0.3),
    "closed circuit breaker, async, against purgatory": Bar(0.5, 0.3),
    "closed circuit breaker, with, against pybreaker": Bar(0.5, 0.2),
    "closed circuit breaker, with, against purgatory": Bar(0.5, 0.4),
    "closed circuit breaker, async with, against purgatory": Bar(0.5, 0.4),
    "1,000 concurrent asyncio tasks": Bar(1.5, 1.3),
    "8 threads": Bar(1.4, 1.3),
    "scrape, text, 1k children": Bar(0.05, 0.03),
    "scrape, OpenMetrics, 1k children": Bar(0.05, 0.03),
    "scrape, text, 10k children": Bar(0.05, 0.03),
    "scrape, OpenMetrics, 10k children": Bar(0.05, 0.03),
    "worst stall of a call in a 10k scrape": Bar(10, 5, "ms"),
    "one sweep of the collectors": Bar(2, 1.5, "ms"),  # CPU time of all of them, on a host of a few cores, disks and mounts
    "memory a child": Bar(0.30, 0.15),
    "import agentgauge": Bar(0.7, 0.5),
    "drain of a full buffer": Bar(50, None, "ms"),
    "lost of 8 threads' calls": Bar(0, None, "calls"),
    "memory that 8 threads add": Bar(32, None, "MiB"),  # the hard limit's worth of records, twice
    # A Predict and its LM call: most of it goes into caches that DSPy's own work has cooled, three times what it costs in a loop.
    "DSPy Predict, metrics only": Bar(0.30, 0.15),
    "process(), against asyncio's own pieces": Bar(2.0, 1.5),
    "health probe beside 32 busy threads, p99": Bar(1000, 300, "ms"),  # the kubelet waits for a second unless told otherwise
    "age of the heartbeat beside them, p99": Bar(15_000, 10_000, "ms"),  # half of what a probe bears: six intervals of 5 s
    "a million records, against two lists": Bar(5.0, 3.0),
    "a million records of now, against two lists and the clock": Bar(5.0, 3.0),
    "a million records, 1 % of them late, against two lists": Bar(10.0, 5.0),  # what is late is sorted in
    "samples of calls": Bar(1, None, "%"),
    "samples of folding": Bar(1, None, "%"),
    "samples of spans": Bar(1, None, "%"),
    "the demo with everything on": Bar(5, None, "%"),
}
