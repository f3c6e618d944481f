"""How many requests are worked on at once, and the queue of those that wait: by priority, then by age, bounded."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from agentgauge.processing.errors import OverloadedError

if TYPE_CHECKING:
    from asyncio import Future, TimerHandle
    from collections.abc import Callable

    from agentgauge.processing.errors import ProcessingError
    from agentgauge.processing.run import Run

__all__ = ["Gate"]


class _Waiter:
    __slots__ = ("future", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.future: Future[None] = run.loop.create_future()


class Gate:
    """The places of an interface, all on one event loop.

    Whoever leaves hands the place over to the first that waits, so that nobody overtakes, and while somebody waits all places are
    taken.

    Args:
        limit: How many may be inside at once.
        queue_limit: How many may wait.
        queue_timeout_seconds: How long one may wait; None for as long as its own deadline allows.

    Attributes:
        running: The requests inside.
        waiting: How many wait.
        on_empty: Called when the last has left.
        note_wait: Called with the seconds for which one waited, whatever came of it.
    """

    __slots__ = (
        "_levels",
        "_priorities",
        "_queue_limit",
        "_queue_timeout_seconds",
        "limit",
        "note_wait",
        "on_empty",
        "running",
        "waiting",
    )

    def __init__(self, limit: int, queue_limit: int, queue_timeout_seconds: float | None) -> None:
        self.limit = limit
        self._queue_limit = queue_limit
        self._queue_timeout_seconds = queue_timeout_seconds
        self.running: set[Run] = set()
        self.waiting = 0
        self.on_empty: Callable[[], None] | None = None
        self.note_wait: Callable[[float], None] | None = None
        self._levels: dict[int, dict[_Waiter, None]] = {}  # of each priority, in the order in which they came
        self._priorities: list[int] = []  # ascending

    def leave(self, run: Run) -> None:
        """Give the place of ``run`` to the first that waits; nothing to do where it has left already."""
        running = self.running
        if run not in running:
            return
        running.remove(run)
        while self.waiting:
            waiter = self._pop_first()
            if not waiter.future.done():  # it may have been cancelled, and not know it yet
                running.add(waiter.run)
                waiter.future.set_result(None)
                return
        if not running and self.on_empty is not None:
            self.on_empty()

    def forget(self) -> None:
        """Be empty, as a forked child must: what is inside and what waits is its parent's."""
        self.running = set()
        self.waiting = 0
        self._levels = {}
        self._priorities = []
        self.on_empty = None

    async def wait(self, run: Run) -> None:
        """Wait for a place; to be called where there is none.

        Raises:
            OverloadedError: Too many wait who come before it, or it waited too long.
            ProcessingError: Its own time is up, or ``refuse_all`` says why.
        """
        self._make_room(run)
        waiter = _Waiter(run)
        self._push(waiter)
        timer = self._timer(waiter)
        began = run.loop.time()
        try:
            await waiter.future
        except BaseException:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:  # cancelled with the place in its hand
                self.leave(run)
            else:
                self._remove(waiter)
            raise
        finally:
            run.queued_seconds = run.loop.time() - began
            if self.note_wait is not None:
                self.note_wait(run.queued_seconds)
            if timer is not None:
                timer.cancel()

    def refuse_all(self, error: Callable[[], ProcessingError]) -> None:
        """Answer all that wait with an error."""
        while self.waiting:
            self._refuse(self._pop_first(), error())

    def _timer(self, waiter: _Waiter) -> TimerHandle | None:
        run = waiter.run
        until = None if self._queue_timeout_seconds is None else run.loop.time() + self._queue_timeout_seconds
        if run.deadline is not None and (until is None or run.deadline <= until):
            return run.loop.call_at(run.deadline, lambda: self._give_up(waiter, run.time_error()))
        if until is None:
            return None
        error = OverloadedError(f"the request waited for its turn for {self._queue_timeout_seconds:g} s", "wait_timeout")
        return run.loop.call_at(until, self._give_up, waiter, error)

    def _give_up(self, waiter: _Waiter, error: ProcessingError) -> None:
        if self._remove(waiter):
            self._refuse(waiter, error)

    def _make_room(self, run: Run) -> None:
        """Let ``run`` wait in the place of the youngest of those that matter least, or refuse it."""
        if self.waiting < self._queue_limit:
            return
        error = OverloadedError(f"{self.limit} requests are worked on and {self.waiting} wait, the most that may", "queue_full")
        if not self._priorities or self._priorities[0] >= run.context.priority:
            raise error
        level = self._levels[self._priorities[0]]
        waiter = next(reversed(level))
        self._remove(waiter)
        self._refuse(waiter, error)

    @staticmethod
    def _refuse(waiter: _Waiter, error: ProcessingError) -> None:
        if not waiter.future.done():
            waiter.future.set_exception(error)

    def _push(self, waiter: _Waiter) -> None:
        priority = waiter.run.context.priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = {}
            insort(self._priorities, priority)
        level[waiter] = None
        self.waiting += 1

    def _pop_first(self) -> _Waiter:
        waiter = next(iter(self._levels[self._priorities[-1]]))
        self._remove(waiter)
        return waiter

    def _remove(self, waiter: _Waiter) -> bool:
        priority = waiter.run.context.priority
        level = self._levels.get(priority)
        if level is None or waiter not in level:
            return False
        del level[waiter]
        self.waiting -= 1
        if not level:
            del self._levels[priority]
            del self._priorities[bisect_left(self._priorities, priority)]
        return True
