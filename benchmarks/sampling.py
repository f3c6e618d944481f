"""What the samples behind ``agentgauge_overhead_seconds_total`` cost, as shares of what they measure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import agentgauge
from agentgauge.recording import cost, recorder, tracing
from agentgauge.recording.default import default_recorder
from measure import Subject, measure
from rows import Row, Suite
from subjects import OurSeries, loop, work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["SUITES"]

_CALLS = "samples of calls"
_FOLDING = "samples of folding"
_SPANS = "samples of spans"
_SPAN_SECONDS = 10e-6  # less than any that is recorded and exported costs


def _fastest(act: Callable[[], object], times: int) -> float:
    """Return the CPU seconds of the fastest of so many times."""
    found = []
    for _ in range(times):
        began = time.process_time()
        act()
        found.append(time.process_time() - began)
    return min(found)


def _two_looks_at_the_clock() -> None:
    for _ in range(100):
        time.thread_time()
        time.thread_time()


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    call = agentgauge.task("work")(work)
    subject = Subject("calls", loop(call), OurSeries().settle)
    a_call = measure([subject], calls=effort.calls, rounds=effort.rounds)["calls"].best * 1e-9
    for value in range(recorder.SOFT_LIMIT):
        call(value)
    folding = _fastest(default_recorder().drain, 1)
    sample = _fastest(cost._seconds_a_call, effort.rounds)  # noqa: SLF001 - what is measured
    looks = _fastest(_two_looks_at_the_clock, effort.rounds) / 100
    shares = {
        _CALLS: sample / (cost._CALLS_BETWEEN_SAMPLES * a_call),  # noqa: SLF001
        _FOLDING: looks / (recorder._RELIEFS_A_SAMPLE * folding),  # noqa: SLF001
        _SPANS: 2 * looks / (tracing._SPANS_A_SAMPLE * _SPAN_SECONDS),  # noqa: SLF001
    }
    return [Row(name, share * 100, share * 100, None, "%") for name, share in shares.items() if name in names]


SUITES = (Suite((_CALLS, _FOLDING, _SPANS), _measure),)
