"""Who listens hears of every change, in order, outside all locks, and costs only itself."""

from __future__ import annotations

import threading
import time

import pytest

from agentgauge.breaker import CircuitBreaker
from agentgauge.errors import contained_errors
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker("search", minimum_calls=2, open_seconds=10, half_open_calls=1, clock=clock)


def fail(breaker, times=2):
    for _ in range(times):
        breaker.acquire().release(OSError("down"))


def test_a_listener_hears_what_changed_and_why(breaker, clock):
    heard = []
    before = time.time()
    breaker.add_listener(heard.append)
    fail(breaker)
    clock.advance(10)
    breaker.acquire().release()
    breaker.open()
    breaker.open()
    breaker.close()
    assert [(change.before, change.after, change.reason) for change in heard] == [
        ("closed", "open", "2 of 2 calls failed"),
        ("open", "half_open", "10 s are over"),
        ("half_open", "closed", "1 of 1 probes succeeded"),
        ("closed", "forced_open", "opened by hand"),
        ("forced_open", "closed", "closed by hand"),
    ]
    assert {change.breaker_name for change in heard} == {"search"}
    assert before <= heard[0].at <= heard[-1].at <= time.time()


def test_slow_calls_are_named_as_the_reason(clock):
    breaker = CircuitBreaker("slow", slow_call_seconds=1.5, minimum_calls=1, clock=clock)
    heard = []
    breaker.add_listener(heard.append)
    with breaker:
        clock.advance(2)
    assert [change.reason for change in heard] == ["1 of 1 calls took longer than 1.5 s"]


def test_a_listener_that_fails_costs_neither_the_call_nor_the_other_listeners(breaker):
    heard = []

    def broken(change):
        raise RuntimeError("broken")

    breaker.add_listener(broken)
    breaker.add_listener(heard.append)
    before = contained_errors.count_by_hook.get("breaker_listener", 0)
    error = OSError("down")
    for _ in range(2):
        with pytest.raises(OSError, match="down"), breaker:
            raise error
    assert error.__context__ is None
    assert len(heard) == 1
    assert contained_errors.count_by_hook["breaker_listener"] == before + 1


def test_what_a_listener_does_with_the_breaker_is_told_after_what_it_heard(breaker):
    heard = []

    def hold_open(change):
        heard.append(("first", change.after))
        if change.after == "open":
            breaker.open()

    breaker.add_listener(hold_open)
    breaker.add_listener(lambda change: heard.append(("second", change.after)))
    fail(breaker)
    assert heard == [("first", "open"), ("second", "open"), ("first", "forced_open"), ("second", "forced_open")]


def test_a_listener_that_hangs_holds_up_only_who_called_it_and_what_comes_meanwhile_is_told_in_order(breaker):
    began, release = threading.Event(), threading.Event()
    heard = []

    def slow(change):
        began.set()
        assert release.wait(PATIENCE_SECONDS)
        heard.append(str(change.after))

    breaker.add_listener(slow)
    opening = threading.Thread(target=breaker.open)
    opening.start()
    assert began.wait(PATIENCE_SECONDS)
    breaker.close()
    fail(breaker)
    assert breaker.state == "open"
    assert heard == []
    release.set()
    opening.join()
    assert heard == ["forced_open", "closed", "open"]


def test_a_listener_hears_each_change_once_though_many_threads_make_calls(breaker):
    breaker.close()
    heard = []
    breaker.add_listener(lambda change: heard.append((str(change.before), str(change.after))))

    def calls():
        for _ in range(200):
            breaker.open()
            breaker.close()

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [("closed", "forced_open"), ("forced_open", "closed")] * (len(heard) // 2)
    assert breaker._circuit.take().counts.transitions["closed"] == len(heard) // 2


def test_an_interrupt_in_a_listener_reaches_the_program_and_the_rest_is_told_next(breaker):
    heard = []

    def interrupted(change):
        heard.append(str(change.after))
        if change.after == "forced_open":
            raise KeyboardInterrupt

    breaker.add_listener(interrupted)
    with pytest.raises(KeyboardInterrupt):
        breaker.open()
    breaker.close()
    assert heard == ["forced_open", "closed"]


def test_a_removed_listener_hears_no_more(breaker):
    heard = []
    breaker.add_listener(heard.append)
    breaker.add_listener(heard.append)  # once is enough
    breaker.open()
    breaker.remove_listener(heard.append)
    breaker.remove_listener(print)
    breaker.close()
    assert [change.after for change in heard] == ["forced_open"]
