"""What a decorator must not change while it runs: exceptions, their contexts, arguments, memory."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import sys
import traceback
import weakref

import pytest
import wrapt

from agentgauge import agent, task, tool, workflow

DECORATORS = [agent, task, tool, workflow]


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """Keep what these tests record apart."""


# --- exceptions -----------------------------------------------------------------------------------------------------------


def raise_in_plain(error, cause=None):
    raise error from cause


async def raise_in_coroutine(error, cause=None):
    await asyncio.sleep(0)
    raise error from cause


def raise_in_generator(error, cause=None):
    yield 1
    raise error from cause


async def raise_in_async_generator(error, cause=None):
    yield 1
    raise error from cause


async def exhaust(result):
    if inspect.isasyncgen(result):
        return [item async for item in result]
    if inspect.isgenerator(result):
        return list(result)
    return await result if inspect.isawaitable(result) else result


RAISERS = [raise_in_plain, raise_in_coroutine, raise_in_generator, raise_in_async_generator]
ERRORS = [ValueError("bad"), TimeoutError(), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(2)]


async def caught_from(function, *args):
    try:
        await exhaust(function(*args))
    except BaseException as error:
        return error


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("raiser", RAISERS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_the_caller_gets_the_very_exception_with_its_frames_and_one_more_for_the_wrapper(decorator, raiser, error):
    def frames_of(exception):
        return [(frame.f_code.co_filename, frame.f_code.co_name) for frame, _ in traceback.walk_tb(exception.__traceback__)]

    error.__traceback__ = None
    bare = frames_of(await caught_from(raiser, error))
    error.__traceback__ = None
    caught = await caught_from(decorator(raiser), error)

    assert caught is error
    frames = frames_of(caught)
    assert [frame for frame in frames if frame in bare] == bare
    assert [name for file, name in frames if (file, name) not in bare] == ["wrapper"]


@pytest.mark.parametrize("raiser", RAISERS)
async def test_the_cause_and_context_of_an_exception_are_left_as_they_are(raiser):
    error, cause = ValueError("bad"), KeyError("why")

    caught = await caught_from(task(raiser), error, cause)

    assert caught.__cause__ is cause
    assert caught.__context__ is None
    assert not hasattr(caught, "__notes__")


@pytest.mark.parametrize("raiser", RAISERS)
async def test_an_exception_raised_while_another_is_handled_has_that_one_as_context(raiser):
    outer = KeyError("handled")
    error = ValueError("bad")
    try:
        raise outer
    except KeyError:
        caught = await caught_from(task(raiser), error)

    assert caught is error
    assert caught.__context__ is outer


@pytest.mark.parametrize("raiser", RAISERS)
async def test_a_fault_of_ours_while_an_exception_leaves_does_not_show_on_it(fresh, raiser):
    error = ValueError("bad")
    times = iter([1.0])
    fresh.recorder.clock = lambda: next(times)

    caught = await caught_from(task(raiser), error)

    assert caught is error
    assert caught.__context__ is None
    assert caught.__cause__ is None


def test_user_code_runs_outside_our_exception_handlers():
    @task
    def work():
        return sys.exc_info()[1]

    @task
    def generate():
        yield sys.exc_info()[1]
        try:
            yield 1
        except ValueError:
            yield sys.exc_info()[1].__context__

    assert work() is None
    generator = generate()
    assert next(generator) is None
    next(generator)
    assert generator.throw(ValueError()) is None


class Thing:
    pass


class CarryingError(Exception):
    """An exception whose end of life can be watched through what it carries."""

    def __init__(self, thing):
        super().__init__()
        self.thing = thing


def fail_in_plain(watch):
    raise watch()


async def fail_in_coroutine(watch):
    await asyncio.sleep(0)
    raise watch()


def fail_in_generator(watch):
    yield 1
    raise watch()


async def fail_in_async_generator(watch):
    yield 1
    raise watch()


def survive_in_generator():
    with contextlib.suppress(CarryingError):
        yield 1
    yield 2


async def survive_in_async_generator():
    with contextlib.suppress(CarryingError):
        yield 1
    yield 2


@pytest.fixture
def watched():
    """Give a function that makes an exception, and a list of weak references to what these carry; no cycle is collected."""
    references = []

    def make():
        thing = Thing()
        references.append(weakref.ref(thing))
        return CarryingError(thing)

    gc.collect()
    gc.disable()
    yield make, references
    gc.enable()


def bare(function):
    return function


@pytest.mark.parametrize("decorate", [bare, task, tool])
@pytest.mark.parametrize("failing", [fail_in_plain, fail_in_coroutine, fail_in_generator, fail_in_async_generator])
async def test_an_exception_that_was_caught_is_freed_without_the_garbage_collector(watched, decorate, failing):
    make, references = watched

    with contextlib.suppress(CarryingError):
        await exhaust(decorate(failing)(make))

    assert [reference() for reference in references] == [None]


@pytest.mark.parametrize("decorate", [bare, task, tool])
@pytest.mark.parametrize("surviving", [survive_in_generator, survive_in_async_generator])
async def test_an_exception_thrown_into_a_generator_is_freed_while_the_generator_lives(watched, decorate, surviving):
    make, references = watched
    generator = decorate(surviving)()

    if inspect.isgenerator(generator):
        next(generator)
        assert generator.throw(make()) == 2
    else:
        await anext(generator)
        assert await generator.athrow(make()) == 2

    assert [reference() for reference in references] == [None]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_generator_keeps_neither_its_arguments_nor_its_items_longer_than_it_wants(kind):
    @task
    def generate(thing):
        del thing
        yield Thing()
        yield None

    @task
    async def generate_async(thing):
        del thing
        yield Thing()
        yield None

    argument = Thing()
    argument_gone = weakref.ref(argument)
    gc.disable()
    try:
        if kind == "generator":
            generator = generate(argument)
            del argument
            item_gone = weakref.ref(next(generator))
            assert argument_gone() is None
            next(generator)
        else:
            generator = generate_async(argument)
            del argument
            item_gone = weakref.ref(await anext(generator))
            assert argument_gone() is None
            await anext(generator)
        assert item_gone() is None
    finally:
        gc.enable()


async def test_a_coroutine_keeps_its_arguments_no_longer_than_it_wants():
    @task
    async def work(thing, *others, key, **more):
        gone = [weakref.ref(given) for given in (thing, *others, key, *more.values())]
        del thing, others, key, more
        await asyncio.sleep(0)
        return [reference() for reference in gone]

    gc.disable()
    try:
        assert await work(Thing(), Thing(), key=Thing(), other=Thing()) == [None] * 4
        assert await work(Thing(), key=Thing()) == [None] * 2
    finally:
        gc.enable()


def test_a_decorated_function_that_is_dropped_is_freed_with_its_site(fresh):
    def work():
        return 1

    decorated = task(work)
    decorated()
    function_gone, site_gone = weakref.ref(work), weakref.ref(decorated.__agentgauge_site__)
    del work, decorated
    gc.collect()

    assert function_gone() is None
    assert site_gone() is None


# --- arguments and results ------------------------------------------------------------------------------------------------


def test_every_argument_name_may_be_used_by_the_function():
    @task
    def work(function, self, args, kwargs, record, name):
        return [function, self, args, kwargs, record, name]

    assert work(1, self=2, args=3, kwargs=4, record=5, name=6) == [1, 2, 3, 4, 5, 6]


def test_the_very_result_is_given_back():
    result = object()
    assert task(lambda: result)() is result


async def test_a_plain_function_may_return_anything_awaitable():
    @task
    def work():
        return asyncio.sleep(0, 42)

    assert await work() == 42


@pytest.mark.parametrize("raiser", RAISERS)
async def test_wrong_arguments_raise_the_functions_own_type_error(raiser):
    with pytest.raises(TypeError, match=rf"{raiser.__name__}\(\) missing 1 required positional argument: 'error'"):
        await exhaust(task(raiser)())


# --- decorators of others, beneath ours -----------------------------------------------------------------------------------


@wrapt.decorator
def inject_session_by_proxy(wrapped, instance, args, kwargs):
    return wrapped(*args, session="open", **kwargs)


def inject_session_by_closure(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, session="open", **kwargs)

    return wrapper


@pytest.mark.parametrize("inject", [inject_session_by_proxy, inject_session_by_closure])
async def test_a_decorator_that_adds_an_argument_adds_it_beneath_ours(inject):
    @inject
    def work(question, session):
        return question, session

    @inject
    async def work_later(question, session):
        return question, session

    for function in (work, work_later):
        assert await exhaust(task(function)("why")) == await exhaust(function("why")) == ("why", "open")


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 2, 3, 4), {"unknown": 1}, {"limit": 1}], ids=str)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_any_arguments_are_taken_or_refused_as_without_the_decorator(decorator, shape, kind):
    def work(record, /, target=2, *, limit=3):
        return record, target, limit

    async def work_later(record, /, target=2, *, limit=3):
        return record, target, limit

    async def outcome_of(function):
        try:
            return await exhaust(function(**shape) if isinstance(shape, dict) else function(*shape))
        except TypeError as error:
            return str(error)

    function = work if kind == "plain" else work_later
    assert await outcome_of(decorator(function)) == await outcome_of(function)
