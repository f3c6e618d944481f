"""A plain model of a circuit breaker, by what the documentation says: every call is kept, everything is counted anew."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Call:
    """A call that was let through."""

    began: float
    epoch: int
    is_probe: bool


@dataclass
class Model:
    """What a breaker of these settings must do."""

    failure_ratio: float
    slow_ratio: float
    slow_seconds: float | None
    calls_in_window: int | None
    seconds_in_window: int | None
    minimum: int
    open_seconds: float
    probes: int
    probe_seconds: float
    state: str = "closed"
    epoch: int = 0
    opened_at: float = 0.0
    ended: list[tuple[float, bool, bool]] = field(default_factory=list)
    running: list[Call] = field(default_factory=list)
    results: list[tuple[bool, bool]] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    slow: Counter = field(default_factory=Counter)
    refused: int = 0
    transitions: list[tuple[str, str]] = field(default_factory=list)

    def move(self, state: str, now: float) -> None:
        self.transitions.append((self.state, state))
        self.state = state
        self.epoch += 1
        self.opened_at = now
        if state == "closed":
            self.ended = []
        if state == "half_open":
            self.results = []

    def look(self, now: float) -> str:
        if self.state == "open" and now >= self.opened_at + self.open_seconds:
            self.move("half_open", now)
        return self.state

    def acquire(self, now: float) -> Call | None:
        self.look(now)
        if self.state == "half_open":
            under_way = [call for call in self.running if call.epoch == self.epoch and now - call.began < self.probe_seconds]
            is_admitted = len(under_way) + len(self.results) < self.probes
        else:
            is_admitted = self.state == "closed"
        if not is_admitted:
            self.refused += 1
            return None
        call = Call(now, self.epoch, self.state == "half_open")
        self.running.append(call)
        return call

    def release(self, call: Call, kind: str, now: float) -> None:
        self.running = [other for other in self.running if other is not call]
        if call.epoch != self.epoch:
            self.counts["late"] += 1
            return
        self.counts[kind] += 1
        if kind in {"ignored", "cancelled"}:
            return
        is_failed = kind == "failed"
        is_slow = self.slow_seconds is not None and now - call.began > self.slow_seconds
        self.slow[kind] += is_slow
        if call.is_probe:
            self.results.append((is_failed, is_slow))
            if len(self.results) == self.probes:
                self.move("open" if self.is_bad(self.results) else "closed", now)
            return
        self.ended.append((now, is_failed, is_slow))
        window = self.window(now)
        if len(window) >= self.minimum and self.is_bad(window):
            self.move("open", now)

    def window(self, now: float) -> list[tuple[bool, bool]]:
        if self.calls_in_window is not None:
            return [(failed, slow) for _, failed, slow in self.ended[-self.calls_in_window :]]
        oldest = math.floor(now) - self.seconds_in_window
        return [(failed, slow) for at, failed, slow in self.ended if math.floor(at) > oldest]

    def is_bad(self, calls: list[tuple[bool, bool]]) -> bool:
        failed = sum(failed for failed, _ in calls) / len(calls)
        slow = sum(slow for _, slow in calls) / len(calls)
        return failed >= self.failure_ratio or (self.slow_seconds is not None and slow >= self.slow_ratio)

    def drop(self, call: Call) -> None:
        self.running = [other for other in self.running if other is not call]

    def force(self, state: str, now: float) -> None:
        if self.state != state:
            self.move(state, now)
