"""A drain that is interrupted, by a signal or a garbage collection, neither deadlocks nor loses count."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time

import pytest
from prometheus_client import generate_latest

from agentgauge import catalogue, task
from agentgauge.recording import recorder as recorder_module
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.recorder import SOFT_LIMIT, Recorder
from agentgauge.recording.series import LmName, SeriesKind

COUNT = "agent_task_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
DROPPED = "agentgauge_events_dropped_total"
OVERFLOWED = "agentgauge_series_overflowed_total"


@pytest.fixture(autouse=True)
def _a_minutes_wait(monkeypatch):
    """Let whoever waits for the drain's lock in vain wait so long that no other delay is mistaken for it."""
    monkeypatch.setattr(recorder_module, "_LOCK_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(Recorder._hold_and, "__defaults__", (60.0,))


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

    assert time.monotonic() - began < 60
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
    gc.callbacks.append(collect)
    try:
        work()
        began = time.monotonic()
        fresh.recorder.drain()
    finally:
        gc.callbacks.remove(collect)

    assert time.monotonic() - began < 60
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
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert (result.returncode, result.stderr) == (0, "")


class StruckError(Exception):
    """What a signal handler raises."""


@pytest.fixture
def interrupt(fresh, monkeypatch):
    """Give a function that lets a drain be interrupted where it counts for the so-and-so-manieth time."""
    fold = fresh.recorder._fold_values

    def at(number):
        counts = iter(range(number + 1))

        def fold_or_raise(*values):
            if next(counts, None) == number:
                raise StruckError
            fold(*values)

        monkeypatch.setattr(fresh.recorder, "_fold_values", fold_or_raise)
        with pytest.raises(StruckError):
            fresh.recorder.drain()
        monkeypatch.undo()
        fresh.recorder.drain()

    return at


@pytest.mark.parametrize("number", [0, 1, 7, 30])
def test_an_interrupt_among_observations_costs_one_at_most(fresh, interrupt, number):
    for each in range(40):
        fresh.recorder.observe(catalogue.INSTRUMENTOR_CALLS, ((catalogue.INSTRUMENTOR, f"i{each % 10}"),), 1)

    interrupt(number)

    counted = sum(fresh.value("agentgauge_instrumentor_calls_total", instrumentor=f"i{each}") or 0 for each in range(10))
    assert 39 <= counted <= 40


@pytest.mark.parametrize("number", [0, 1, 5, 20])
def test_an_interrupt_among_answers_costs_sixty_four_at_most(fresh, interrupt, number):
    for each in range(450):
        call = LmCall(fresh.recorder, LmName("chat", "openai", f"m{each % 3}"), instrumentor="tests")
        call.note_answer(Answer(input_tokens=1, output_tokens=1))
        call.end()
    fresh.recorder.observations.clear()

    interrupt(number)

    counted = sum(
        fresh.value("agent_tokens_total", gen_ai_request_model=f"m{each}", gen_ai_token_type="input") or 0 for each in range(3)
    )
    assert 450 - 64 <= counted <= 450
