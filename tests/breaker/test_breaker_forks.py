"""A forked child keeps the state of a breaker, and nothing of what was under way in its parent."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback

import pytest

import agentgauge.breaker.series as breaker_series
from agentgauge.breaker import CircuitBreaker, CircuitOpenError
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on


def in_child(function):
    """Run ``function`` in a forked child; it must not raise."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture(autouse=True)
def breakers_of_other_tests_are_gone():
    gc.collect()


@pytest.fixture
def clock():
    return FakeClock()


def make(clock, **more):
    return CircuitBreaker("fork", **{"minimum_calls": 2, "open_seconds": 10, "half_open_calls": 1, "clock": clock, **more})


def fail(breaker, times=2):
    for _ in range(times):
        breaker.acquire().release(OSError("down"))


def test_a_child_keeps_the_state_and_counts_from_zero(fresh, clock):
    def value(metric, **labels):
        return fresh.value(f"agent_circuit_breaker_{metric}", circuit_breaker="fork", **labels)

    breaker = make(clock)
    breaker.acquire().release()
    fail(breaker, 1)

    def child():
        assert breaker.state == "open"
        with pytest.raises(CircuitOpenError) as caught:
            breaker.acquire()
        assert caught.value.retry_after_seconds == 10
        assert value("state", agent_circuit_breaker_state="open") == 1
        assert value("calls_total", kind="failed") == 0
        assert value("transitions_total", state="open") == 0
        assert value("not_permitted_calls_total") == 1
        clock.advance(10)
        breaker.acquire().release()
        assert value("calls_total", kind="successful") == 1
        assert breaker.state == "closed"

    in_child(child)
    assert breaker.state == "open"
    assert value("calls_total", kind="failed") == 1


def test_calls_under_way_at_the_fork_are_the_parent_s(fresh, clock):
    breaker = make(clock)
    permit = breaker.acquire()
    breaker(len)("abc")  # a success that waits to be counted

    def child():
        permit.release(OSError("down"))
        fail(breaker, 1)
        reading = breaker._circuit.take()
        assert (reading.total, {kind: count for kind, count in reading.counts.calls.items() if count}) == (1, {"failed": 1})

    with breaker:
        in_child(child)
    permit.release()
    assert breaker._circuit.take().counts.calls["successful"] == 3


def test_a_block_that_a_child_was_forked_in_ends_there_as_no_call_of_its_own(clock):
    breaker = make(clock)
    ended = []

    def end():
        breaker.__exit__(None, None, None)
        ended.append(breaker._circuit.take().counts.calls)
        assert not any(ended[0].values())

    with breaker:
        in_child(end)
    assert breaker._circuit.take().counts.calls["successful"] == 1


def test_probes_of_the_parent_hold_no_slots_in_the_child(clock):
    breaker = make(clock)
    fail(breaker)
    clock.advance(10)
    probe = breaker.acquire()

    def child():
        assert breaker.state == "half_open"
        own = breaker.acquire()
        probe.release(OSError("down"))
        assert breaker.state == "half_open"
        own.release()
        assert breaker.state == "closed"

    in_child(child)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    probe.release()
    assert breaker.state == "closed"


@pytest.mark.parametrize(("lock", "disabled"), [("circuit", "false"), ("circuit", "true"), ("series", "false")])
def test_a_child_does_not_wait_for_a_lock_that_a_thread_of_its_parent_held(fresh, clock, monkeypatch, lock, disabled):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", disabled)
    breaker = make(clock)
    held, release = threading.Event(), threading.Event()

    def stand():
        with breaker._circuit._lock if lock == "circuit" else breaker_series._series._lock:
            held.set()
            release.wait(PATIENCE_SECONDS)

    def child():
        breaker.open()
        assert breaker.state == "forced_open"
        shown = fresh.value("agent_circuit_breaker_state", circuit_breaker="fork", agent_circuit_breaker_state="forced_open")
        assert shown == (None if disabled == "true" else 1)
        assert make(clock).state == "closed"

    thread = threading.Thread(target=stand)
    thread.start()
    assert held.wait(PATIENCE_SECONDS)
    try:
        in_child(child)
    finally:
        release.set()
        thread.join()


def test_a_child_that_is_forked_while_a_listener_hangs_tells_its_own(clock):
    breaker = make(clock)
    began, release, parent, heard = threading.Event(), threading.Event(), os.getpid(), []

    def listener(change):
        heard.append(str(change.after))
        if os.getpid() == parent:
            began.set()
            release.wait(PATIENCE_SECONDS)

    breaker.add_listener(listener)
    thread = threading.Thread(target=breaker.open)
    thread.start()
    assert began.wait(PATIENCE_SECONDS)

    def child():
        breaker.close()
        assert heard == ["forced_open", "closed"]

    in_child(child)
    release.set()
    thread.join()


def test_a_listener_that_forks_leaves_two_processes_that_go_on(clock):
    breaker = make(clock)

    def listener(change):
        if change.after == "forced_open":
            children.append(os.fork())

    children = []
    breaker.add_listener(listener)
    breaker.open()
    if children == [0]:  # this is the child
        signal.alarm(60)
        status = 1
        try:
            breaker.close()
            breaker.acquire().release()
            assert breaker.state == "closed"
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(children[0], 0)[1] == 0
    assert breaker.state == "forced_open"


def test_breakers_of_a_child_s_child_count_from_zero_too(fresh, clock):
    breaker = make(clock)
    name, labels = "agent_circuit_breaker_calls_total", {"circuit_breaker": "fork", "kind": "successful"}

    def generation(depth):
        breaker.acquire().release()
        if depth:
            in_child(lambda: generation(depth - 1))
        assert fresh.value(name, **labels) == 1

    generation(2)
