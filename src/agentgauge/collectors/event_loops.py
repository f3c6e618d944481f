"""How late the event loops of asyncio come to what is due; no code of the program's needs to know of it.

Twice a second a probe, a callback that notes the moment, is put into every loop that runs; a loop that is held up has not come to
its probe yet. Loops are found on the stacks of threads, in the functions of asyncio that run them: ``BaseEventLoop.run_forever``,
and ``asyncio.Runner`` (which ``asyncio.run`` uses) for loops that are written in C, as uvloop's are.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import machine
from agentgauge.collectors.histogram import Histogram, as_metric
from agentgauge.collectors.readings import Reading
from agentgauge.collectors.stamps import stamper

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from prometheus_client.core import Metric

__all__ = ["EventLoops"]

_MOST_LOOPS = 64
_MOST_LOOK_FRAMES = 2000  # a millisecond or so; the other threads have their turn at the next probes
_DEEPEST_LOOK_FRAMES = 256  # a loop under more is found when it has come back from there


class _Watched:
    """A loop, the probe that is on its way to it, and the moments at which probes arrived."""

    __slots__ = ("arrivals", "loop", "posted", "reference", "stamp", "was_late_seconds")

    def __init__(self, loop: AbstractEventLoop, clock: Callable[[], float]) -> None:
        self.reference = weakref.ref(loop)
        self.posted: float | None = None
        self.was_late_seconds = 0.0
        self.arrivals: deque[tuple[str, float]] = deque()
        self.stamp = stamper(self.arrivals.append, "arrived", clock)

    def is_running(self) -> bool:
        loop = self.reference()
        return loop is not None and loop.is_running()

    def post(self, due: float, now: float) -> None:
        """Put a probe into the loop, at ``due`` unless a C function kept the GIL meanwhile."""
        loop = self.reference()
        if loop is not None:
            self.was_late_seconds = max(0.0, now - due)
            self.posted = now
            loop.call_soon_threadsafe(self.stamp, None)

    def settle(self) -> float | None:
        """Give the lag of the probe that has arrived since the last time, in seconds."""
        if self.posted is None or not self.arrivals:
            return None
        lag = self.age(self.arrivals.popleft()[1])
        self.posted = None
        return lag

    def age(self, now: float) -> float:
        posted = self.posted  # another thread may settle it meanwhile
        return 0.0 if posted is None else max(self.was_late_seconds, now - posted)


class EventLoops:
    """The lag of all loops that run in this process; ``probe()`` is for one thread.

    No loop is kept alive, and one that has stopped is forgotten. On an interpreter without a GIL none is found: the stacks of
    other threads cannot be read there.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Watch none yet.

        Args:
            clock: Seconds that never go back; it is called in the threads of the loops.
        """
        self._clock = clock
        self._watched: dict[int, _Watched] = {}
        self._lag = Histogram(machine.EVENT_LOOP_LAG, {})
        self._has_seen_loop = False
        self._without: set[int] = set()
        self._settling = threading.Lock()  # never waited for

    def probe(self, due: float) -> None:
        """Put a probe into every running loop that has come to its last one, and find loops that are new.

        Args:
            due: When this should have happened, by ``clock``.
        """
        self._settle()
        for key, watched in list(self._watched.items()):
            if not watched.is_running():
                del self._watched[key]
            elif watched.posted is None:
                self._post(key, watched, due)
        if not _has_gil():
            return
        known = {getattr(watched.reference(), "_thread_id", None) for watched in self._watched.values()}
        for loop in _find_running_loops(known, self._without):
            if id(loop) not in self._watched and len(self._watched) < _MOST_LOOPS:
                self._has_seen_loop = True
                self._watched[id(loop)] = watched = _Watched(loop, self._clock)
                self._post(id(loop), watched, self._clock())

    def _post(self, key: int, watched: _Watched, due: float) -> None:
        try:
            watched.post(due, self._clock())
        except Exception:  # noqa: BLE001 - it was closed this moment, or is a loop that knows no such call; one costs no other
            del self._watched[key]

    def _settle(self) -> None:
        if not self._settling.acquire(blocking=False):
            return  # another thread is at it
        try:
            for watched in list(self._watched.values()):
                lag = watched.settle()
                if lag is not None:
                    self._lag.observe(lag)
        finally:
            self._settling.release()

    def read_stall(self) -> Iterator[Reading]:
        """Tell how long the most belated loop has been held up by now; nothing where none runs."""
        self._settle()
        running = [watched for watched in list(self._watched.values()) if watched.is_running()]
        if running:
            now = self._clock()
            yield Reading(machine.EVENT_LOOP_STALL, max(watched.age(now) for watched in running), {})

    def read_lag(self) -> list[Metric]:
        """Show the lags of all loops so far; nothing in a program that has had none."""
        self._settle()
        return [as_metric(machine.EVENT_LOOP_LAG, [self._lag])] if self._has_seen_loop else []


def _has_gil() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _find_running_loops(known_threads: set[int | None], without: set[int]) -> list[AbstractEventLoop]:
    """Find loops in threads, a bounded part of them at a time.

    Args:
        known_threads: Those whose loops are known.
        without: Those that were found to run none since all were looked at; kept up here.
    """
    asyncio = sys.modules.get("asyncio")
    base, runners = sys.modules.get("asyncio.base_events"), sys.modules.get("asyncio.runners")
    if asyncio is None or base is None or runners is None:
        return []
    codes = (base.BaseEventLoop.run_forever.__code__, runners.Runner.run.__code__)
    # What other threads leave meanwhile would end in this one: no function that may give the GIL away is called until all frames
    # are let go.
    found = []
    looked_at = 0
    frames = sys._current_frames()  # noqa: SLF001 - documented; there is no other way to see what runs in another thread
    for thread in without.union(known_threads):
        frames.pop(thread, None)  # type: ignore[arg-type] # of a loop that knows no thread it is None
    while frames and looked_at < _MOST_LOOK_FRAMES:
        thread, frame = frames.popitem()
        loop, depth = _find_loop(frame, codes, _DEEPEST_LOOK_FRAMES)
        del frame
        looked_at += depth
        if loop is None:
            without.add(thread)
        else:
            found.append(loop)
    if not frames:
        without.clear()
    del frames
    return [loop for loop in found if loop.is_running() and loop not in _inherited]


def _find_loop(top: FrameType, codes: tuple[CodeType, CodeType], depth: int) -> tuple[AbstractEventLoop | None, int]:
    """Find the loop that a stack runs, and tell how many frames were looked at."""
    run_forever, run = codes
    frame: FrameType | None = top
    looked_at = 0
    while frame is not None and looked_at < depth:
        looked_at += 1
        code = frame.f_code
        if code is run_forever or code is run:  # no other frame's variables are looked at: that could prolong their lives
            found: Any = frame.f_locals.get("self")
            return (found if code is run_forever else getattr(found, "_loop", None)), looked_at
        frame = frame.f_back
    return None, looked_at


_inherited: weakref.WeakSet[AbstractEventLoop] = weakref.WeakSet()


def _note_inherited_loop() -> None:
    """Remember, in a forked child, the loop that runs further down the stack: it is the parent's and comes to nothing here."""
    base, runners = sys.modules.get("asyncio.base_events"), sys.modules.get("asyncio.runners")
    if base is not None and runners is not None:
        codes = (base.BaseEventLoop.run_forever.__code__, runners.Runner.run.__code__)
        loop, _ = _find_loop(sys._getframe(), codes, sys.maxsize)  # noqa: SLF001 - the stack that was forked
        if loop is not None:
            _inherited.add(loop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_inherited_loop)
