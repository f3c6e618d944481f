"""What a breaker around a call does to the call: nothing."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import traceback
import types
import weakref

import cloudpickle
import pytest

from agentgauge.breaker import CircuitBreaker, CircuitOpenError, CountWindow, TimeWindow
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.testing import FakeClock

with pytest.MonkeyPatch.context() as environment:  # on no page of other tests
    environment.setenv("AGENTGAUGE_DISABLED", "true")
    module_breaker = CircuitBreaker("module", minimum_calls=1)


@module_breaker
def travels(value):
    return value + 1


@pytest.fixture(params=["plain", "timed", "half-open"])
def breaker(request):
    """Every way through: successes that are appended, calls that are timed, and probes."""
    clock = FakeClock()
    timed = {"slow_call_seconds": 5, "window": TimeWindow(10)} if request.param == "timed" else {}
    made = CircuitBreaker("calls", minimum_calls=1, open_seconds=1, half_open_calls=1, clock=clock, **timed)
    if request.param == "half-open":
        made.acquire().release(OSError("down"))
        clock.advance(1)
    return made


def kinds(breaker):
    return {kind: count for kind, count in breaker._circuit.take().counts.calls.items() if count}


def earlier(breaker):
    """What brought the breaker into its state is no part of a test."""
    kinds(breaker)


# --- results and errors ---------------------------------------------------------------------------------------------------


def test_a_decorated_function_gets_its_arguments_and_gives_its_result(breaker):
    @breaker
    def work(first, /, second, *rest, key, **more):
        return first, second, rest, key, more

    earlier(breaker)
    assert work(1, 2, 3, key=4, other=5) == (1, 2, (3,), 4, {"other": 5})
    assert kinds(breaker) == {"successful": 1}
    assert (work.__name__, str(inspect.signature(work))) == ("work", "(first, /, second, *rest, key, **more)")


async def test_a_decorated_coroutine_function_is_one_and_its_result_counts_when_it_is_there(breaker):
    @breaker
    async def work(value, fails=False):
        await asyncio.sleep(0)
        if fails:
            raise OSError("down")
        return value

    earlier(breaker)
    assert inspect.iscoroutinefunction(work)
    assert await work(3) == 3
    assert kinds(breaker) == {"successful": 1}
    with pytest.raises(OSError, match="down"):
        await work(3, fails=True)
    assert kinds(breaker) == {"failed": 1}
    assert breaker.state == "open"


class Raising:
    """One error through every form that a breaker has."""

    def __init__(self, breaker, error):
        self.breaker, self.error = breaker, error

    def inner(self):
        try:
            raise KeyError("first")
        except KeyError:
            raise self.error  # noqa: B904 - its context is what must stay as it is

    def function(self):
        self.breaker(self.inner)()

    def block(self):
        with self.breaker:
            self.inner()

    def generator(self):
        @self.breaker
        def items():
            yield 1
            self.inner()

        list(items())

    def coroutine(self):
        async def work():
            self.inner()

        drive(self.breaker(work)())

    def async_block(self):
        async def work():
            async with self.breaker:
                self.inner()

        drive(work())

    def async_generator(self):
        @self.breaker
        async def items():
            yield 1
            self.inner()

        async def work():
            async for _ in items():
                pass

        drive(work())


def drive(coroutine):
    """Run a coroutine that waits for nothing without an event loop, which would handle some errors itself."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


