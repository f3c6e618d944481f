"""What a million records of ``BaseAnalytics`` cost with retention by age and by count, beside appending to two lists.

All take turns on CPU time; the median counts. What is kept at the end is looked at inside the window.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from typing import TYPE_CHECKING

from agentgauge.analytics.base import BaseAnalytics
from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rows import Effort

__all__ = ["NAMES", "SUITES"]

_IN_ORDER = "a million records, against two lists"
_NOW = "a million records of now, against two lists and the clock"
_LATE = "a million records, 1 % of them late, against two lists"
NAMES = (_IN_ORDER, _NOW, _LATE)
_RECORDS = 1_000_000
_KEPT = 10_000


def _append(times: Sequence[float], values: Sequence[float]) -> None:
    held_times: list[float] = []
    held_values: list[float] = []
    for at, value in zip(times, values, strict=True):
        held_times.append(at)
        held_values.append(value)


def _append_now(_times: Sequence[float], values: Sequence[float]) -> None:
    held_times: list[float] = []
    held_values: list[float] = []
    for value in values:
        held_times.append(time.time())
        held_values.append(value)


def _record(times: Sequence[float], values: Sequence[float]) -> None:
    analytics = _fresh()
    for at, value in zip(times, values, strict=True):
        analytics.record_metric("latency", value, at)
    _check(analytics)


def _record_now(_times: Sequence[float], values: Sequence[float]) -> None:
    analytics = _fresh()
    for value in values:
        analytics.record_metric("latency", value)
    _check(analytics)


def _fresh() -> BaseAnalytics:
    analytics = BaseAnalytics("bench")
    analytics.set_retention_policy(50 * 365 * 86_400.0, _KEPT)
    return analytics


def _check(analytics: BaseAnalytics) -> None:
    if len(analytics.points("latency")) != _KEPT or analytics.refused():
        raise RuntimeError("not what was recorded is kept")


def _subjects(values: Sequence[float]) -> dict[str, tuple[Callable[..., None], Callable[..., None], Sequence[float]]]:
    chance = random.Random(1)
    times = [1.7e9 + number for number in range(len(values))]
    late = [at - chance.uniform(0, 1000) if chance.random() < 0.01 else at for at in times]
    return {
        _IN_ORDER: (_append, _record, times),
        _NOW: (_append_now, _record_now, times),
        _LATE: (_append, _record, late),
    }


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    values = [float(number) for number in range(_RECORDS)]
    rows = []
    for name, (reference, ours, times) in _subjects(values).items():
        if name not in names:
            continue
        spent: dict[Callable[..., None], list[float]] = {reference: [], ours: []}
        for _ in range(effort.trials):
            for run, samples in spent.items():
                gc.collect()
                began = time.process_time()
                run(times, values)
                samples.append((time.process_time() - began) / _RECORDS * 1e9)
        own, lists = statistics.median(spent[ours]), statistics.median(spent[reference])
        rows.append(Row(name, own / lists, own, lists, "ns", "two appends"))
    return rows


SUITES = (Suite(NAMES, _measure),)
