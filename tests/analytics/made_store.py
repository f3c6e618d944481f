"""A history in memory that a test fills, breaks and mends."""

from __future__ import annotations

from agentgauge.errors import HistoryError


class MadeStore:
    """Keeps sweeps, unless it is told what is wrong with it."""

    def __init__(self):
        self.sweeps = []
        self.points = []
        self.set_aside = []
        self.wrong: Exception | None = None
        self.is_closed = False

    def write(self, at, samples):
        if self.is_closed:
            raise HistoryError("it is closed")
        if self.wrong is not None:
            raise self.wrong
        self.sweeps.append((at, {(name, labels): value for name, labels, value in samples}))

    def write_points(self, metric, labels, times, values):
        if self.is_closed:
            raise HistoryError("it is closed")
        if self.wrong is not None:
            raise self.wrong
        self.points += [(metric, dict(labels), at, value) for at, value in zip(times, values, strict=True)]

    @property
    def times(self):
        return [at for at, _ in self.sweeps]

    def last_sweep(self):
        return max(self.times, default=None)

    def begin_anew(self, what):
        self.set_aside.append((what, self.times))
        self.sweeps = []

    def close(self):
        self.is_closed = True