ERRORS = [OSError("down"), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), TimeoutError("late")]
FORMS = ["function", "block", "generator", "coroutine", "async_block", "async_generator"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_passes_unchanged_and_only_an_exception_counts(breaker, form, error):
    earlier(breaker)
    with pytest.raises(type(error)) as caught:
        getattr(Raising(breaker, error), form)()
    assert caught.value is error
    assert isinstance(error.__context__, KeyError)
    assert error.__context__.__context__ is None
    assert error.__cause__ is None
    assert not error.__suppress_context__
    assert kinds(breaker) == {"failed" if isinstance(error, Exception) else "cancelled": 1}
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames.count("inner") == 1
    error.__traceback__ = error.__context__ = None


@pytest.mark.parametrize("form", ["function", "block"])
def test_an_error_that_is_raised_while_another_is_handled_keeps_its_context(breaker, form):
    error = OSError("down")
    handled = ValueError("outer")
    try:
        raise handled
    except ValueError:
        with pytest.raises(OSError, match="down"):
            getattr(Raising(breaker, error), form)()
    assert error.__context__.__context__ is handled


def test_a_call_sees_no_error_of_ours_being_handled(breaker):
    seen = []
    breaker(lambda: seen.append(sys.exc_info()))()
    with breaker if breaker.state == "closed" else CircuitBreaker("another"):
        seen.append(sys.exc_info())
    assert seen == [(None, None, None)] * 2


def test_a_refusal_says_who_refused_and_when_to_try_again():
    clock = FakeClock()
    breaker = CircuitBreaker("search", minimum_calls=1, open_seconds=30, clock=clock)
    breaker.acquire().release(OSError("down"))
    clock.advance(18)
    ran = []

    @breaker
    def work():
        ran.append(1)

    with pytest.raises(CircuitOpenError, match=r"^circuit breaker 'search' is open: try again in 12 s$") as caught:
        work()
    assert (caught.value.breaker_name, caught.value.state, caught.value.retry_after_seconds) == ("search", "open", 12)
    assert caught.value.__context__ is None
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.breaker_name, copied.retry_after_seconds, str(copied)) == ("search", 12, str(caught.value))
    breaker.open()
    with pytest.raises(CircuitOpenError, match="is forced open: until it is closed by hand") as caught:
        work()
    assert caught.value.retry_after_seconds is None
    assert ran == []


@pytest.mark.parametrize("form", FORMS)
def test_an_open_circuit_lets_no_form_of_call_begin(form):
    breaker = CircuitBreaker("search")
    breaker.open()
    with pytest.raises(CircuitOpenError):
        getattr(Raising(breaker, AssertionError("it ran")), form)()


# --- generators -----------------------------------------------------------------------------------------------------------


def test_a_decorated_generator_takes_what_is_sent_and_thrown_and_returns(breaker):
    @breaker
    def talk():
        heard = []
        for _ in range(3):
            try:
                heard.append((yield len(heard)))
            except ValueError as error:
                heard.append(str(error))
        return heard

    earlier(breaker)
    assert inspect.isgeneratorfunction(talk)
    stream = talk()
    assert next(stream) == 0
    assert kinds(breaker) == {}  # the call lasts
    assert stream.send("a") == 1
    assert stream.throw(ValueError("b")) == 2
    with pytest.raises(StopIteration) as stop:
        stream.send("c")
    assert stop.value.value == ["a", "b", "c"]
    assert kinds(breaker) == {"successful": 1}


async def test_a_decorated_async_generator_takes_what_is_sent_and_thrown(breaker):
    @breaker
    async def talk():
        heard = []
        for _ in range(2):
            try:
                heard.append((yield heard))
            except ValueError as error:
                heard.append(str(error))

    earlier(breaker)
    assert inspect.isasyncgenfunction(talk)
    stream = talk()
    heard = await anext(stream)
    assert kinds(breaker) == {}
    await stream.asend("a")
    with pytest.raises(StopAsyncIteration):
        await stream.athrow(ValueError("b"))
    assert heard == ["a", "b"]
    assert kinds(breaker) == {"successful": 1}


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_stream_that_its_consumer_leaves_is_closed_at_once_and_says_nothing(breaker, swallows):
    closed = []

    @breaker
    def items():
        try:
            yield 1
        except GeneratorExit:
            if not swallows:
                raise
        finally:
            closed.append("sync")

    @breaker
    async def aitems():
        try:
            yield 1
        except GeneratorExit:
            if not swallows:
                raise
        finally:
            closed.append("async")

    earlier(breaker)
    stream = items()
    next(stream)
    stream.close()
    assert kinds(breaker) == {"cancelled": 1}
    astream = aitems()
    await anext(astream)
    await astream.aclose()
    assert kinds(breaker) == {"cancelled": 1}
    assert closed == ["sync", "async"]


def test_a_generator_that_never_began_is_no_call(breaker):
    earlier(breaker)
    stream = breaker(lambda: (yield))()
    stream.close()
    assert kinds(breaker) == {}


def test_a_stream_that_fails_in_the_middle_has_failed(breaker):
    @breaker
    def items():
        yield 1
        raise OSError("down")

    stream = items()
    assert next(stream) == 1
    with pytest.raises(OSError, match="down"):
        next(stream)
    assert breaker.state == "open"


