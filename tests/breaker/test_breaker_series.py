"""A breaker's counts and state as series."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import agentgauge.breaker.series as breaker_series
from agentgauge.breaker import CircuitBreaker, CircuitState, TimeWindow
from agentgauge.catalogue.reliability import BREAKER_CALL_KINDS, BREAKER_STATES
from agentgauge.errors import contained_errors
from agentgauge.testing import FakeClock, isolated

CALLS = "agent_circuit_breaker_calls_total"
STATE = "agent_circuit_breaker_state"
BUFFERED = "agent_circuit_breaker_buffered_calls"
TRANSITIONS = "agent_circuit_breaker_transitions_total"
REFUSED = "agent_circuit_breaker_not_permitted_calls_total"
SLOW = "agent_circuit_breaker_slow_calls_total"
FAILURES = "agent_circuit_breaker_failure_ratio"
SLOW_RATIO = "agent_circuit_breaker_slow_call_ratio"


@pytest.fixture(autouse=True)
def breakers_of_other_tests_are_gone():
    gc.collect()


@pytest.fixture
def clock():
    return FakeClock()


class Page:
    """The series of breakers, as one reading shows them."""

    def __init__(self, registry):
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in registry.collect()
            if family.name.startswith("agent_circuit_breaker")
            for sample in family.samples
        }

    def value(self, metric, breaker="search", **labels):
        return self.samples.get((metric, frozenset({"circuit_breaker": breaker, **labels}.items())))

    def state(self, breaker="search"):
        held = [state for state in BREAKER_STATES if self.value(STATE, breaker, **{STATE: state}) == 1]
        assert len(held) <= 1
        return held[0] if held else None

    def counts(self, metric, label, breaker="search"):
        values = {
            dict(labels)[label]: value
            for (name, labels), value in self.samples.items()
            if name == metric and ("circuit_breaker", breaker) in labels
        }
        return {key: value for key, value in values.items() if value}


def test_a_new_breaker_shows_zeros_so_that_a_rate_sees_its_first_call(fresh):
    breaker = CircuitBreaker("search")
    page = Page(fresh.registry)
    assert {kind: page.value(CALLS, kind=kind) for kind in BREAKER_CALL_KINDS} == dict.fromkeys(BREAKER_CALL_KINDS, 0)
    assert {state: page.value(TRANSITIONS, state=state) for state in BREAKER_STATES} == dict.fromkeys(BREAKER_STATES, 0)
    assert [page.value(SLOW, kind=kind) for kind in ("successful", "failed")] == [0, 0]
    assert page.value(REFUSED) == 0
    assert [page.value(BUFFERED, kind=kind) for kind in ("successful", "failed")] == [0, 0]
    assert (page.state(), page.value(FAILURES), page.value(SLOW_RATIO)) == ("closed", None, None)
    assert breaker.state == "closed"


def test_the_states_of_the_series_are_those_of_the_breaker():
    assert tuple(CircuitState) == BREAKER_STATES


def test_calls_are_shown_by_how_they_ended_whichever_way_they_were_made(fresh, clock):
    breaker = CircuitBreaker("search", ignored=KeyError, slow_call_seconds=1, slow_call_ratio=0.5, minimum_calls=9, clock=clock)
    late = breaker.acquire()
    for error in (OSError(), KeyError(), KeyboardInterrupt(), None, None, None):
        breaker.acquire().release(error)
    for error, number in ((None, 2), (OSError(), 1)):
        for _ in range(number):
            permit = breaker.acquire()
            clock.advance(2)
            permit.release(error)
    breaker(len)("abc")
    with breaker:
        pass
    page = Page(fresh.registry)
    assert page.counts(CALLS, "kind") == {"successful": 7, "failed": 2, "ignored": 1, "cancelled": 1}
    assert page.counts(SLOW, "kind") == {"successful": 2, "failed": 1}
    assert page.counts(BUFFERED, "kind") == {"successful": 7, "failed": 2}
    assert page.value(FAILURES) == pytest.approx(2 / 9)
    assert page.value(SLOW_RATIO) == pytest.approx(3 / 9)
    breaker.open()
    for _ in range(3):
        with pytest.raises(Exception, match="forced open"):
            breaker.acquire()
    late.release()
    breaker.close()
    page = Page(fresh.registry)
    assert page.counts(CALLS, "kind") == {"successful": 7, "failed": 2, "ignored": 1, "cancelled": 1, "late": 1}
    assert page.value(REFUSED) == 3
    assert page.counts(TRANSITIONS, "state") == {"forced_open": 1, "closed": 1}
    assert page.counts(BUFFERED, "kind") == {}
    assert page.value(FAILURES) is None


def test_an_open_circuit_shows_what_opened_it_until_it_is_half_open(fresh, clock):
    breaker = CircuitBreaker("search", minimum_calls=4, open_seconds=10, half_open_calls=2, clock=clock)
    heard = []
    breaker.add_listener(lambda change: heard.append(str(change.after)))
    for error in (None, OSError(), OSError(), OSError()):
        breaker.acquire().release(error)
    page = Page(fresh.registry)
    assert (page.state(), page.value(FAILURES), page.counts(BUFFERED, "kind")) == ("open", 0.75, {"successful": 1, "failed": 3})
    clock.advance(10)
    page = Page(fresh.registry)  # nobody has called since
    assert (page.state(), page.value(FAILURES), page.counts(BUFFERED, "kind")) == ("half_open", None, {})
    assert page.counts(TRANSITIONS, "state") == {"open": 1, "half_open": 1}
    assert heard == ["open"]  # a page calls no listener
    breaker.acquire().release()
    assert heard == ["open", "half_open"]
    assert Page(fresh.registry).counts(BUFFERED, "kind") == {"successful": 1}


def test_calls_leave_a_window_of_time_though_nobody_calls(fresh, clock):
    breaker = CircuitBreaker("search", window=TimeWindow(10), minimum_calls=2, failure_ratio=1.0, clock=clock)
    for error in (None, OSError()):
        breaker.acquire().release(error)
    assert Page(fresh.registry).value(FAILURES) == 0.5
    clock.advance(10)
    page = Page(fresh.registry)
    assert (page.value(FAILURES), page.counts(BUFFERED, "kind"), page.counts(CALLS, "kind")) == (
        None,
        {},
        {"successful": 1, "failed": 1},
    )


def test_a_breaker_that_is_thrown_away_is_counted_to_the_end_and_its_gauges_go(fresh):
    breaker = CircuitBreaker("search", minimum_calls=1)
    assert Page(fresh.registry).state() == "closed"
    work = breaker(len)
    del breaker
    gc.collect()
    work("abc")  # whatever is decorated keeps it
    assert Page(fresh.registry).counts(CALLS, "kind") == {"successful": 1}
    work("abc")
    del work
    gc.collect()
    page = Page(fresh.registry)
    assert page.counts(CALLS, "kind") == {"successful": 2}
    assert (page.state(), page.value(BUFFERED, kind="successful"), page.value(FAILURES)) == (None, None, None)
    CircuitBreaker("search").acquire().release()
    gc.collect()
    assert Page(fresh.registry).counts(CALLS, "kind") == {"successful": 3}


def test_breakers_that_come_and_go_are_not_kept_though_nobody_reads(fresh):
    for _ in range(50):
        CircuitBreaker("search").acquire().release()
    gc.collect()
    CircuitBreaker("search")
    gc.collect()
    assert sum(tally.name == "search" for tally in breaker_series._series._tallies.values()) <= 2
    assert Page(fresh.registry).counts(CALLS, "kind") == {"successful": 50}


def test_a_breaker_goes_although_what_it_was_told_of_holds_it(fresh):
    def make():
        breaker = CircuitBreaker("search", ignored=lambda error: error is breaker, clock=lambda: 0.0 if breaker else 1.0)
        breaker.add_listener(lambda change: breaker.close())
        breaker.acquire().release()
        assert Page(fresh.registry).state() == "closed"
        return weakref.ref(breaker)

    reference = make()
    gc.collect()
    assert reference() is None
    page = Page(fresh.registry)
    assert (page.state(), page.counts(CALLS, "kind")) == (None, {"successful": 1})


def test_a_call_under_way_keeps_its_breaker_and_is_counted(fresh):
    permit = CircuitBreaker("search").acquire()
    stream = CircuitBreaker("search")(lambda: (yield))()
    next(stream)
    gc.collect()
    permit.release()
    stream.close()
    assert Page(fresh.registry).counts(CALLS, "kind") == {"successful": 1, "cancelled": 1}


def test_breakers_of_one_name_add_up_and_show_the_state_that_lets_the_fewest_through(fresh):
    first, second = CircuitBreaker("search", minimum_calls=2), CircuitBreaker("search", minimum_calls=2)
    other = CircuitBreaker("other")
    for breaker, errors in ((first, (None, None, OSError())), (second, (None,)), (other, (None,))):
        for error in errors:
            breaker.acquire().release(error)
    page = Page(fresh.registry)
    assert page.counts(CALLS, "kind") == {"successful": 3, "failed": 1}
    assert page.counts(BUFFERED, "kind") == {"successful": 3, "failed": 1}
    assert page.value(FAILURES) == pytest.approx(1 / 3)  # of those that have calls enough
    assert page.state() == "closed"
    second.open()
    assert (Page(fresh.registry).state(), first.state) == ("forced_open", "closed")
    del second, breaker
    gc.collect()
    page = Page(fresh.registry)
    assert (page.state(), page.counts(TRANSITIONS, "state")) == ("closed", {"forced_open": 1})
    assert Page(fresh.registry).counts(CALLS, "kind", "other") == {"successful": 1}


def test_a_recorder_that_starts_anew_shows_a_breaker_from_zero(clock):
    breaker = CircuitBreaker("search", minimum_calls=1, clock=clock)
    breaker.acquire().release()
    with isolated() as fresh:
        breaker.acquire().release()
        page = Page(fresh.registry)
        assert page.counts(CALLS, "kind") == {"successful": 1}
        assert page.value(CALLS, kind="late") == 0
        breaker.acquire().release(OSError())
        breaker.acquire().release(OSError())
    with isolated() as fresh:
        page = Page(fresh.registry)
        assert page.counts(CALLS, "kind") == {}
        assert page.state() == "open"  # what it knows it keeps


def test_a_clock_that_fails_hides_one_breaker_and_no_other(fresh):
    times = iter([1.0])
    broken = CircuitBreaker("broken", clock=lambda: next(times))
    breaker = CircuitBreaker("search")
    before = contained_errors.count_by_hook.get("breaker_series", 0)
    assert Page(fresh.registry).state("broken") == "closed"
    assert Page(fresh.registry).state("search") == "closed"
    assert contained_errors.count_by_hook["breaker_series"] == before + 1
    assert (repr(broken), repr(breaker)) == ("CircuitBreaker('broken')", "CircuitBreaker('search')")


def test_a_disabled_agentgauge_protects_all_the_same_and_shows_nothing(fresh, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    breaker = CircuitBreaker("disabled", minimum_calls=1)
    breaker.acquire().release(OSError())
    assert breaker.state == "open"
    other = CircuitBreaker("disabled")
    del other
    page = Page(fresh.registry)
    assert (page.value(REFUSED, "disabled"), page.state("disabled")) == (None, None)


def test_pages_in_many_threads_show_each_call_once(fresh):
    breaker = CircuitBreaker("search")
    done = threading.Event()

    def read():
        while not done.is_set():
            Page(fresh.registry)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    work = breaker(len)
    for _ in range(3000):
        work("abc")
    done.set()
    for reader in readers:
        reader.join()
    assert Page(fresh.registry).counts(CALLS, "kind") == {"successful": 3000}


def test_what_was_forgotten_of_a_breaker_before_it_was_collected_is_not_stated_anew():
    with isolated():
        breaker = CircuitBreaker("of an earlier time")
        breaker(lambda: None)()
    with isolated() as later:
        del breaker
        gc.collect()
        CircuitBreaker("another")
        labels = {"circuit_breaker": "of an earlier time"}
        assert later.value("agent_circuit_breaker_not_permitted_calls_total", **labels) is None
