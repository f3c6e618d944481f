"""Steps that are taken at once where they can be, and awaited from the first one that must be."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from agentgauge.health.status import Finding

    Steps = Generator[Any, Any, Finding]

__all__ = ["take", "with_end"]

_CLOSING_SECONDS = 1.0


def take(steps: Steps, seconds: float, explain: Callable[[Exception], Finding]) -> Finding | Awaitable[Finding]:
    """Take the steps of a check whose driver may be for plain threads or for ``asyncio``: it shows by what the driver returns.

    Args:
        steps: Yields what the driver returned, and gets it back, awaited where it is awaitable.
        seconds: For how long what is awaited may take.
        explain: Makes a finding of what was raised.

    Returns:
        The finding, or where anything must be awaited, a coroutine that goes on from there.
    """
    try:
        item = next(steps)
        while not inspect.isawaitable(item):
            item = steps.send(item)
    except StopIteration as end:
        return _finding(end)
    except Exception as error:  # noqa: BLE001 - what a driver raises is what the check found
        return explain(error)
    return _go_on(steps, item, seconds, explain)


def with_end(steps: Generator[Any, Any, Any], end: Callable[[BaseException | None], Any]) -> Generator[Any, Any, Any]:
    """Take some steps and then, however they ended, a last one whose failure is no news.

    Args:
        steps: The steps.
        end: Called with what was raised; what it returns is yielded as any step.

    Returns:
        What the steps return.
    """
    error: BaseException | None = None
    try:
        return (yield from steps)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if not isinstance(error, GeneratorExit):  # nobody goes on with this
            with suppress(Exception):  # a connection that is broken cannot be closed
                yield end(error)
        error = None  # it refers to this frame


async def _go_on(steps: Steps, item: Any, seconds: float, explain: Callable[[Exception], Finding]) -> Finding:
    try:
        async with asyncio.timeout(seconds):
            return await _settle(steps, item)
    except Exception as error:  # noqa: BLE001 - as above
        return explain(error)


async def _settle(steps: Steps, item: Any) -> Finding:
    is_ending = False
    while True:
        try:
            try:
                value = await _bounded(item, is_ending=is_ending) if inspect.isawaitable(item) else item
            except BaseException as error:  # noqa: BLE001 - a cancellation, too: the connection must be closed
                is_ending = True
                item = steps.throw(error)
            else:
                item = steps.send(value)
        except StopIteration as end:
            return _finding(end)


async def _bounded(item: Awaitable[Any], *, is_ending: bool) -> Any:
    if not is_ending:
        return await item
    async with asyncio.timeout(_CLOSING_SECONDS):  # a driver may wait for a server that is gone to say good-bye
        return await item


def _finding(end: StopIteration) -> Finding:
    finding: Finding = end.value
    return finding