async def test_the_time_of_a_stream_s_consumer_does_not_make_it_slow():
    clock = FakeClock()
    breaker = CircuitBreaker("stream", slow_call_seconds=2, window=CountWindow(1), minimum_calls=1, clock=clock)

    @breaker
    def items(seconds):
        for _ in range(3):
            clock.advance(seconds)
            yield 1

    @breaker
    async def aitems(seconds):
        for _ in range(3):
            clock.advance(seconds)
            yield 1

    for _ in items(0.5):
        clock.advance(10)
    async for _ in aitems(0.5):
        clock.advance(10)
    assert breaker.state == "closed"
    assert [_ async for _ in aitems(1)] == [1, 1, 1]
    assert breaker.state == "open"
    breaker.open()
    breaker.close()
    assert list(items(1)) == [1, 1, 1]
    assert breaker.state == "open"


def test_an_old_style_coroutine_stays_one(breaker):
    @breaker
    @types.coroutine
    def old():
        yield
        return 5

    async def work():
        return await old()

    assert asyncio.run(work()) == 5


# --- methods and other callables ------------------------------------------------------------------------------------------


def test_methods_of_every_kind_go_through_the_breaker(breaker):
    class Client:
        @breaker
        def method(self, value):
            return self, value

        @breaker
        @classmethod
        def of_class(cls):
            return cls

        @staticmethod
        @breaker
        def of_none(value):
            return value

        @property
        @breaker
        def shown(self):
            return 7

        __call__ = method

    earlier(breaker)
    client = Client()
    assert client.method(1) == (client, 1)
    assert client(2) == (client, 2)
    assert (client.of_class(), Client.of_none(3), client.shown) == (Client, 3, 7)
    assert kinds(breaker) == {"successful": 5}


async def test_objects_that_can_be_called_and_partials_are_told_by_what_they_are(breaker):
    class Async:
        async def __call__(self):
            raise OSError("down")

    async def fails(_):
        raise OSError("down")

    earlier(breaker)
    assert inspect.iscoroutinefunction(breaker(functools.partial(fails, 1)))
    with pytest.raises(OSError, match="down"):
        await breaker(Async())()
    assert kinds(breaker) == {"failed": 1}


@pytest.mark.parametrize("subject", [int, "text", None])
def test_what_is_no_function_cannot_be_decorated(subject):
    with pytest.raises(ConfigurationError, match=r"circuit breaker 'search': .* is no function"):
        CircuitBreaker("search")(subject)


def test_blocks_of_one_breaker_nest_and_interleave_as_the_program_likes():
    clock = FakeClock()
    timed = CircuitBreaker("timed", slow_call_seconds=5, clock=clock)
    other = CircuitBreaker("other")

    def block(*breakers):
        if breakers:
            with breakers[0]:
                yield from block(*breakers[1:])
        else:
            yield

    first = block(timed, other)
    next(first)  # began at once
    clock.advance(10)
    second = block(timed)
    next(second)
    assert list(second) == []
    assert list(first) == []  # not nested: it ends last
    assert timed._circuit.take().counts.slow == {"successful": 1, "failed": 0}

    third, fourth = block(timed), block(other)
    next(third), next(fourth)
    clock.advance(10)
    assert [*third, *fourth] == []
    assert timed._circuit.take().counts.slow == {"successful": 1, "failed": 0}
    assert kinds(other) == {"successful": 2}


async def test_blocks_in_many_tasks_end_each_by_itself():
    clock = FakeClock()
    breaker = CircuitBreaker("tasks", slow_call_seconds=5, clock=clock)
    events = [asyncio.Event() for _ in range(10)]

    async def work(event):
        async with breaker:
            await event.wait()

    tasks = []
    for event in events:
        tasks.append(asyncio.create_task(work(event)))
        await asyncio.sleep(0)
        clock.advance(1)
    for event, task in zip(events[::-1], tasks[::-1], strict=True):  # the last to begin ends first
        event.set()
        await task
    reading = breaker._circuit.take()
    assert (reading.counts.calls["successful"], reading.counts.slow["successful"]) == (10, 5)


