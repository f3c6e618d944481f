"""Wrappers around somebody else's functions that report what they do as operations.

As in ``recording.wrappers``: the host's code runs neither in an ``except`` nor in a ``finally`` of ours, and nothing of ours that
runs before or after it may raise.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.recording.operation import Operation

    Begin = Callable[[tuple[Any, ...], dict[str, Any]], Operation | None]
    Finish = Callable[[Operation, Any], None]

__all__ = ["around"]


def around(function: Callable[..., Any], begin: Begin, finish: Finish | None = None, *, hook: str) -> Callable[..., Any]:
    """Return ``function`` with an operation around each of its calls; a coroutine function stays one.

    Args:
        function: What is measured; no generator.
        begin: Begins the operation from the arguments and keyword arguments of a call; None leaves the call alone.
        finish: Takes the operation and the result, before the operation ends.
        hook: What a fault of ``begin`` and ``finish`` is counted under.
    """

    def begin_contained(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        try:
            return begin(args, kwargs)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error(hook, fault)
            return None

    def finish_contained(operation: Operation, result: Any) -> None:
        if finish is not None:
            try:
                finish(operation, result)
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
                report_internal_error(hook, fault)
        operation.end()

    async def around_coroutine(*args: Any, **kwargs: Any) -> Any:
        operation = begin_contained(args, kwargs)
        if operation is None:
            return await function(*args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            operation.end(error)
            raise
        finish_contained(operation, result)
        return result

    def around_function(*args: Any, **kwargs: Any) -> Any:
        operation = begin_contained(args, kwargs)
        if operation is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            operation.end(error)
            raise
        finish_contained(operation, result)
        return result

    is_coroutine = inspect.iscoroutinefunction(inspect.unwrap(function))
    wrapper: Callable[..., Any] = around_coroutine if is_coroutine else around_function
    return functools.update_wrapper(wrapper, function)
