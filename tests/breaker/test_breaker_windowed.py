"""When a closed circuit opens, and what makes it: ratios, the minimum of calls, slow calls, both windows, errors that count."""

from __future__ import annotations

import contextlib
import threading

import pytest

from agentgauge.breaker import CircuitBreaker, CircuitOpenError, CountWindow, TimeWindow
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.testing import FakeClock

OK, BAD = None, OSError("down")


def end(breaker, *errors):
    """End calls one after the other; return the states that the circuit was in after each."""
    states = []
    for error in errors:
        breaker.acquire().release(error)
        states.append(str(breaker.state))
        if states[-1] == "open":
            break
    return states


@pytest.mark.parametrize(
    ("settings", "errors", "opens_with"),
    [
        ({"minimum_calls": 4}, [BAD, BAD, BAD, BAD], 4),  # not before there are enough
        ({"minimum_calls": 4}, [BAD, BAD, OK, OK], 4),  # a success may be the one that makes them enough
        ({"minimum_calls": 4}, [BAD, OK, OK, OK, BAD, BAD], 6),  # 3 of 6
        ({"minimum_calls": 2, "failure_ratio": 1.0}, [BAD, OK] * 10, None),
        ({"minimum_calls": 1, "failure_ratio": 0.1, "window": CountWindow(10)}, [OK] * 9 + [BAD], 10),
        ({"minimum_calls": 1, "failure_ratio": 0.1, "window": CountWindow(11)}, [OK] * 11 + [BAD], None),
        ({"minimum_calls": 4, "window": CountWindow(4)}, [BAD, OK, OK, OK, OK, BAD, OK], None),  # the first has left
        ({"minimum_calls": 4, "window": CountWindow(4)}, [BAD, OK, OK, OK, BAD, OK, BAD], 7),
        ({"minimum_calls": 100}, [OK] * 1000 + [BAD] * 49, None),
        ({"minimum_calls": 100}, [OK] * 1000 + [BAD] * 50, 1050),
    ],
)
def test_a_circuit_opens_with_the_call_that_makes_its_window_bad(settings, errors, opens_with):
    breaker = CircuitBreaker("window", **settings)
    states = end(breaker, *errors)
    assert (len(states) if states[-1] == "open" else None) == opens_with


def test_calls_leave_a_window_of_time_with_their_second():
    clock = FakeClock(100.9)
    breaker = CircuitBreaker("time", window=TimeWindow(10), minimum_calls=3, clock=clock)
    end(breaker, BAD, BAD)
    clock.now = 110.0
    assert end(breaker, BAD) == ["closed"]  # the first two were of second 100
    clock.now = 119.9
    assert end(breaker, BAD, BAD) == ["closed", "open"]


def test_in_a_window_of_time_a_success_opens_the_circuit_when_others_have_left():
    clock = FakeClock(100)
    breaker = CircuitBreaker("time", window=TimeWindow(10), minimum_calls=3, clock=clock)
    assert end(breaker, OK, OK, OK, OK) == ["closed"] * 4
    clock.advance(9)
    assert end(breaker, BAD, BAD) == ["closed"] * 2
    clock.advance(1)
    assert end(breaker, OK) == ["open"]


def test_slow_calls_open_a_circuit_whether_they_fail_or_not():
    clock = FakeClock()
    breaker = CircuitBreaker(
        "slow", failure_ratio=1.0, slow_call_ratio=0.5, slow_call_seconds=2, minimum_calls=4, open_seconds=1, clock=clock
    )
    for seconds, error in ((2.0, OK), (2.0, OK), (2.1, OK), (3, BAD)):
        permit = breaker.acquire()
        clock.advance(seconds)
        assert breaker.state == "closed"
        permit.release(error)
    assert breaker.state == "open"
    assert breaker._circuit.take().counts.slow == {"successful": 1, "failed": 1}


def test_a_release_may_say_how_long_the_call_took():
    breaker = CircuitBreaker("slow", slow_call_seconds=2, minimum_calls=1)
    breaker.acquire().release(seconds=1.9)
    assert breaker.state == "closed"
    breaker.close()
    for _ in range(20):
        breaker.acquire().release(seconds=2.1)
    assert breaker._circuit.take().counts.slow["successful"] == 20


@pytest.mark.parametrize("first", [OK, BAD, KeyboardInterrupt()])
@pytest.mark.parametrize("is_probe", [False, True])
def test_a_permit_is_settled_by_its_first_release_alone(first, is_probe):
    clock = FakeClock()
    breaker = CircuitBreaker("once", minimum_calls=1, open_seconds=1, half_open_calls=5, clock=clock)
    if is_probe:
        end(breaker, BAD)
        clock.advance(1)
    permit = breaker.acquire()
    breaker._circuit.take()
    permit.release(first)
    permit.release(BAD)
    permit.release()
    assert sum(breaker._circuit.take().counts.calls.values()) == 1


class ApiError(Exception):
    def __init__(self, status):
        super().__init__(status)
        self.status = status