def test_a_block_that_ends_in_another_context_than_it_began_in_costs_nobody_anything(breaker):
    import contextvars

    contextvars.copy_context().run(breaker.__enter__)
    breaker.__exit__(None, None, None)
    gc.collect()
    with breaker:
        pass


# --- at the end of the stack, and faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"slow_call_seconds": 5.0}, {"window": TimeWindow(5)}])
def test_a_full_stack_raises_what_it_raises_without_the_breaker(settings):
    breaker = CircuitBreaker("deep", failure_ratio=1.0, **settings)

    @breaker
    def deeper(depth):
        return deeper(depth + 1)

    before = dict(contained_errors.count_by_hook)
    for _ in range(3):
        with pytest.raises(RecursionError):
            deeper(0)
        breaker.close()
    assert contained_errors.count_by_hook.get("breaker") == before.get("breaker")
    assert breaker(len)("abc") == 3


def test_no_lock_is_held_during_a_call_nor_while_a_listener_or_a_condition_runs():
    answers = []

    def ask(*_):
        thread = threading.Thread(target=lambda: answers.append(breaker._circuit.take().state))
        thread.start()
        thread.join(60)
        return False

    breaker = CircuitBreaker("free", ignored=ask, minimum_calls=1)
    breaker.add_listener(ask)
    breaker(ask)()
    with pytest.raises(OSError, match="down"), breaker:
        raise OSError("down")
    assert answers == ["closed", "closed", "open"]


def test_a_clock_that_fails_costs_a_call_that_ends_nothing():
    times = iter((0.0, 1.0, 2.0))
    breaker = CircuitBreaker("clock", slow_call_seconds=5, clock=lambda: next(times))
    before = contained_errors.count_by_hook.get("breaker", 0)
    assert breaker(len)("a") == 1
    assert breaker(len)("a") == 1
    assert contained_errors.count_by_hook["breaker"] == before + 1


def test_a_call_keeps_nothing_alive(breaker, no_collections):
    class Thing:
        pass

    @breaker
    async def work(thing):
        del thing
        await asyncio.sleep(0)
        return reference() is None

    @breaker
    def items(thing):
        del thing
        yield reference() is None

    thing = Thing()
    reference = weakref.ref(thing)
    coroutine = work(thing)
    del thing
    assert asyncio.run(coroutine)
    thing = Thing()
    reference = weakref.ref(thing)
    stream = items(thing)
    del thing
    assert list(stream) == [True]


# --- copies ---------------------------------------------------------------------------------------------------------------


def test_a_decorated_function_of_a_module_pickles_by_name_and_deep_copies():
    assert pickle.loads(pickle.dumps(travels)) is travels
    assert copy.deepcopy(travels) is travels


def test_copies_of_what_holds_a_breaker_share_it():
    holder = {"breaker": CircuitBreaker("shared")}
    assert copy.deepcopy(holder)["breaker"] is holder["breaker"]
    assert copy.copy(holder["breaker"]) is holder["breaker"]


def test_a_refusal_shows_and_pickles_as_what_programs_import():
    error = CircuitOpenError("search", "open", 3.0)
    there = pickle.loads(pickle.dumps(error))
    assert f"{type(there).__module__}.{type(there).__qualname__}" == "agentgauge.breaker.CircuitOpenError"
    assert (str(there), vars(there)) == (str(error), vars(error))


def test_a_breaker_travels_with_its_settings_and_without_its_state():
    breaker = CircuitBreaker("far", minimum_calls=2, window=CountWindow(7), recorded=OSError)
    breaker.open()
    copied = pickle.loads(pickle.dumps(breaker))
    assert copied is not breaker
    assert (copied.state, breaker.state) == ("closed", "forced_open")
    assert copied._circuit.settings == breaker._circuit.settings


def test_a_decorated_function_travels_by_value_with_a_breaker_of_its_own():
    breaker = CircuitBreaker("far", minimum_calls=1)

    def fails():
        raise OSError("down")

    async def afails():
        raise OSError("down")

    protected, aprotected, there = cloudpickle.loads(cloudpickle.dumps((breaker(fails), breaker(afails), breaker)))
    with pytest.raises(OSError, match="down"):
        protected()
    assert (there.state, breaker.state) == ("open", "closed")
    with pytest.raises(CircuitOpenError):
        asyncio.run(aprotected())
