"""A drain that is interrupted, by a signal or a garbage collection, neither deadlocks nor loses count."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time

import pytest
from prometheus_client import generate_latest

from agentgauge import task
from agentgauge.recording.recorder import SOFT_LIMIT
from agentgauge.recording.series import SeriesKind

COUNT = "agent_task_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
DROPPED = "agentgauge_events_dropped_total"
OVERFLOWED = "agentgauge_series_overflowed_total"


def interrupting(series, action, after=0):
    """Let ``action`` run in the middle of a drain, once: where the drain has looked so many times at the bounds of a series."""
    looks = iter(range(1_000_000))

    def look():
        if next(looks) == after:
            action()

    class Bounds(tuple):
        __slots__ = ()

        def __getitem__(self, index):
            look()
            return super().__getitem__(index)

        def __len__(self):
            look()
            return super().__len__()

    series.bounds = Bounds(series.bounds)


def test_a_scrape_from_a_signal_handler_in_the_middle_of_a_drain_does_not_deadlock(fresh):
    work = task("work")(lambda: 1)
    work()
    fresh.recorder.drain()
    pages = []

    def handle(signum, frame):
        work()
        pages.append(generate_latest(fresh.registry))

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        interrupting(fresh.recorder.series[SeriesKind.TASK]["", "work"], lambda: signal.raise_signal(signal.SIGUSR1))
        work()
        began = time.monotonic()
        fresh.recorder.drain()
    finally:
        signal.signal(signal.SIGUSR1, previous)

    assert time.monotonic() - began < 0.9
    assert len(pages) == 1
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 3


def test_a_scrape_from_a_garbage_collection_in_the_middle_of_a_drain_does_not_deadlock(fresh):
    work = task("work")(lambda: 1)
    work()
    fresh.recorder.drain()
    pages = []

    def collect(phase, info):
        if phase == "start" and not pages:
            pages.append(None)
            work()
            pages.append(generate_latest(fresh.registry))

    interrupting(fresh.recorder.series[SeriesKind.TASK]["", "work"], gc.collect)
    gc.freeze()  # what a long session has gathered takes a collection as long as a lock that is waited for in vain
    gc.callbacks.append(collect)
    try:
        work()
        began = time.monotonic()
        fresh.recorder.drain()
    finally:
        gc.callbacks.remove(collect)
        gc.unfreeze()

    assert time.monotonic() - began < 0.9
    assert len(pages) == 2
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 3


def call_often(work):
    for _ in range(SOFT_LIMIT + 10):
        work()


def test_a_call_that_an_interrupt_hits_while_it_relieves_ends_and_frees_the_lock(fresh):
    work = task("work")(lambda: 1)
    work()
    fresh.recorder.drain()

    def interrupt():
        raise KeyboardInterrupt

    interrupting(fresh.recorder.series[SeriesKind.TASK]["", "work"], interrupt)
    with pytest.raises(KeyboardInterrupt):
        call_often(work)

    assert not fresh.recorder._is_held_here()
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0
    assert fresh.value(COUNT, agent_task="work", outcome="cancelled") == 1
    recorded = fresh.value(RECORDED)
    work()
    assert fresh.value(RECORDED) == recorded + 1


def test_an_interrupted_drain_keeps_the_books_balanced(fresh):
    work = task("work")(lambda: 1)
    work()
    fresh.recorder.drain()
    for _ in range(1_000):
        work()

    def interrupt():
        raise KeyboardInterrupt

    interrupting(fresh.recorder.series[SeriesKind.TASK]["", "work"], interrupt, after=3)
    with pytest.raises(KeyboardInterrupt):
        fresh.recorder.drain()
    work()

    assert fresh.value(RECORDED) == 1_002
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 1_002


def test_what_is_recorded_never_goes_back_while_a_drain_runs(fresh):
    work = task("work")(lambda: 1)
    work()
    fresh.recorder.drain()
    for _ in range(100):
        work()
    seen = [fresh.recorder.recorded]
    interrupting(fresh.recorder.series[SeriesKind.TASK]["", "work"], lambda: seen.append(fresh.recorder.recorded))
    fresh.recorder.drain()

    assert seen == [101, 101]


def test_a_signal_handler_that_raises_in_the_middle_of_drains_leaves_the_lock_free():
    program = """
import signal, sys, time
from agentgauge import task
from agentgauge.recording.default import default_recorder

class Limit(BaseException): pass
def limit(*_): raise Limit
signal.signal(signal.SIGALRM, limit)

@task
def work(): pass

recorder = default_recorder()
interrupts = 0
while interrupts < 2000:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        while True:
            work(); recorder.drain()
    except Limit:
        interrupts += 1
        assert not recorder._is_held_here(), interrupts
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