@pytest.mark.parametrize(
    ("settings", "error", "kind"),
    [
        ({}, OSError(), "failed"),
        ({}, TimeoutError(), "failed"),
        ({"ignored": OSError}, ConnectionError(), "ignored"),
        ({"ignored": (KeyError, OSError)}, OSError(), "ignored"),
        ({"ignored": lambda error: error.status < 500}, ApiError(404), "ignored"),
        ({"ignored": lambda error: error.status < 500}, ApiError(503), "failed"),
        ({"recorded": (OSError, TimeoutError)}, ValueError(), "successful"),
        ({"recorded": (OSError, TimeoutError)}, TimeoutError(), "failed"),
        ({"recorded": lambda error: error.status >= 500}, ApiError(503), "failed"),
        ({"recorded": lambda error: error.status >= 500}, ApiError(404), "successful"),
        ({"recorded": OSError, "ignored": ConnectionError}, ConnectionError(), "ignored"),
        ({"recorded": BaseException}, KeyboardInterrupt(), "cancelled"),
        ({}, BaseExceptionGroup("several", [KeyboardInterrupt()]), "cancelled"),
        ({}, ExceptionGroup("several", [OSError()]), "failed"),
    ],
)
def test_which_errors_count_as_what_is_for_the_program_to_say(settings, error, kind):
    breaker = CircuitBreaker("errors", minimum_calls=1, **settings)
    breaker.acquire().release(error)
    assert {kind: 1} == {kind: count for kind, count in breaker._circuit.take().counts.calls.items() if count}
    assert breaker.state == ("open" if kind == "failed" else "closed")


def test_a_condition_that_fails_means_no_error_and_is_counted():
    breaker = CircuitBreaker("errors", minimum_calls=1, ignored=lambda error: error.status)
    before = contained_errors.count_by_hook.get("breaker_condition", 0)
    with pytest.raises(OSError, match="down") as caught, breaker:
        raise OSError("down")
    assert caught.value.__context__ is None
    assert contained_errors.count_by_hook["breaker_condition"] == before + 1
    assert breaker.state == "open"


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_a_circuit_that_was_opened_by_hand_stays_open_until_it_is_closed():
    clock = FakeClock()
    breaker = CircuitBreaker("hand", open_seconds=1, clock=clock)
    breaker.open()
    clock.advance(86_400)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    assert breaker.state == "forced_open"
    breaker.close()
    breaker.acquire().release()
    assert breaker.state == "closed"


def test_closing_an_open_circuit_begins_with_an_empty_window():
    breaker = CircuitBreaker("hand", minimum_calls=2)
    end(breaker, BAD, BAD)
    breaker.close()
    assert end(breaker, BAD) == ["closed"]
    breaker.close()  # changes nothing
    assert end(breaker, BAD) == ["open"]


def test_an_open_circuit_can_be_opened_for_good():
    clock = FakeClock()
    breaker = CircuitBreaker("hand", minimum_calls=1, open_seconds=1, clock=clock)
    end(breaker, BAD)
    breaker.open()
    clock.advance(10)
    assert breaker.state == "forced_open"


# --- many threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"window": TimeWindow(60)}, {"slow_call_seconds": 1000.0}])
def test_of_calls_in_many_threads_each_is_counted_once(settings):
    breaker = CircuitBreaker("threads", failure_ratio=1.0, **settings)
    begin = threading.Barrier(8)

    @breaker
    def work(number):
        if number % 100 == 0:
            raise OSError("down")

    def calls():
        begin.wait(60)
        for number in range(2000):
            with contextlib.suppress(OSError):
                work(number)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    taken = [breaker._circuit.take() for _ in range(50)]
    for thread in threads:
        thread.join()
    taken.append(breaker._circuit.take())
    assert sum(reading.counts.calls["successful"] for reading in taken) == 8 * 1980
    assert sum(reading.counts.calls["failed"] for reading in taken) == 8 * 20
    assert len(breaker._circuit.pending) == 0


# --- settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": " "}, "name=' ': give a name such as 'search'"),
        ({"failure_ratio": 0}, "failure_ratio=0: give a share above 0 and up to 1"),
        ({"failure_ratio": 50}, "failure_ratio=50: give a share"),
        ({"slow_call_ratio": -1}, "slow_call_ratio=-1: give a share"),
        ({"slow_call_seconds": 0}, "slow_call_seconds=0: give a number of seconds"),
        ({"window": 100}, r"window=100: give CountWindow\(100\) or TimeWindow\(60\)"),
        ({"minimum_calls": 0}, "minimum_calls=0: give a whole number from 1 on"),
        ({"minimum_calls": 11, "window": CountWindow(10)}, r"minimum_calls=11: CountWindow\(calls=10\) never holds so many"),
        ({"open_seconds": 0}, "open_seconds=0: give a number of seconds above 0"),
        ({"half_open_calls": 1.5}, "half_open_calls=1.5: give a whole number"),
        ({"half_open_calls": 10**9}, "half_open_calls=1000000000: give at most"),
        ({"probe_seconds": -1}, "probe_seconds=-1: give a number of seconds"),
        ({"ignored": "KeyError"}, "ignored='KeyError': give types of exceptions"),
        ({"recorded": b"KeyError"}, "recorded=b'KeyError': give types of exceptions"),
        ({"ignored": (KeyError, "ValueError")}, "ignored='ValueError': give types of exceptions"),
        ({"ignored": (int,)}, "ignored=<class 'int'>: give types of exceptions"),
        ({"recorded": ()}, "no error would ever count"),
        ({"recorded": 5}, "recorded=5: give types of exceptions"),
        ({"clock": 5}, "clock=5: give a function"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        CircuitBreaker(**{"name": "search", **settings})


async def test_a_coroutine_function_tells_nothing_of_an_error():
    async def ask(error):
        return True

    with pytest.raises(ConfigurationError, match=r"ignored=.*give types of exceptions, or plain functions"):
        CircuitBreaker("search", ignored=ask)
    with pytest.raises(ConfigurationError, match=r"listener=.*give a plain function of one Transition"):
        CircuitBreaker("search").add_listener(ask)


@pytest.mark.parametrize(
    "make", [lambda: CountWindow(0), lambda: CountWindow(10**7), lambda: TimeWindow(0.5), lambda: TimeWindow(10**6)]
)
def test_a_window_that_cannot_be_is_refused(make):
    with pytest.raises(ConfigurationError, match=r"^(calls|seconds)="):
        make()
