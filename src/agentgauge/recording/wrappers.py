"""The closures around decorated functions, one for each kind of callable.

The two hot ones are written out rather than built from parts: one more call would cost more than all that they record. Two rules
hold in all four. The user's code runs neither in an ``except`` nor in a ``finally`` of ours, since our exception would become its
``__context__``. And nothing of ours that runs before or after it may raise.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from agentgauge.errors import report_internal_error
from agentgauge.recording.call import Call, end_call
from agentgauge.recording.outcome import UNTOLD
from agentgauge.recording.recorder import END, ENDING, SOFT_LIMIT, START
from agentgauge.recording.site import SITE_ATTRIBUTE, current_agent
from agentgauge.recording.tracing import open_span, provider_cell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from agentgauge.recording.site import Site

__all__ = ["wrap_function"]


def wrap_function(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    """Return a function of the same kind as ``function`` that records its calls at ``site``."""
    implementation: Any = function
    while isinstance(implementation, functools.partial):
        implementation = implementation.func
    if not inspect.isroutine(implementation):
        implementation = getattr(implementation, "__call__", implementation)  # noqa: B004 - its kind is asked below
    if inspect.isasyncgenfunction(implementation):
        wrapper = _wrap_async_generator(function, site)
    elif inspect.isgeneratorfunction(implementation):
        wrapper = _wrap_generator(function, site)
    elif inspect.iscoroutinefunction(implementation) or inspect.iscoroutinefunction(function):
        wrapper = _wrap_coroutine(function, site)
    else:
        wrapper = _wrap_plain(function, site)
    functools.update_wrapper(wrapper, function)
    setattr(wrapper, SITE_ATTRIBUTE, site)
    return wrapper


def _wrap_plain(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    recorder = site.recorder
    find_target = site.targets.get
    get_agent = current_agent.get

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        record = scope = token = None
        try:
            target = find_target(get_agent())
            if target is None:
                target, token = site.enter(args)
            if provider_cell._TRACER_PROVIDER is not None:  # noqa: SLF001 - see provider_cell
                scope = open_span(target)
            record = [target, recorder.clock(), None, None]
            recorder.append(record)
            if len(recorder.buffer) > SOFT_LIMIT:
                recorder.relieve()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("start", fault)
        except BaseException as interrupt:  # of a signal handler: the call does not begin
            end_call(recorder, record, scope, token, interrupt)
            raise
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            try:
                end_call(recorder, record, scope, token, error)
            except RecursionError:  # the stack is full: there is no way to tell more
                if record is not None and record[END] is None:
                    record[ENDING] = UNTOLD, None
                    record[END] = record[START]
            raise
        if record is None or scope is not None or token is not None:
            end_call(recorder, record, scope, token)
            return result
        try:
            record[END] = recorder.clock()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            record[END] = record[START]  # it still counts
            report_internal_error("end", fault)
        return result

    return wrapper


def _wrap_coroutine(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    recorder = site.recorder
    find_target = site.targets.get
    get_agent = current_agent.get

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        record = scope = token = None
        try:
            target = find_target(get_agent())
            if target is None:
                target, token = site.enter(args)
            if provider_cell._TRACER_PROVIDER is not None:  # noqa: SLF001 - see provider_cell
                scope = open_span(target)
            record = [target, recorder.clock(), None, None]
            recorder.append(record)
            if len(recorder.buffer) > SOFT_LIMIT:
                recorder.relieve()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("start", fault)
        except BaseException as interrupt:  # of a signal handler: the call does not begin
            end_call(recorder, record, scope, token, interrupt)
            raise
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            try:
                end_call(recorder, record, scope, token, error)
            except RecursionError:  # the stack is full: there is no way to tell more
                if record is not None and record[END] is None:
                    record[ENDING] = UNTOLD, None
                    record[END] = record[START]
            raise
        if record is None or scope is not None or token is not None:
            end_call(recorder, record, scope, token)
            return result
        try:
            record[END] = recorder.clock()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            record[END] = record[START]  # it still counts
            report_internal_error("end", fault)
        return result

    return wrapper


def _wrap_generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = Call(site.recorder, functools.partial(site.enter, args))
        value = thrown = None
        is_closing = False
        try:
            generator = function(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        del args, kwargs  # the generator alone decides how long they live
        while True:
            try:
                item = generator.send(value) if thrown is None else generator.throw(thrown)
            except StopIteration as stop:
                call.end(GeneratorExit() if is_closing else None)
                return stop.value
            except BaseException as error:
                thrown = None  # or the frame and the exception would keep each other alive
                call.end(error)
                raise
            call.suspend()
            value = thrown = None
            try:
                value = yield item
            except BaseException as error:  # noqa: BLE001 - it is the generator's, and goes on to it
                thrown = error
                is_closing = isinstance(error, GeneratorExit)
            item = None  # its consumer alone decides how long it lives
            call.resume()

    return wrapper


def _wrap_async_generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = Call(site.recorder, functools.partial(site.enter, args))
        is_closing = False
        try:
            generator = function(*args, **kwargs)
            step: Any = _first_step(generator)
        except BaseException as error:
            call.end(error)
            raise
        del args, kwargs  # the generator alone decides how long they live
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                call.end(GeneratorExit() if is_closing else None)
                return
            except BaseException as error:
                thrown = step = None  # or the frame and the exception would keep each other alive
                call.end(error)
                raise
            call.suspend()
            value = thrown = step = None
            try:
                value = yield item
            except BaseException as error:  # noqa: BLE001 - it is the generator's, and goes on to it
                thrown = error
                is_closing = isinstance(error, GeneratorExit)
            item = None  # its consumer alone decides how long it lives
            call.resume()
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
