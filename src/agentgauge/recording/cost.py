"""What recording costs while it goes on, estimated from samples that themselves cost less than 1 % of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agentgauge.recording.call_wrapper import NAMESPACE, wrap_call
from agentgauge.recording.recorder import Recorder
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import Site
from agentgauge.recording.tracing import span_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RecordingCost"]

_CALLS_A_SAMPLE = 100
_CALLS_BETWEEN_SAMPLES = 50_000


class RecordingCost:
    """Adds what recording calls and their spans cost to ``recorder``'s overhead, whenever somebody looks.

    A call costs what one of a function that does nothing costs, decorated and without a span, timed anew now and then; spans are
    timed one by one, a few of them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._seconds_a_call = 0.0
        self.forget()
        recorder.dependents.add(self)

    def forget(self) -> None:
        """Start anew with the recorder."""
        self._lock = threading.Lock()
        self._calls = 0
        self._next_sample = 0
        self._span_seconds = span_seconds()

    def note(self) -> None:
        """Add what was spent since the last time."""
        if not self._lock.acquire(blocking=False):  # another scrape is at it
            return
        try:
            calls, before = self._recorder.recorded, self._calls
            self._calls = calls
            if calls >= self._next_sample and calls > before:
                self._next_sample = calls + _CALLS_BETWEEN_SAMPLES
                self._seconds_a_call = _seconds_a_call()
            self._recorder.note_overhead("recording", (calls - before) * self._seconds_a_call)
            spent, self._span_seconds = span_seconds() - self._span_seconds, span_seconds()
            self._recorder.note_overhead("spans", max(spent, 0.0))
        finally:
            self._lock.release()


class _NoProvider:
    """Stands for the module that holds the tracer provider: these calls must make no spans."""

    _TRACER_PROVIDER = None


def _seconds_a_call() -> float:
    def nothing() -> None:
        pass

    recorder = Recorder()
    site = Site(SeriesKind.TASK, "nothing", None, None, recorder)
    recorded = wrap_call(nothing, site, is_coroutine=False, namespace={**NAMESPACE, "provider_cell": _NoProvider})
    recorded()  # finds its target
    # The least of three: whatever else the machine does only adds.
    return max(0.0, min(_timed(recorded) for _ in range(3)) - min(_timed(nothing) for _ in range(3)))


def _timed(function: Callable[[], None]) -> float:
    began = time.thread_time()
    for _ in range(_CALLS_A_SAMPLE):
        function()
    return (time.thread_time() - began) / _CALLS_A_SAMPLE
