"""Callables that are dressed by something else, too: the standard library, pydantic, DSPy; for ``callable_shapes``."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
from typing import Protocol, overload

import dspy
import pydantic


def single_dispatch_above(decorate, body):
    @functools.singledispatch
    @decorate
    def work(kind):
        return body()

    return functools.partial(work, 1)


def single_dispatch_below(decorate, body):
    @decorate
    @functools.singledispatch
    def work(kind):
        raise AssertionError

    work.register(int, lambda kind: body())
    return functools.partial(work, 1)


def single_dispatch_method(decorate, body):
    class Worker:
        @functools.singledispatchmethod
        @decorate
        def work(self, kind):
            assert isinstance(self, Worker)
            return body()

    return functools.partial(Worker().work, 1)


def cached_below(decorate, body):
    @decorate
    @functools.lru_cache(maxsize=0)
    def work():
        return body()

    return work


def cached_method(decorate, body):
    class Worker:
        @decorate
        @functools.lru_cache(maxsize=0)  # noqa: B019 - it holds nothing
        def work(self):
            assert isinstance(self, Worker)
            return body()

    return Worker().work


def context_manager_above(decorate, body):
    @contextlib.contextmanager
    @decorate
    def work():
        yield body()

    return work


def async_context_manager_above(decorate, body):
    @contextlib.asynccontextmanager
    @decorate
    async def work():
        yield body()

    return work


def overloaded(decorate, body):
    @overload
    def work(kind: int) -> int: ...
    @overload
    def work(kind: str) -> str: ...
    @decorate
    def work(kind):
        return body()

    return functools.partial(work, "")


def dataclass_method(decorate, body):
    @dataclasses.dataclass(frozen=True)
    class Worker:
        size: int = 1

        @decorate
        def work(self):
            return body() * self.size

    return Worker().work


def slots_method(decorate, body):
    @dataclasses.dataclass(slots=True)
    class Worker:
        size: int = 1

        @decorate
        def work(self):
            return body() * self.size

    return Worker().work


def abstract_method(decorate, body):
    class Worker(abc.ABC):
        @decorate
        @abc.abstractmethod
        def work(self):
            return body()

    class Clerk(Worker):
        def work(self):
            return super().work()

    return Clerk().work


def protocol_method(decorate, body):
    class Worker(Protocol):
        @decorate
        def work(self):
            return body()

    class Clerk(Worker):
        pass

    return Clerk().work


def pydantic_method(decorate, body):
    class Worker(pydantic.BaseModel):
        size: int = 1

        @decorate
        def work(self):
            return body() * self.size

    return Worker().work


def pydantic_validator(decorate, body):
    class Worker(pydantic.BaseModel):
        size: int = 1

        @pydantic.field_validator("size")
        @classmethod
        @decorate
        def work(cls, size):
            assert cls is Worker
            return body() * size

    return lambda: Worker(size=1).size


def dspy_module_method(decorate, body):
    class Worker(dspy.Module):
        @decorate
        def work(self):
            return body()

        def forward(self):
            return self.work()

    return Worker()


DRESSED_SHAPES = [
    single_dispatch_above,
    single_dispatch_below,
    single_dispatch_method,
    cached_below,
    cached_method,
    context_manager_above,
    async_context_manager_above,
    overloaded,
    dataclass_method,
    slots_method,
    abstract_method,
    protocol_method,
    pydantic_method,
    pydantic_validator,
    dspy_module_method,
]
