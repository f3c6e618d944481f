"""Many inputs at once: ordered results, each failure a value of its own."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentgauge.processing.context import ProcessingContext
from agentgauge.processing.errors import ProcessingCancelledError
from agentgauge.processing.result import ProcessResult, failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["process_all"]


async def process_all(
    process: Callable[[Any, ProcessingContext], Awaitable[ProcessResult[Any]]],
    items: Iterable[Any],
    context: ProcessingContext | None,
    concurrency: int,
) -> list[ProcessResult[Any]]:
    """Process every item, so many at once; an item is taken when there is a hand for it.

    Args:
        process: Processes one, and returns failures.
        items: What to process.
        context: What there is to say of each; their ids get a number.
        concurrency: How many at once.

    Returns:
        A result for each item, in the order of the items.
    """
    results: dict[int, ProcessResult[Any]] = {}
    pending = enumerate(items)

    async def work() -> None:
        for number, item in pending:
            own = ProcessingContext() if context is None else replace(context, request_id=f"{context.request_id}-{number}")
            try:
                results[number] = await process(item, own)
            except CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                results[number] = _cancelled(own, error)  # the work gave itself up, and nobody else

    hands = min(concurrency, len(items)) if isinstance(items, Sized) else concurrency
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(hands):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[number] for number in sorted(results)]


def _cancelled(context: ProcessingContext, error: CancelledError) -> ProcessResult[Any]:
    stated = ProcessingCancelledError("the work was cancelled from within")
    stated.__cause__ = error
    return failed(stated, {"request_id": context.request_id, "attempts": 1, "queued_seconds": 0.0, "seconds": 0.0})
