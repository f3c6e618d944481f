"""Circuit breakers as series: each circuit counts by itself, and what is new is stated when somebody reads.

A breaker that is thrown away is counted to the end, and its gauges go. Breakers of one name share their series: what they
counted is added up, and the state is the most closed to callers of them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from agentgauge.catalogue import reliability as families
from agentgauge.catalogue.family import BREAKER
from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import process_mark
from agentgauge.recording.cells import ABSENT
from agentgauge.recording.default import default_recorder
from agentgauge.recording.points import clean_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.breaker.breaker import CircuitBreaker
    from agentgauge.breaker.circuit import Circuit
    from agentgauge.breaker.endings import Counts, Reading, Tally
    from agentgauge.catalogue import Family
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder

__all__ = ["register"]

_GAUGES = (
    families.BREAKER_STATE,
    families.BREAKER_FAILURE_RATIO,
    families.BREAKER_SLOW_RATIO,
)
_BY_OPENNESS = ("closed", "half_open", "open", "forced_open")
_BUFFERED = ("successful", "failed")


class BreakerSeries:
    """All breakers of the process, and what was said of them; holds what they count, and nothing else of theirs."""

    def __init__(self) -> None:
        self._tallies: dict[weakref.ref[CircuitBreaker], Tally] = {}
        self._gone: deque[weakref.ref[CircuitBreaker]] = deque()
        self._shown: set[str] = set()
        self._lock = threading.RLock()
        self._process = process_mark()

    def register(self, breaker: CircuitBreaker) -> None:
        """Show a breaker, where it is to be shown, for as long as it is there; and let it go on in forked children."""
        tally = breaker._circuit.tally  # noqa: SLF001 - a part of it
        reference = weakref.ref(breaker, self._gone.append)  # the garbage collector calls it, and cannot wait for a lock
        with self._lock:
            self._tallies[reference] = tally
        if tally.is_shown:
            recorder = default_recorder()
            recorder.reporters.add(self)
            recorder.dependents.add(self)
            with self._lock:
                self._bury(recorder)

    def report(self, recorder: Recorder) -> None:
        """State what is new."""
        with self._lock:
            self._bury(recorder)
            for name, circuits in self._by_name().items():
                with contain_internal_errors("breaker_series"):  # a clock of the program's may fail, and the others go on
                    self._state(recorder, name, [circuit.take() for circuit in circuits])

    def forget(self) -> None:
        """Count from zero, as the recorder does."""
        if process_mark() != self._process:  # whoever held a lock is not here
            self.start_anew_in_child()
            return
        with self._lock:
            self._shown.clear()
            for circuit in self._circuits():
                with contain_internal_errors("breaker_series"):
                    circuit.take()

    def start_anew_in_child(self) -> None:
        """Take no lock that the parent held; once in a process."""
        if process_mark() == self._process:
            return
        self._process = process_mark()
        self._lock = threading.RLock()
        self._shown.clear()
        for tally in self._tallies.values():  # those of breakers that are gone, too
            tally.start_anew()
        for circuit in self._circuits():
            circuit.start_anew()

    # --- under the lock ---------------------------------------------------------------------------------------------------

    def _circuits(self) -> list[Circuit]:
        breakers = [reference() for reference in list(self._tallies)]
        return [breaker._circuit for breaker in breakers if breaker is not None]  # noqa: SLF001 - a part of it

    def _by_name(self) -> dict[str, list[Circuit]]:
        names: dict[str, list[Circuit]] = {}
        for circuit in self._circuits():
            if circuit.tally.is_shown:
                names.setdefault(clean_label(circuit.settings.name), []).append(circuit)
        return names

    def _bury(self, recorder: Recorder) -> None:
        """State the last of circuits whose breakers are gone, and take their gauges away unless another has the name."""
        gone = set()
        while self._gone:
            tally = self._tallies.pop(self._gone.popleft(), None)
            if tally is not None and tally.is_shown:
                name = clean_label(tally.name)
                gone.add(name)
                tally.count_pending()
                counts = tally.take()
                if name in self._shown or counts.has_any:  # not what the recorder forgot before it was collected
                    self._state_counts(recorder, name, counts)
        for name in gone.difference(self._by_name() if gone else ()):
            self._shown.discard(name)
            for family in _GAUGES:
                recorder.observe(family, _labels(name), ABSENT)
            for kind in _BUFFERED:
                recorder.observe(families.BREAKER_BUFFERED, _labels(name, kind=kind), ABSENT)

    def _state(self, recorder: Recorder, name: str, readings: list[Reading]) -> None:
        for reading in readings:
            self._state_counts(recorder, name, reading.counts)
        held = max((reading.state for reading in readings), key=_BY_OPENNESS.index)
        recorder.observe(families.BREAKER_STATE, _labels(name), families.BREAKER_STATES.index(held))
        failed, total = sum(reading.failed for reading in readings), sum(reading.total for reading in readings)
        recorder.observe(families.BREAKER_BUFFERED, _labels(name, kind="successful"), total - failed)
        recorder.observe(families.BREAKER_BUFFERED, _labels(name, kind="failed"), failed)
        judged = [reading for reading in readings if reading.is_judged]
        _observe_ratio(recorder, families.BREAKER_FAILURE_RATIO, name, ((reading.failed, reading.total) for reading in judged))
        _observe_ratio(recorder, families.BREAKER_SLOW_RATIO, name, ((reading.slow, reading.total) for reading in judged))

    def _state_counts(self, recorder: Recorder, name: str, counts: Counts) -> None:
        """State what is not zero, and from the first time on zeros too: a rate does not see a first call without one before."""
        is_new = name not in self._shown
        self._shown.add(name)
        stated: list[tuple[Family, Labels, int]] = [
            (family, _labels(name, **{label: value}), count)
            for family, label, table in (
                (families.BREAKER_CALLS, "kind", counts.calls),
                (families.BREAKER_SLOW_CALLS, "kind", counts.slow),
                (families.BREAKER_TRANSITIONS, "state", counts.transitions),
            )
            for value, count in table.items()
        ]
        for family, labels, count in (*stated, (families.BREAKER_NOT_PERMITTED, _labels(name), counts.refused)):
            if count or is_new:
                recorder.observe(family, labels, count)


def _labels(name: str, **more: str) -> Labels:
    return ((BREAKER, name), *more.items())


def _observe_ratio(recorder: Recorder, family: Family, name: str, parts: Iterable[tuple[int, int]]) -> None:
    counted = list(parts)
    total = sum(calls for _, calls in counted)
    recorder.observe(family, _labels(name), sum(part for part, _ in counted) / total if total else ABSENT)


_series = BreakerSeries()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_series.start_anew_in_child)


def register(breaker: CircuitBreaker) -> None:
    """Show a breaker as series, for as long as it is there, and renew its locks in forked children."""
    with contain_internal_errors("breaker_series"):
        _series.register(breaker)
