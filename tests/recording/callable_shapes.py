"""Every kind of callable: each shape decorates one and returns a function that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect

from dressed_shapes import DRESSED_SHAPES


def plain_function(decorate, body):
    @decorate
    def work():
        return body()

    return work


def coroutine_function(decorate, body):
    @decorate
    async def work():
        await asyncio.sleep(0)
        return body()

    return work


def generator_function(decorate, body):
    @decorate
    def work():
        yield 0
        yield body()

    return work


def async_generator_function(decorate, body):
    @decorate
    async def work():
        yield 0
        yield body()

    return work


def method(decorate, body):
    class Worker:
        @decorate
        def work(self):
            assert isinstance(self, Worker)
            return body()

    return Worker().work


def async_method(decorate, body):
    class Worker:
        @decorate
        async def work(self):
            assert isinstance(self, Worker)
            return body()

    return Worker().work


def static_method_decorated_outside(decorate, body):
    class Worker:
        @decorate
        @staticmethod
        def work():
            return body()

    assert isinstance(inspect.getattr_static(Worker, "work"), staticmethod)
    return Worker.work


def static_method_decorated_inside(decorate, body):
    class Worker:
        @staticmethod
        @decorate
        def work():
            return body()

    return Worker().work


def class_method_decorated_outside(decorate, body):
    class Worker:
        @decorate
        @classmethod
        def work(cls):
            assert cls is Worker
            return body()

    return Worker.work


def class_method_decorated_inside(decorate, body):
    class Worker:
        @classmethod
        @decorate
        async def work(cls):
            assert cls is Worker
            return body()

    return Worker().work


def property_decorated_outside(decorate, body):
    class Worker:
        @decorate
        @property
        def work(self):
            return body()

    return lambda: Worker().work


def property_decorated_inside(decorate, body):
    class Worker:
        @property
        @decorate
        def work(self):
            return body()

    return lambda: Worker().work


def partial_function(decorate, body):
    def work(answer, *, unused):
        return body()

    return functools.partial(decorate(functools.partial(work, 1)), unused=None)


def partial_coroutine_function(decorate, body):
    async def work(unused):
        await asyncio.sleep(0)
        return body()

    return decorate(functools.partial(work, None))


def partial_generator_function(decorate, body):
    def work(unused):
        yield 0
        yield body()

    return decorate(functools.partial(work, None))


def partial_async_generator_function(decorate, body):
    async def work(unused):
        yield 0
        yield body()

    return decorate(functools.partial(work, None))


def callable_instance(decorate, body):
    class work:  # noqa: N801 - every shape bears one name
        def __call__(self):
            return body()

    return decorate(work())


def async_callable_instance(decorate, body):
    class work:  # noqa: N801 - every shape bears one name
        async def __call__(self):
            await asyncio.sleep(0)
            return body()

    return decorate(work())


def whole_class(decorate, body):
    @decorate
    class Worker:
        def work(self):
            return body()

        def _private(self):
            raise AssertionError

    return Worker().work


def class_with_static_method(decorate, body):
    @decorate
    class Worker:
        @staticmethod
        async def work():
            return body()

    return Worker.work


SHAPES = [
    plain_function,
    coroutine_function,
    generator_function,
    async_generator_function,
    method,
    async_method,
    static_method_decorated_outside,
    static_method_decorated_inside,
    class_method_decorated_outside,
    class_method_decorated_inside,
    property_decorated_outside,
    property_decorated_inside,
    partial_function,
    partial_coroutine_function,
    partial_generator_function,
    partial_async_generator_function,
    callable_instance,
    async_callable_instance,
    *DRESSED_SHAPES,
    whole_class,
    class_with_static_method,
]


def finish(result):
    """Run whatever a call gave to its end and return its last value."""
    if inspect.iscoroutine(result):
        return asyncio.run(_awaited(result))
    if inspect.isasyncgen(result):
        return asyncio.run(_collected(result))[-1]
    if inspect.isgenerator(result):
        return list(result)[-1]
    if isinstance(result, contextlib.AbstractContextManager):
        with result as value:
            return value
    if isinstance(result, contextlib.AbstractAsyncContextManager):
        return asyncio.run(_entered(result))
    return result


async def _awaited(coroutine):
    return await coroutine


async def _entered(block):
    async with block as value:
        return value


async def _collected(items):
    return [item async for item in items]


def takes_two_seconds(fresh):
    def body():
        fresh.clock.advance(2)
        return 42

    return body
