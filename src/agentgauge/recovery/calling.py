"""Calls of the program's functions and coroutines, each within a time limit that holds also for one that hangs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Ending", "begin_work", "call_within", "is_called_by", "make_wait", "settle"]

_GRACE_SECONDS = 1.0  # for a coroutine that is cancelled at its limit to end
_LOOK_SECONDS = 1.0  # how often to look whether the loop is still there that something is awaited on
_worker: contextvars.ContextVar[tuple[weakref.ref[object], threading.Thread] | None] = contextvars.ContextVar(
    "agentgauge_recovery_worker", default=None
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Attributes:
        kind: Whether it returned, raised, was cancelled by somebody else, or did not end in time.
        value: What it returned.
        error: What it raised.
        left: Set as soon as it ends; set already unless it is left behind.
    """

    kind: Literal["returned", "raised", "cancelled", "timed_out"]
    value: object
    error: BaseException | None
    left: threading.Event


class _LateError(Exception):
    """A coroutine did not end in time."""


def begin_work(work: object) -> None:
    """Note that this thread, and what it calls by ``call_within``, does ``work`` for as long as the thread lives."""
    _worker.set((weakref.ref(work), threading.current_thread()))  # what hangs for ever is not to keep it


def is_called_by(work: object) -> bool:
    """Tell whether this is called by what does ``work``, which must then not be waited for."""
    found = _worker.get()
    return found is not None and work is not None and found[0]() is work and found[1].is_alive()


def call_within(
    function: Callable[..., object], *args: object, timeout_seconds: float, loop: asyncio.AbstractEventLoop | None, name: str
) -> Ending:
    """Call a function in a daemon thread of its own, and await what it returns on ``loop``, or on a loop of its own.

    Args:
        function: What to call.
        *args: What with.
        timeout_seconds: How long it may take; a coroutine is cancelled then, a function left behind.
        loop: The program's loop, where it has one; what is awaited runs there.
        name: What the thread is called.

    Returns:
        How it ended; nothing that it raises comes out of here.
    """
    ended = threading.Event()
    box: list[Ending] = []

    def call() -> None:
        try:
            value = function(*args)
            if inspect.isawaitable(value):
                value = _await(value, timeout_seconds, loop)
            box.append(Ending("returned", value, None, ended))
        except _LateError as error:
            box.append(Ending("timed_out", None, error, ended))
        except (asyncio.CancelledError, concurrent.futures.CancelledError) as error:
            box.append(Ending("cancelled", None, error, ended))
        except BaseException as error:  # noqa: BLE001 - the program's function may raise anything, and the worker goes on
            box.append(Ending("raised", None, error, ended))
        finally:
            ended.set()

    context = contextvars.copy_context()  # so that spans of the action are children of the recovery's
    try:
        threading.Thread(target=context.run, args=(call,), name=name, daemon=True).start()
    except RuntimeError as error:  # no thread is left
        ended.set()
        return Ending("raised", None, error, ended)
    if ended.wait(timeout_seconds) or ended.wait(min(_GRACE_SECONDS, timeout_seconds)):
        return box[0]
    return Ending("timed_out", None, None, ended)


def _await(awaitable: Awaitable[object], timeout_seconds: float, loop: asyncio.AbstractEventLoop | None) -> object:
    limited = _limited(awaitable, timeout_seconds)
    if loop is None or not loop.is_running():
        return asyncio.run(limited)
    future = asyncio.run_coroutine_threadsafe(limited, loop)
    while True:
        done, _ = concurrent.futures.wait([future], _LOOK_SECONDS)
        if done:
            return future.result()
        if loop.is_closed():  # and nobody will ever resolve the future
            future.cancel()
            raise RuntimeError("the loop ended before what was awaited on it")


async def _limited(awaitable: Awaitable[object], timeout_seconds: float) -> object:
    try:
        async with asyncio.timeout(timeout_seconds) as limit:
            return await awaitable
    except TimeoutError as error:
        if limit.expired():
            raise _LateError from error
        raise
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the program's loop
        raise RuntimeError(f"an action raised {type(error).__name__}") from error


async def settle(function: Callable[..., object], *args: object) -> object:
    """Call a function or coroutine function from a coroutine, without holding up the loop.

    A function runs in a daemon thread: unlike one of an executor, it does not keep the program from ending where it hangs.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        return await cast("Awaitable[object]", function(*args))
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()

    def resolve(value: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def call() -> None:
        value, fault = None, None
        try:
            value = function(*args)
        except Exception as error:  # noqa: BLE001 - it is raised again where it is awaited
            fault = error
        except BaseException as error:  # noqa: BLE001 - a future takes no StopIteration, and a loop no SystemExit
            fault = RuntimeError(f"it raised {type(error).__name__}")
        if isinstance(fault, StopIteration):
            fault = RuntimeError("it raised StopIteration")
        try:
            loop.call_soon_threadsafe(resolve, value, fault)
        except RuntimeError:  # the loop has ended meanwhile, and nobody waits
            return

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(call,), name="agentgauge-recovery-call", daemon=True).start()
    value = await future
    return await value if inspect.isawaitable(value) else value


def make_wait(sleep: Callable[[float], object] | None) -> Callable[[threading.Event, float], bool]:
    """Make what waits for an event for some seconds and tells whether it is set, in virtual time where ``sleep`` is given."""

    def wait(event: threading.Event, seconds: float) -> bool:
        if sleep is None:
            return event.wait(seconds)
        if not event.is_set():
            sleep(seconds)
        return event.is_set()

    return wait
