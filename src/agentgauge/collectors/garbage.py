"""How long garbage collections stop the interpreter."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import machine
from agentgauge.collectors.histogram import Histogram, as_metric
from agentgauge.collectors.stamps import stamper

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric

__all__ = ["GarbagePauses"]

_MOST_NOTES = 8192  # of which a collection makes four: 2,000 collections between two folds, and about a megabyte


class GarbagePauses:
    """Notes when collections start and stop, and counts them when ``fold()`` is called; the children of a fork inherit nothing.

    What runs inside a collection takes no lock and no bytecode (see ``stamps``), so that it can neither wait, nor raise, nor
    swallow what a signal handler raises, and is as safe while the interpreter ends.
    """

    def __init__(self) -> None:
        """Begin to note."""
        self._series = [Histogram(machine.GC_PAUSE, {"generation": str(generation)}) for generation in range(len(gc.get_stats()))]
        self._folding = threading.Lock()  # never waited for
        self._started: float | None = None
        self._stopped: float | None = None
        self._log, self._hooks = _build_hooks()
        gc.callbacks.extend(self._hooks)
        _noting.add(self)

    def fold(self) -> None:
        """Count what was noted; where another thread is at it, leave it to that."""
        if not self._folding.acquire(blocking=False):
            return
        try:
            for _ in range(len(self._log)):
                self._take(self._log.popleft())
        finally:
            self._folding.release()

    def _take(self, note: Any) -> None:
        if isinstance(note, dict):  # what gc tells its callbacks, each time after the moment
            if self._stopped is not None and self._started is not None:
                self._series[note["generation"]].observe(self._stopped - self._started)
                self._started = None
            self._stopped = None
        else:
            phase, moment = note
            if phase == "start":
                self._started = moment
            else:
                self._stopped = moment

    def read(self) -> Metric:
        """Show what was counted, by generation."""
        self.fold()
        return as_metric(machine.GC_PAUSE, self._series)

    def close(self) -> None:
        """Note no more."""
        _noting.discard(self)
        for hook in self._hooks:
            with suppress(ValueError):  # somebody else emptied the list
                gc.callbacks.remove(hook)
        self._log.clear()


def _build_hooks() -> tuple[deque[Any], tuple[Callable[..., object], ...]]:
    """Build two callbacks of gc that append the moment, and then what gc says of the collection, to one deque.

    gc calls each as ``hook(phase, info)``. So the first reads the attribute of the phase's name, a property that stamps; the
    second sets it, which appends.
    """

    class Log(deque[Any]):
        pass

    log = Log(maxlen=_MOST_NOTES)
    for phase in ("start", "stop"):
        setattr(Log, phase, property(stamper(log.append, phase), deque.append))
    return log, (partial(getattr, log), partial(setattr, log))


_noting: weakref.WeakSet[GarbagePauses] = weakref.WeakSet()


def _close_in_child() -> None:
    for pauses in list(_noting):
        pauses.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
