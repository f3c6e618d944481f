"""Wrappers around somebody else's functions that report what they do as operations.

As in ``recording.wrappers``: the host's code runs neither in an ``except`` nor in a ``finally`` of ours, and nothing of ours that
runs before or after it may raise.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from agentgauge.errors import is_fault_of_ours, report_internal_error
from agentgauge.recording.frame import Frame
from agentgauge.recording.site import current_agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.recording.operation import Operation

    Begin = Callable[[tuple[Any, ...], dict[str, Any]], Operation | None]
    Finish = Callable[[Operation, Any], None]

__all__ = ["around", "leave_all"]


def around(function: Callable[..., Any], begin: Begin, finish: Finish | None = None, *, hook: str) -> Callable[..., Any]:
    """Return ``function`` with an operation around each of its calls; a coroutine function stays one.

    Args:
        function: What is measured; no generator.
        begin: Begins the operation from the arguments and keyword arguments of a call; None leaves the call alone.
        finish: Takes the operation and the result, before the operation ends.
        hook: What a fault of ``begin`` and ``finish`` is counted under.
    """

    async def around_coroutine(*args: Any, **kwargs: Any) -> Any:
        operation = _begun(begin, args, kwargs, hook)
        if operation is None:
            return await function(*args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            try:
                operation.end(error)
            except BaseException:  # of a signal handler
                operation.abandon()
                raise
            raise
        try:
            _finish(operation, result, finish, hook)
        except BaseException:  # of a signal handler
            operation.abandon()
            raise
        return result

    def around_function(*args: Any, **kwargs: Any) -> Any:
        operation = _begun(begin, args, kwargs, hook)
        if operation is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            try:
                operation.end(error)
            except BaseException:  # of a signal handler
                operation.abandon()
                raise
            raise
        try:
            _finish(operation, result, finish, hook)
        except BaseException:  # of a signal handler
            operation.abandon()
            raise
        return result

    is_coroutine = inspect.iscoroutinefunction(inspect.unwrap(function))
    wrapper: Callable[..., Any] = around_coroutine if is_coroutine else around_function
    return functools.update_wrapper(wrapper, function)


def _begun(begin: Begin, args: tuple[Any, ...], kwargs: dict[str, Any], hook: str) -> Operation | None:
    outer = current_agent.get()
    try:
        return begin(args, kwargs)
    except BaseException as fault:
        leave_all(outer)
        if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
            raise
        report_internal_error(hook, fault)
        return None


def _finish(operation: Operation, result: Any, finish: Finish | None, hook: str) -> None:
    if finish is not None:
        try:
            finish(operation, result)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error(hook, fault)
    operation.end()


def leave_all(outer: str) -> None:
    """Abandon what was begun inside ``outer`` and could not be handed to whoever would end it."""
    current = current_agent.get()
    while current is not outer and isinstance(current, Frame):
        if current.call is not None:
            current.call.abandon()
        current = current.outer or ""
    current_agent.set(outer)
