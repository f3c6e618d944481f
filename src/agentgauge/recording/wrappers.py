"""The closures around decorated functions, one for each kind of callable.

Those of functions and coroutines are a template, in ``call_wrapper``. Two rules hold in all four. The user's code runs neither in
an ``except`` nor in a ``finally`` of ours, since our exception would become its ``__context__``. And nothing of ours that runs
before or after it may raise.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from agentgauge.recording.call import Call
from agentgauge.recording.call_wrapper import wrap_call
from agentgauge.recording.site import SITE_ATTRIBUTE

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
        if implementation.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE:
            wrapper = types.coroutine(wrapper)
    elif inspect.iscoroutinefunction(implementation) or inspect.iscoroutinefunction(function):
        wrapper = wrap_call(function, site, is_coroutine=True)
    else:
        wrapper = wrap_call(function, site, is_coroutine=False)
    functools.update_wrapper(wrapper, function)
    for name in ("cache_clear", "cache_info"):  # of functools.lru_cache: written in C, they are in no __dict__
        if hasattr(function, name):
            setattr(wrapper, name, getattr(function, name))
    setattr(wrapper, SITE_ATTRIBUTE, site)
    return wrapper


def _wrap_generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = Call(site.recorder)
        try:
            call.begin(functools.partial(site.enter, args))
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
        except BaseException:  # what left the generator, after its end; or what a signal handler raised before
            call.abandon()
            raise

    return wrapper


def _wrap_async_generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = Call(site.recorder)
        try:
            call.begin(functools.partial(site.enter, args))
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
        except BaseException:  # what left the generator, after its end; or what a signal handler raised before
            call.abandon()
            raise

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
