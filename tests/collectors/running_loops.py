"""Event loops that run beside a test, and what the collector of their lag says."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agentgauge.collectors.event_loops import EventLoops
from agentgauge.testing import FakeClock


def lag(loops):
    """The histogram's samples: ``{"count": 2, "sum": 0.1, "0.5": 2, ...}``; empty where it is absent."""
    samples = [sample for metric in loops.read_lag() for sample in metric.samples]
    return {sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value for sample in samples}


def stall(loops):
    values = [reading.value for reading in loops.read_stall()]
    assert len(values) <= 1
    return values[0] if values else None


def wait_until(is_true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


class Running:
    """A loop that runs in a thread of its own until the block ends."""

    def __init__(self, loop_factory=None, *, debug=False):
        self._options = {"loop_factory": loop_factory, "debug": debug}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.loop = None
        self._end = None

    def _run(self):
        with asyncio.Runner(**self._options) as runner:
            runner.run(self._main())

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._ready.set()
        await self._end.wait()

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception):
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self.loop = None

    def block(self):
        """Hold the loop up until what is returned is called."""
        blocked, release = threading.Event(), threading.Event()

        def hold():
            blocked.set()
            release.wait()

        self.loop.call_soon_threadsafe(hold)
        blocked.wait()
        return release.set


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def loops(clock):
    return EventLoops(clock)


def settle(loops):
    wait_until(lambda: loops.read_lag() is not None and all(w.posted is None for w in loops._watched.values()))
