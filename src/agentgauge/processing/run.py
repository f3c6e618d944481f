"""One request from its call to its end: its deadline, its progress, and what cuts it off."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentgauge.processing.context import current_run
from agentgauge.processing.errors import DeadlineExceededError, ProcessingTimeoutError, ShuttingDownError
from agentgauge.processing.progress import Progress, progress_at

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task, TimerHandle
    from collections.abc import AsyncGenerator

    from agentgauge.processing.breakers import Permit
    from agentgauge.processing.context import ProcessingContext
    from agentgauge.processing.errors import ProcessingError
    from agentgauge.processing.gate import Gate
    from agentgauge.processing.result import ResultMetadata

__all__ = ["DEADLINE", "SHUTDOWN", "TIMEOUT", "DrainedError", "Run", "drained"]

TIMEOUT, DEADLINE, SHUTDOWN = "timeout", "deadline", "shutdown"


class DrainedError(asyncio.CancelledError):
    """Leaves the work of a request that a shutdown cut off: a cancellation for the recorder, an answer for its caller."""


class Run:
    """One request.

    What cuts it off cancels the task in which its work is, as ``asyncio.timeout`` does, and says so to whoever waits for it; a
    cancellation that comes from elsewhere at the same time wins.

    Attributes:
        gate: Where it waits and has its place.
        loop: The event loop on which it is.
        context: What its caller said of it.
        outer: The request inside whose work it was made.
        deadline: When its time is up, by the loop's clock; None where it is not limited.
        cut: Why it was cut off; None where it was not.
        attempts: How often its work has begun.
        is_counted: Whether a series has its ending.
        is_over: Whether its work has ended.
        progress: The last that the work said.
        estimate_seconds: How long the interface thinks that it takes.
        permit: The breaker's leave for the first attempt, until that has begun.
        items: Of a stream: the generator that its work is.
        closing: What ends a stream that was cut off between two items.
        last_failure: What the last attempt that is followed by another failed with, in words: the error would hold its frames.
    """

    __slots__ = (
        "_cancelling",
        "_limit",
        "_task",
        "_timer",
        "attempts",
        "began",
        "closing",
        "context",
        "cut",
        "deadline",
        "estimate_seconds",
        "gate",
        "is_counted",
        "is_over",
        "items",
        "last_failure",
        "loop",
        "outer",
        "permit",
        "progress",
        "queued_seconds",
        "started",
    )

    def __init__(self, gate: Gate, loop: AbstractEventLoop, context: ProcessingContext, timeout_seconds: float | None) -> None:
        self.gate = gate
        self.loop = loop
        self.context = context
        self.began = self.started = now = loop.time()
        self.cut: str | None = None
        self.attempts = 0
        self.queued_seconds = 0.0
        self.is_counted = self.is_over = False
        self.progress: Progress | None = None
        self.estimate_seconds: float | None = None
        self.permit: Permit | None = None
        self.items: AsyncGenerator[Any, None] | None = None
        self.closing: Task[None] | None = None
        self.last_failure = ""
        self._task: Task[Any] | None = None
        self._cancelling = 0
        self._timer: TimerHandle | None = None
        self._limit = TIMEOUT
        if context.timeout_seconds is not None:
            timeout_seconds = context.timeout_seconds
        self.deadline = None if timeout_seconds is None else now + timeout_seconds
        self.outer: Run | None = current_run.get()
        if self.outer is not None or context.deadline is not None:
            self._take_deadlines(now)

    def _take_deadlines(self, now: float) -> None:
        """Take the context's deadline and that of the request around this one, where they come sooner."""
        remaining = None if self.outer is None else self.outer.remaining_seconds()
        if self.context.deadline is not None:
            left = (self.context.deadline - datetime.now(UTC)).total_seconds()
            remaining = left if remaining is None else min(left, remaining)
        if remaining is not None and (self.deadline is None or now + remaining <= self.deadline):
            self.deadline = now + remaining
            self._limit = DEADLINE

    def remaining_seconds(self) -> float | None:
        """Return how long it still has; None without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - self.loop.time())

    # --- what cuts it off -------------------------------------------------------------------------------------------------

    def enter(self, task: Task[Any]) -> None:
        """Begin what may be cut off in ``task``; its time may be up already."""
        if self.cut is not None:
            raise self.cut_error()
        self._task = task
        self._cancelling = task.cancelling()
        if self.deadline is not None and self._timer is None:
            self._timer = self.loop.call_at(self.deadline, self.expire)

    def expire(self) -> None:
        """Cut it off since its time is up."""
        self.cut_off(self._limit)

    def cut_off(self, why: str) -> None:
        """Cut its work off, once."""
        if self.cut is None and not self.is_over:
            self.cut = why
            if self._task is not None:
                self._task.cancel()
            elif self.items is not None:  # between two items of a stream: nobody else would end its work
                self.closing = self.loop.create_task(self._close_items(self.items))

    async def _close_items(self, items: AsyncGenerator[Any, None]) -> None:
        with suppress(Exception, asyncio.CancelledError):  # what cut it off comes back; its consumer is told when it asks
            await items.athrow(self.cut_error())
        self.gate.leave(self)  # its consumer may never ask

    async def closed(self) -> None:
        """Wait until a stream that was cut off between two items has ended; whoever is cancelled meanwhile ends it, too."""
        if self.closing is None:
            return
        try:
            await asyncio.wait({self.closing})
        except asyncio.CancelledError:
            self.closing.cancel()
            raise

    def leave(self) -> bool:
        """End what may be cut off; tell whether a ``CancelledError`` that came out of it is ours."""
        task = self._task
        self._task = None
        if self.cut is None or task is None:
            return False
        return task.uncancel() <= self._cancelling

    def end(self) -> None:
        """Let go of what only its work needs; nothing cuts it off any more."""
        self.is_over = True
        self._task = self.outer = self.items = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cut_error(self) -> BaseException:
        """Return what leaves its work when it was cut off."""
        return DrainedError() if self.cut == SHUTDOWN else self.time_error()

    def time_error(self) -> ProcessingError:
        """Return the error of a request whose time is up."""
        seconds = self.loop.time() - self.began
        if self._limit == TIMEOUT:
            return ProcessingTimeoutError(f"the request took longer than its timeout: {seconds:.3g} s")
        if self.deadline is not None and self.deadline <= self.began:
            late = self.began - self.deadline
            return DeadlineExceededError(f"the deadline of the request had passed {late:.3f} s before it came")
        return DeadlineExceededError(f"the deadline of the request passed {seconds:.3g} s after it came")

    # --- what is known of it ----------------------------------------------------------------------------------------------

    def note_progress(self, done: float, total: float | None, message: str) -> None:
        """Take the work's word on how far it is, and pass it on."""
        self.progress = progress_at(self.loop.time() - self.started, done, total, message, self.estimate_seconds)
        if self.context.on_progress is not None:
            self.context.on_progress(self.progress)

    def metadata(self) -> ResultMetadata:
        """Return what its result says of it."""
        return {
            "request_id": self.context.request_id,
            "attempts": self.attempts,
            "queued_seconds": self.queued_seconds,
            "seconds": self.loop.time() - self.began,
        }


def drained(cause: BaseException) -> ProcessingError:
    """Return the answer to the caller of a request that a shutdown cut off."""
    error = ShuttingDownError("the interface was shut down, and its limit for what was running passed")
    error.__cause__ = cause
    return error
