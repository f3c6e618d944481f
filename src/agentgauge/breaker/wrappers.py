"""The closures around functions that a breaker protects, one for each kind of callable.

The user's code runs neither in an ``except`` nor in a ``finally`` of ours, since our exception would become its ``__context__``,
and nothing of ours that runs after it may raise. While the circuit is closed a call reads one attribute before it begins, and
appends one reference when it has ended; any other way goes through the breaker's own ``with``.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from agentgauge.breaker.phases import Probe, entered
from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from agentgauge.breaker.breaker import CircuitBreaker
    from agentgauge.breaker.circuit import Circuit
    from agentgauge.breaker.phases import Ticket

__all__ = ["wrap"]


def wrap(function: Callable[..., Any], breaker: CircuitBreaker, circuit: Circuit) -> Callable[..., Any]:
    """Return a function of the same kind whose calls go through the breaker."""
    implementation: Any = function
    while isinstance(implementation, functools.partial):
        implementation = implementation.func
    if not inspect.isroutine(implementation):
        implementation = getattr(implementation, "__call__", implementation)  # noqa: B004 - its kind is asked below
    if inspect.isasyncgenfunction(implementation):
        wrapper = _wrap_async_generator(function, breaker)
    elif inspect.isgeneratorfunction(implementation):
        wrapper = _wrap_generator(function, breaker)
        if implementation.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE:
            wrapper = types.coroutine(wrapper)
    elif inspect.iscoroutinefunction(implementation) or inspect.iscoroutinefunction(function):
        wrapper = _wrap_coroutine(function, breaker, circuit)
    else:
        wrapper = _wrap_function(function, breaker, circuit)
    return functools.update_wrapper(wrapper, function)


def _wrap_function(function: Callable[..., Any], breaker: CircuitBreaker, circuit: Circuit) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        ticket = circuit.closed
        if ticket is None:
            with breaker:
                return function(*args, **kwargs)
        start = circuit.clock() if circuit.is_timed else 0.0
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            try:
                circuit.settle(ticket, error, start)
            except RecursionError:  # the stack is full: there is no way to tell more
                pass
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
                report_internal_error("breaker", fault)
            raise
        try:
            if circuit.is_timed:
                circuit.succeed(ticket, start)
            else:  # what succeed() does
                circuit.append(ticket)
                if len(circuit.pending) >= ticket.limit:
                    circuit.fold()
        except RecursionError:
            pass
        except Exception as fault:  # noqa: BLE001 - see above
            report_internal_error("breaker", fault)
        return result

    return wrapper


def _wrap_coroutine(function: Callable[..., Any], breaker: CircuitBreaker, circuit: Circuit) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        ticket = circuit.closed
        if ticket is None:
            with breaker:
                coroutine = function(*args, **kwargs)
                del args, kwargs  # the coroutine alone decides how long they live
                return await coroutine
        start = circuit.clock() if circuit.is_timed else 0.0
        try:
            coroutine = function(*args, **kwargs)
            del args, kwargs
            result = await coroutine
        except BaseException as error:
            try:
                circuit.settle(ticket, error, start)
            except RecursionError:
                pass
            except Exception as fault:  # noqa: BLE001 - see above
                report_internal_error("breaker", fault)
            raise
        try:
            if circuit.is_timed:
                circuit.succeed(ticket, start)
            else:
                circuit.append(ticket)
                if len(circuit.pending) >= ticket.limit:
                    circuit.fold()
        except RecursionError:
            pass
        except Exception as fault:  # noqa: BLE001 - see above
            report_internal_error("breaker", fault)
        return result

    return wrapper


class _Steps:
    """The steps of a generator: how long they take together, and inside which probe they are.

    Its consumer's time between two of them is none of the call's, and neither is what the consumer calls.
    """

    __slots__ = ("_began", "_breaker", "_circuit", "_outer", "_ticket", "seconds")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker  # which must be there to the end, or the call would not be counted
        self._circuit = circuit = breaker._circuit  # noqa: SLF001 - a part of it
        self._ticket: Ticket = circuit.closed or circuit.admit()
        self.seconds = 0.0

    def begin(self) -> None:
        """Enter the call for a step."""
        circuit = self._circuit
        if isinstance(self._ticket, Probe):
            self._outer = entered.get()
            entered.set((circuit, self._ticket, 0.0, self._outer))
        if circuit.is_timed:
            self._began = circuit.clock()

    def pause(self) -> None:
        """Leave it."""
        circuit = self._circuit
        if circuit.is_timed:
            self.seconds += circuit.clock() - self._began
        if isinstance(self._ticket, Probe):
            entered.set(self._outer)

    def end(self, error: BaseException | None) -> None:
        """Settle the call."""
        try:
            self.pause()
            self._circuit.settle(self._ticket, error, 0.0, self.seconds)
        except RecursionError:
            pass
        except Exception as fault:  # noqa: BLE001 - see above
            report_internal_error("breaker", fault)


def _wrap_generator(function: Callable[..., Any], breaker: CircuitBreaker) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = _Steps(breaker)
        value = thrown = None
        is_closing = False
        steps.begin()
        try:
            generator = function(*args, **kwargs)
        except BaseException as error:
            steps.end(error)
            raise
        del args, kwargs  # the generator alone decides how long they live
        while True:
            try:
                item = generator.send(value) if thrown is None else generator.throw(thrown)
            except StopIteration as stop:
                steps.end(GeneratorExit() if is_closing else None)
                return stop.value
            except BaseException as error:
                thrown = None  # or the frame and the exception would keep each other alive
                steps.end(error)
                raise
            steps.pause()
            value = thrown = None
            try:
                value = yield item
            except BaseException as error:  # noqa: BLE001 - it is the generator's, and goes on to it
                thrown = error
                is_closing = isinstance(error, GeneratorExit)
            item = None  # its consumer alone decides how long it lives
            steps.begin()

    return wrapper


def _wrap_async_generator(function: Callable[..., Any], breaker: CircuitBreaker) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = _Steps(breaker)
        is_closing = False
        steps.begin()
        try:
            generator = function(*args, **kwargs)
            step: Any = _first_step(generator)
        except BaseException as error:
            steps.end(error)
            raise
        del args, kwargs
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                steps.end(GeneratorExit() if is_closing else None)
                return
            except BaseException as error:
                thrown = step = None
                steps.end(error)
                raise
            steps.pause()
            value = thrown = step = None
            try:
                value = yield item
            except BaseException as error:  # noqa: BLE001 - see above
                thrown = error
                is_closing = isinstance(error, GeneratorExit)
            item = None
            steps.begin()
            step = generator.asend(value) if thrown is None else generator.athrow(thrown)

    return wrapper


def _first_step(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Begin a generator that only its wrapper closes: an event loop that ends would close both at once, and log an error."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _leave_open)
    try:
        return generator.asend(None)  # this is when the hooks are asked for; the generator runs when it is awaited
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave_open(_generator: AsyncGenerator[Any, Any]) -> None:
    """Leave an abandoned generator as it is, as an event loop that is closed does."""
