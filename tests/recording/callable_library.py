"""A library whose every callable is decorated; imported while agentgauge is switched off, it is somebody else's, undecorated."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
from typing import Any, Generic, Protocol, TypeVar, overload, runtime_checkable

import dspy
import pydantic

from agentgauge import task

T = TypeVar("T")


@task
def plain(question: str, /, limit: int = 3, *more: int, is_long: bool = False, **rest: int) -> list[Any]:
    """Answer a question."""
    return [question, limit, more, is_long, rest]


@task
async def coroutine(question: str, limit: int = 3) -> tuple[str, int]:
    """Answer a question later."""
    return question, limit


@task
def generator(question: str, limit: int = 3):
    """Answer a question in parts."""
    yield question
    yield limit


@task
async def async_generator(question: str, limit: int = 3):
    """Answer a question in parts, later."""
    yield question
    yield limit


@overload
def overloaded(question: int) -> int: ...
@overload
def overloaded(question: str) -> str: ...
@task
def overloaded(question: Any) -> Any:
    """Answer in kind."""
    return question


@task
@functools.lru_cache(maxsize=8)
def cached(question: str, limit: int = 3) -> list[Any]:
    """Answer a question once."""
    return [question, limit]


@functools.lru_cache(maxsize=8)
@task
def cache_outside(question: str, limit: int = 3) -> list[Any]:
    """Answer a question once."""
    return [question, limit]


@task
@functools.singledispatch
def dispatching(question: Any, limit: int = 3) -> list[Any]:
    """Answer by the kind of question."""
    return ["any", question, limit]


@dispatching.register
def _(question: int, limit: int = 3) -> list[Any]:
    return ["number", question, limit]


@functools.singledispatch
@task
def dispatch_outside(question: Any, limit: int = 3) -> list[Any]:
    """Answer by the kind of question."""
    return ["any", question, limit]


@task
@contextlib.contextmanager
def block(question: str, limit: int = 3):
    """Answer a question in a block."""
    yield [question, limit]


@contextlib.contextmanager
@task
def block_outside(question: str, limit: int = 3):
    """Answer a question in a block."""
    yield [question, limit]


@task
@contextlib.asynccontextmanager
async def async_block(question: str, limit: int = 3):
    """Answer a question in a block, later."""
    yield [question, limit]


@contextlib.asynccontextmanager
@task
async def async_block_outside(question: str, limit: int = 3):
    """Answer a question in a block, later."""
    yield [question, limit]


class Desk:
    """Answer questions."""

    def __init__(self, limit: int = 2) -> None:
        self.limit = limit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Desk) and other.limit == self.limit

    __hash__ = object.__hash__

    @task
    def method(self, question: str, *, limit: int = 3) -> list[Any]:
        """Answer a question."""
        return [self.limit, question, limit]

    @task
    async def coroutine_method(self, question: str, limit: int = 3) -> list[Any]:
        """Answer a question later."""
        return [self.limit, question, limit]

    @task
    def generator_method(self, question: str, limit: int = 3):
        """Answer a question in parts."""
        yield self.limit
        yield question, limit

    @task
    async def async_generator_method(self, question: str, limit: int = 3):
        """Answer a question in parts, later."""
        yield self.limit
        yield question, limit

    @task
    @staticmethod
    def static(question: str, limit: int = 3) -> list[Any]:
        """Answer without a desk."""
        return [question, limit]

    @staticmethod
    @task
    def static_outside(question: str, limit: int = 3) -> list[Any]:
        """Answer without a desk."""
        return [question, limit]

    @task
    @classmethod
    def of_class(cls, question: str, limit: int = 3) -> list[Any]:
        """Answer for all desks."""
        return [cls.__name__, question, limit]

    @classmethod
    @task
    def class_outside(cls, question: str, limit: int = 3) -> list[Any]:
        """Answer for all desks."""
        return [cls.__name__, question, limit]

    @task
    @property
    def size(self) -> int:
        """The size of the desk."""
        return self.limit

    @size.setter
    def size(self, limit: int) -> None:
        self.limit = limit

    @property
    @task
    def property_outside(self) -> int:
        """The size of the desk."""
        return self.limit

    @task
    @functools.lru_cache(maxsize=8)  # noqa: B019 - desks of tests may live
    def cached_method(self, question: str, limit: int = 3) -> list[Any]:
        """Answer a question once."""
        return [self.limit, question, limit]

    @functools.singledispatchmethod
    @task
    def dispatching_method(self, question: Any, limit: int = 3) -> list[Any]:
        """Answer by the kind of question."""
        return [self.limit, question, limit]

    @dispatching_method.register
    @task
    def answer_number(self, question: int, limit: int = 3) -> list[Any]:
        """Answer with a number."""
        return [question + limit]

    @overload
    def overloaded_method(self, question: int) -> int: ...
    @overload
    def overloaded_method(self, question: str) -> str: ...
    @task
    def overloaded_method(self, question: Any) -> Any:
        """Answer in kind."""
        return question

    @task
    @contextlib.contextmanager
    def block_method(self, question: str):
        """Answer in a block."""
        yield [self.limit, question]

    @contextlib.contextmanager
    @task
    def block_method_outside(self, question: str):
        """Answer in a block."""
        yield [self.limit, question]

    @task
    def __call__(self, question: str) -> list[Any]:
        """Answer at once."""
        return [self.limit, question]


class SpecialDesk(Desk):
    """Inherits what it does not override."""

    @task
    def method(self, question: str, *, limit: int = 3) -> list[Any]:
        """Answer a question in a special way."""
        return ["special", *super().method(question, limit=limit)]


@dataclasses.dataclass(frozen=True, order=True)
class Card(Generic[T]):
    """A frozen dataclass."""

    size: T

    @task
    def grow(self, by: int = 1) -> Card[Any]:
        """Make a larger one."""
        return dataclasses.replace(self, size=self.size + by)


@dataclasses.dataclass(slots=True)
class Slip:
    """A dataclass with slots."""

    size: int = 1

    @task
    def grow(self, by: int = 1) -> int:
        """Grow in place."""
        self.size += by
        return self.size


class Worker(abc.ABC):
    """An abstract class."""

    @task
    @abc.abstractmethod
    def work(self, hours: int = 1) -> int:
        """Work for some hours."""

    @task
    def rest(self, hours: int = 1) -> int:
        """Rest for some hours."""
        return hours


class Clerk(Worker):
    """A concrete class."""

    @task
    def work(self, hours: int = 1) -> int:
        """Work at a desk."""
        return hours + 1


@runtime_checkable
class Reader(Protocol):
    """A protocol."""

    @task
    def read(self, count: int = 1) -> str:
        """Read characters."""
        ...


class Book:
    """A reader by its shape alone."""

    @task
    def read(self, count: int = 1) -> str:
        """Read from a book."""
        return "x" * count


class Form(pydantic.BaseModel):
    """A model with decorated validators and methods."""

    size: int = 1

    @pydantic.field_validator("size", mode="before")
    @classmethod
    @task
    def double(cls, value: int) -> int:
        """Double what is given."""
        return value * 2

    @pydantic.model_validator(mode="after")
    @task
    def check(self) -> Form:
        """Refuse negative sizes."""
        if self.size < 0:
            raise ValueError("negative")
        return self

    @pydantic.computed_field
    @property
    @task
    def area(self) -> int:
        """The area of the form."""
        return self.size**2

    @task
    def fill(self, by: int = 1) -> int:
        """Fill in."""
        return self.size + by


@pydantic.validate_call
@task
def validated(question: str, limit: int = 3) -> list[Any]:
    """Answer a question that has been checked."""
    return [question, limit]


class Question(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Program(dspy.Module):
    """A DSPy program."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict(Question)

    @task
    def forward(self, question: str, limit: int = 3) -> list[Any]:
        """Run the program."""
        return [question, limit]

    @task
    async def aforward(self, question: str, limit: int = 3) -> list[Any]:
        """Run the program, later."""
        return [question, limit]
