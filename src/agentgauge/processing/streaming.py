"""Requests whose answer comes item by item, no sooner than its consumer asks."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from agentgauge.processing.work import end_attempt, guarded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agentgauge.processing.run import Run
    from agentgauge.processing.work import Work

__all__ = ["items_of", "passed_on"]


async def items_of(work: Work, input_data: Any, run: Run) -> AsyncGenerator[Any, None]:
    """Yield the items of a request that has its turn: what the recorder sees. What fails after the first item is not tried again.

    The context of the work, its deadline included, is set around each step; across a ``yield`` it would be the consumer's, too.
    """
    work.note_request(run)
    is_exhausted = False
    while True:
        permit = work.begin_attempt(run)
        items = work.hooks.stream(input_data, run.context)
        try:
            item = await guarded(run, functools.partial(work.within_attempt_timeout, items.__anext__))
            break
        except StopAsyncIteration:
            end_attempt(run, permit, None)
            run.end()
            return
        except BaseException as error:
            end_attempt(run, permit, error)
            if not isinstance(error, Exception):
                raise
            failure = error
        try:
            delay = work.delay_before_next(run, failure)
            if delay is None:
                raise failure
        finally:
            del failure  # its traceback holds this frame
        await guarded(run, functools.partial(asyncio.sleep, delay))
    try:
        while not is_exhausted:
            yield item
            try:
                item = await guarded(run, items.__anext__)
            except StopAsyncIteration:
                is_exhausted = True
    except BaseException as error:
        end_attempt(run, permit, error)
        raise
    else:
        end_attempt(run, permit, None)
    finally:
        item = None
        run.end()
        await items.aclose()


async def passed_on(run: Run, items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Yield the items to the consumer, and end the work when the consumer goes."""
    try:
        while True:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            yield item
            item = None
            if run.closing is not None:  # it was cut off while the consumer had an item in its hands
                await run.closed()
                raise run.cut_error()
    finally:
        await run.closed()
        await items.aclose()
