"""A half-open circuit: exactly so many probes at a time, their results decide, and nothing locks it for ever."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import pytest

from agentgauge.breaker import CircuitBreaker, CircuitOpenError
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0
CALLERS = 20


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def breaker(clock):
    """One that is due to be half-open, and lets three through."""
    made = CircuitBreaker("half", minimum_calls=2, open_seconds=10, half_open_calls=3, probe_seconds=60, clock=clock)
    trip(made)
    clock.advance(10)
    return made


def trip(breaker):
    for _ in range(2):
        breaker.acquire().release(OSError("down"))
    assert breaker._circuit.closed is None


def kinds(breaker):
    return {kind: count for kind, count in breaker._circuit.take().counts.calls.items() if count}


def refused(breaker):
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    return caught.value


# --- twenty at once -------------------------------------------------------------------------------------------------------


def many_threads(breaker, call):
    """Let twenty threads call at once; those let through wait until every caller has had its answer."""
    everybody = threading.Barrier(CALLERS)
    answered = threading.Semaphore(0)
    go_on = threading.Event()
    ran, turned_away = [], []

    def work(number):
        ran.append(number)
        answered.release()
        assert go_on.wait(PATIENCE_SECONDS)

    def caller(number):
        everybody.wait(PATIENCE_SECONDS)
        try:
            call(breaker, work, number)
        except CircuitOpenError:
            turned_away.append(number)
            answered.release()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for _ in range(CALLERS):
        assert answered.acquire(timeout=PATIENCE_SECONDS)
    go_on.set()
    for thread in threads:
        thread.join()
    return ran, turned_away


def by_decorator(breaker, work, number):
    breaker(work)(number)


def by_block(breaker, work, number):
    with breaker:
        work(number)


def by_permit(breaker, work, number):
    permit = breaker.acquire()
    work(number)
    permit.release()


def by_generator(breaker, work, number):
    @breaker
    def items():
        yield work(number)

    assert list(items()) == [None]


@pytest.mark.parametrize("call", [by_decorator, by_block, by_permit, by_generator])
def test_of_twenty_threads_at_once_exactly_three_run_and_their_results_close_it(breaker, call):
    ran, turned_away = many_threads(breaker, call)
    assert (len(ran), len(turned_away)) == (3, 17)
    assert breaker.state == "closed"


async def test_of_twenty_tasks_at_once_exactly_three_run_and_their_results_close_it(breaker):
    go_on, ran = asyncio.Event(), []

    @breaker
    async def work(number):
        ran.append(number)
        await go_on.wait()

    @breaker
    async def stream(number):
        ran.append(number)
        await go_on.wait()
        yield number

    async def by_block(number):
        async with breaker:
            ran.append(number)
            await go_on.wait()

    async def by_stream(number):
        async for _ in stream(number):
            pass

    ways = (work, by_block, by_stream)
    tasks = [asyncio.create_task(ways[number % 3](number)) for number in range(CALLERS)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert sum(task.done() for task in tasks) == CALLERS - 3
    assert len(ran) == 3
    assert all(isinstance(task.exception(), CircuitOpenError) for task in tasks if task.done())
    go_on.set()
    await asyncio.wait(tasks)
    assert len(ran) == 3
    assert breaker.state == "closed"


def test_while_results_come_in_no_more_are_let_through_than_are_to_decide(breaker):
    first, second = breaker.acquire(), breaker.acquire()
    first.release()
    third = breaker.acquire()
    assert refused(breaker).state == "half_open"
    second.release()
    assert refused(breaker).state == "half_open"  # two results and one under way
    third.release()
    assert breaker.state == "closed"


# --- what their results decide --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "state"), [(0, "closed"), (1, "closed"), (2, "open"), (3, "open")])
def test_all_probes_are_waited_for_and_the_failure_ratio_decides(breaker, failures, state):
    permits = [breaker.acquire() for _ in range(3)]
    for number, permit in enumerate(permits):
        assert breaker.state == "half_open"
        permit.release(OSError("down") if number < failures else None)
    assert breaker.state == state


def test_slow_probes_open_it_again(clock):
    breaker = CircuitBreaker("slow", slow_call_seconds=1, minimum_calls=2, open_seconds=10, half_open_calls=2, clock=clock)
    trip(breaker)
    clock.advance(10)
    for _ in range(2):
        permit = breaker.acquire()
        clock.advance(1.5)
        permit.release()
    assert breaker.state == "open"


def test_a_circuit_that_opens_again_is_open_for_as_long_as_the_first_time(breaker, clock):
    for permit in [breaker.acquire() for _ in range(3)]:
        permit.release(OSError("down"))
    clock.advance(9.5)
    assert refused(breaker).retry_after_seconds == pytest.approx(0.5)
    clock.advance(0.5)
    assert breaker.state == "half_open"


def test_a_circuit_that_closed_begins_with_an_empty_window(breaker):
    for permit in [breaker.acquire() for _ in range(3)]:
        permit.release()
    breaker.acquire().release(OSError("down"))
    assert breaker.state == "closed"


# --- neutral, late and lost ones ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit(), SystemExit()])
def test_a_cancelled_probe_decides_nothing_and_frees_its_slot(breaker, error):
    for _ in range(5):
        permits = [breaker.acquire() for _ in range(3)]
        refused(breaker)
        for permit in permits:
            permit.release(error)
    assert breaker.state == "half_open"


async def test_a_cancelled_task_frees_its_slot(breaker):
    @breaker
    async def hang():
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(hang()) for _ in range(3)]
    await asyncio.sleep(0)
    refused(breaker)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    breaker.acquire().release()
    refused(breaker)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_probe_under_a_time_out_of_its_caller_frees_its_slot(breaker):
    @breaker
    async def hang():
        await asyncio.Event().wait()

    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await hang()
    assert breaker.state == "half_open"
    assert len([breaker.acquire() for _ in range(3)]) == 3


def test_an_ignored_error_of_a_probe_frees_its_slot(clock):
    breaker = CircuitBreaker("ignoring", minimum_calls=2, half_open_calls=1, open_seconds=10, ignored=KeyError, clock=clock)
    trip(breaker)
    clock.advance(10)
    for _ in range(3):
        breaker.acquire().release(KeyError("no"))
    assert breaker.state == "half_open"
    breaker.acquire().release()
    assert breaker.state == "closed"


def test_a_probe_that_is_thrown_away_frees_its_slot(breaker):
    permits = [breaker.acquire() for _ in range(3)]
    refused(breaker)
    del permits[0]
    gc.collect()
    permits.append(breaker.acquire())
    refused(breaker)


def test_a_generator_that_is_left_in_the_middle_frees_its_slot(breaker):
    @breaker
    def items():
        yield 1
        yield 2

    streams = [items() for _ in range(3)]
    assert [next(stream) for stream in streams] == [1, 1, 1]
    refused(breaker)
    del streams[0]
    gc.collect()
    assert next(items()) == 1


def test_a_probe_that_does_not_come_back_gives_its_slot_to_another_after_a_while(breaker, clock):
    lost = [breaker.acquire() for _ in range(3)]
    clock.advance(59.5)
    assert refused(breaker).retry_after_seconds == pytest.approx(0.5)
    clock.advance(0.5)
    fresh = [breaker.acquire() for _ in range(3)]
    assert refused(breaker).retry_after_seconds == pytest.approx(10)
    for permit in fresh:
        permit.release()
    assert breaker.state == "closed"
    for permit in lost:
        permit.release(OSError("down"))
    assert breaker.state == "closed"
    assert breaker._circuit.take().counts.calls["late"] == 3


def test_calls_that_always_take_longer_than_a_slot_lasts_still_close_it(breaker, clock):
    slow = [breaker.acquire() for _ in range(3)]
    clock.advance(61)
    slower = [breaker.acquire() for _ in range(3)]
    for permit in slow:
        assert breaker.state == "half_open"
        permit.release()
    assert breaker.state == "closed"
    for permit in slower:
        permit.release(OSError("down"))
    assert breaker._circuit.take().total == 0


def test_results_of_an_earlier_state_are_late_and_decide_nothing(clock):
    breaker = CircuitBreaker("late", minimum_calls=2, open_seconds=10, half_open_calls=1, clock=clock)
    early = [breaker.acquire() for _ in range(4)]
    trip(breaker)
    early.pop().release()
    clock.advance(10)
    early.pop().release(OSError("down"))
    assert breaker.state == "half_open"
    early.pop().release(OSError("down"))
    assert breaker.state == "half_open"
    breaker.acquire().release()
    early.pop().release(OSError("down"))
    reading = breaker._circuit.take()
    assert (reading.state, reading.total, reading.failed) == ("closed", 0, 0)
    assert reading.counts.calls == {"successful": 1, "failed": 2, "ignored": 0, "cancelled": 0, "late": 4}


def test_a_decorated_call_that_outlives_its_state_is_late(clock):
    breaker = CircuitBreaker("late", minimum_calls=2, open_seconds=10, clock=clock)

    @breaker
    def work(error):
        trip(breaker)
        breaker.close()
        if error is not None:
            raise error

    work(None)
    with pytest.raises(OSError, match="down"):
        work(OSError("down"))
    with breaker:
        trip(breaker)
        breaker.close()
    reading = breaker._circuit.take()
    assert (reading.counts.calls["late"], reading.counts.calls["successful"], reading.total) == (3, 0, 0)


# --- a breaker inside itself ----------------------------------------------------------------------------------------------


def block(breaker):
    """A block whose beginning and end are steps of their own."""
    with breaker:
        yield


@pytest.mark.parametrize("is_opened_by_hand", [True, False])
def test_blocks_that_outlive_their_state_are_told_from_those_that_began_after_it(clock, is_opened_by_hand):
    breaker = CircuitBreaker("late", minimum_calls=2, open_seconds=10, half_open_calls=1, clock=clock)
    early, later = [block(breaker) for _ in range(2)], [block(breaker) for _ in range(2)]
    for each in early:
        next(each)
    if is_opened_by_hand:
        breaker.open()
        breaker.close()
    else:
        trip(breaker)
        clock.advance(10)
        breaker.acquire().release()
    breaker._circuit.take()
    tasks = [contextvars.Context() for _ in later]
    for task, each in zip(tasks, later, strict=True):
        task.run(next, each)
    with pytest.raises(OSError, match="down"):
        early[0].throw(OSError("down"))
    assert list(early[1]) == []
    assert kinds(breaker) == {"late": 2}
    for task, each in zip(tasks, later, strict=True):
        with pytest.raises(OSError, match="down"):
            task.run(each.throw, OSError("down"))
    assert kinds(breaker) == {"failed": 2}
    assert breaker.state == "open"


def test_blocks_cost_no_more_again_when_those_of_the_earlier_state_have_ended(clock):
    breaker = CircuitBreaker("late", clock=clock)
    early = block(breaker)
    next(early)
    breaker.open()
    breaker.close()
    with breaker:
        assert breaker._circuit.plain is None
    list(early)
    breaker._circuit.take()
    with breaker:
        assert len(breaker._circuit.begun) == 1
    assert kinds(breaker) == {"successful": 1}


def test_what_a_probe_calls_through_the_same_breaker_is_a_part_of_it(clock):
    breaker = CircuitBreaker("nested", minimum_calls=2, open_seconds=10, half_open_calls=1, clock=clock)

    @breaker
    def fetch():
        refusals.append(in_another_thread(lambda: refused(breaker)))
        return "page"

    @breaker
    def search():
        with breaker:
            return fetch()

    trip(breaker)
    clock.advance(10)
    refusals = []
    assert search() == "page"
    assert refusals[0].state == "half_open"  # others are refused all the while
    assert breaker.state == "closed"
    assert breaker._circuit.take().counts.calls["successful"] == 3


def in_another_thread(function):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers[0]


async def test_what_a_probe_calls_is_a_part_of_it_in_coroutines_and_their_tasks_and_no_longer_than_it_lasts(clock):
    breaker = CircuitBreaker("nested", minimum_calls=2, open_seconds=10, half_open_calls=2, clock=clock)
    go_on = asyncio.Event()
    left_over = []

    @breaker
    async def fetch():
        return "page"

    async def later():
        await go_on.wait()
        return await fetch()

    @breaker
    async def search():
        left_over.append(asyncio.create_task(later()))
        return await asyncio.gather(*(fetch() for _ in range(5)))

    trip(breaker)
    clock.advance(10)
    assert await search() == ["page"] * 5
    assert breaker.state == "half_open"
    other = breaker.acquire()
    go_on.set()
    with pytest.raises(CircuitOpenError):
        await left_over[0]
    other.release()
    assert breaker.state == "closed"


async def test_what_a_generator_calls_within_a_step_is_a_part_of_it_and_what_its_consumer_calls_is_not(clock):
    breaker = CircuitBreaker("nested", minimum_calls=2, open_seconds=10, half_open_calls=1, clock=clock)

    @breaker
    def fetch():
        return "page"

    @breaker
    def items():
        yield fetch()
        yield fetch()

    @breaker
    async def aitems():
        yield fetch()
        yield fetch()

    trip(breaker)
    for consume in ("sync", "async"):
        clock.advance(10)
        stream = items() if consume == "sync" else aitems()
        for _ in range(2):
            item = next(stream) if consume == "sync" else await anext(stream)
            assert item == "page"
            with pytest.raises(CircuitOpenError):
                fetch()
        assert breaker.state == "half_open"
        if consume == "sync":
            assert list(stream) == []
        else:
            assert [item async for item in stream] == []
        assert breaker.state == "closed"
        trip(breaker)


def test_its_own_refusal_is_no_failure_of_what_it_protects_and_another_s_is():
    breaker = CircuitBreaker("outer", minimum_calls=1)
    other = CircuitBreaker("inner")
    other.open()

    @breaker
    def own():
        raise CircuitOpenError("outer", "open", 1.0)

    with pytest.raises(CircuitOpenError):
        own()
    assert breaker.state == "closed"
    with pytest.raises(CircuitOpenError):
        breaker(other(print))()
    assert breaker.state == "open"
