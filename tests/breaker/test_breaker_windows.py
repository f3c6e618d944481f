"""The sums that a window keeps are those of the calls in it, however they came."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.breaker.windows import FAILED, SLOW, CallRing, SecondRing

MARKS = (0, FAILED, SLOW, FAILED | SLOW)


def sums(calls):
    return len(calls), sum(bool(marks & FAILED) for marks in calls), sum(bool(marks & SLOW) for marks in calls)


@given(size=st.integers(1, 12), steps=st.lists(st.one_of(st.sampled_from(MARKS), st.integers(1, 14).map(str)), max_size=40))
def test_a_window_of_calls_has_the_sums_of_its_last_calls(size, steps):
    window, calls = CallRing(size), []
    for step in steps:
        if isinstance(step, str):  # so many successes at once
            window.add_successes(int(step))
            calls += [0] * int(step)
        else:
            window.add(step, 0.0)
            calls.append(step)
        assert (window.total, window.failed, window.slow) == sums(calls[-size:])


@given(
    size=st.integers(1, 6),
    steps=st.lists(
        st.tuples(
            st.sampled_from((0.0, 0.25, 1.0, 2.5, 7.0)), st.one_of(st.sampled_from(MARKS), st.lists(st.floats(0, 1), min_size=1))
        ),
        max_size=40,
    ),
)
def test_a_window_of_time_has_the_sums_of_the_calls_of_its_last_seconds(size, steps):
    window, calls, now = SecondRing(size), [], 100.0
    for wait, step in steps:
        began, now = now, now + wait
        if isinstance(step, list):  # successes that ended at any time since
            times = [began + part * wait for part in step]
            window.add_successes_at(times)
            calls += [(at, 0) for at in times]
        else:
            window.add(step, now)
            calls.append((now, step))
        window.advance(now)
        held = [marks for at, marks in calls if math.floor(at) > math.floor(now) - size]
        assert (window.total, window.failed, window.slow) == sums(held)


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("count", range(1, 8))
def test_successes_push_out_as_many_of_the_oldest_calls_wherever_the_ring_stands(first, count):
    window, calls = CallRing(5), [0] * first + [FAILED | SLOW] * 5
    for marks in calls:
        window.add(marks, 0.0)
    window.add_successes(count)
    assert (window.total, window.failed, window.slow) == sums([*calls, *[0] * count][-5:])


def test_a_window_of_time_takes_place_for_seconds_with_calls_alone():
    window = SecondRing(3600)
    for at in (1.0, 1.5, 500.0, 501.0):
        window.add(FAILED, at)
    assert len(window._seconds) == 3


@pytest.mark.parametrize("late", [99.0, 90.0])
def test_a_call_that_another_thread_overtook_counts_with_the_newest_second(late):
    window = SecondRing(5)
    window.add(0, 100.0)
    window.add(FAILED, late)
    window.advance(104.9)
    assert (window.total, window.failed) == (2, 1)
    window.advance(105.0)
    assert (window.total, window.failed) == (0, 0)
