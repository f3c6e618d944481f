"""One check of one component, in a thread of its own that nobody waits for longer than its time limit."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors
from agentgauge.health.answers import cancelled, finding_of, finding_of_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentgauge.health.status import Finding, HealthChecker, Schedule

__all__ = ["OwnLoop", "Run"]

_LOOK_SECONDS = 0.5
_CLOSING_SECONDS = 1.0
_Answer = tuple[object, BaseException | None]
_inherited: list[asyncio.Runner] = []  # event loops of the parent's: closing one would take the parent's own wake-ups from it


class OwnLoop:
    """The event loop of one component's coroutines, where the program has none: kept, since what they open is bound to it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._changing = threading.Lock()
        self._is_open = True

    def take(self) -> asyncio.Runner:
        """Return the loop, which nobody else uses until it is given back; another where it is in use still."""
        with self._changing:
            runner, self._runner = self._runner, None
            self._is_open = True
        return runner or asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def give(self, runner: asyncio.Runner) -> None:
        """Take it back; one too many is closed."""
        with self._changing:
            if self._is_open and self._runner is None:
                self._runner = runner
                return
        _close(runner)

    def close(self) -> None:
        """Close the loop, until somebody takes one again; one that is in use is closed when it is given back.

        Waits a second for that, and not at all in a coroutine.
        """
        with self._changing:
            runner, self._runner = self._runner, None
            self._is_open = False
        if runner is None:
            return
        closing = threading.Thread(target=_close, args=(runner,), name="agentgauge-health-loop", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread is to be had
            closing.start()
            if asyncio._get_running_loop() is None:  # noqa: SLF001 - what get_running_loop() asks, without its exception
                closing.join(_CLOSING_SECONDS)

    def abandon(self) -> None:
        """Let go of the parent's loop, as a forked child must."""
        if self._runner is not None:
            _inherited.append(self._runner)


class Run:
    """One check, its retries included.

    Args:
        checker: What checks.
        schedule: Its time limit and its retries.
        own_loop: Where its coroutines run if the program has no loop for them.
        program_loop: Gives the program's, None where there is none.
        on_end: Told what was found when the thread ends, however late; None where it was given up.

    Attributes:
        began: When it began, by the clock of whoever began it.
        is_settled: Whether it is known what it found; what it finds later counts no more.
    """

    def __init__(
        self,
        checker: HealthChecker,
        schedule: Schedule,
        own_loop: OwnLoop,
        program_loop: Callable[[], asyncio.AbstractEventLoop | None],
        on_end: Callable[[Run, Finding | None], None],
        began: float,
    ) -> None:
        self.began = began
        self.deadline = began + schedule.timeout_seconds
        self.is_settled = False
        self._checker = checker
        self._schedule = schedule
        self._own_loop = own_loop
        self._program_loop = program_loop
        self.on_end = on_end
        self._ends = 0.0
        self._given_up = threading.Event()
        self._cancel: Callable[[], None] | None = None
        self.thread = threading.Thread(target=self._work, name=f"agentgauge-health-{checker.name}", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        self._ends = time.monotonic() + self._schedule.timeout_seconds
        self.thread.start()

    def give_up(self) -> None:
        """Ask it to end: a coroutine is cancelled, a retry is not made; a function goes on in its thread as long as it likes."""
        self._given_up.set()
        if (cancel := self._cancel) is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                cancel()

    def _work(self) -> None:
        finding = None
        try:
            finding = self._look()
        finally:
            self.on_end(self, finding)

    def _look(self) -> Finding | None:
        pause = self._schedule.retry_delay_seconds
        for tries_left in range(self._schedule.retries, -1, -1):
            finding = self._try()
            is_enough = finding is None or not finding.status.is_bad or not tries_left
            # where there is no time for another, what was found is more than that there was no time
            if is_enough or time.monotonic() + pause >= self._ends or self._given_up.wait(pause):
                break
        return finding

    def _try(self) -> Finding | None:
        try:
            result: object = self._checker.check()
            if inspect.isawaitable(result):
                result = self._await(result)
            return finding_of(result)
        except asyncio.CancelledError:
            return None if self._given_up.is_set() else cancelled()
        except BaseException as error:  # noqa: BLE001 - whatever a check raises is what it found
            return finding_of_error(error, self._checker.name)

    def _await(self, awaitable: Awaitable[object]) -> object:
        loop = self._program_loop()
        if loop is not None and loop.is_running():
            value, error = self._await_on(loop, awaitable)
        else:
            value, error = self._await_on_own(awaitable)
        if error is not None:
            raise error
        return value

    def _await_on_own(self, awaitable: Awaitable[object]) -> _Answer:
        runner = self._own_loop.take()
        try:
            return runner.run(self._answer(awaitable))
        finally:
            if self._given_up.is_set():  # what the check left in it may hang, too: the next has another
                _close(runner)
            else:
                self._own_loop.give(runner)

    def _await_on(self, loop: asyncio.AbstractEventLoop, awaitable: Awaitable[object]) -> _Answer:
        """Wait for what runs on the program's loop, which may be blocked, or end."""
        answers: list[_Answer] = []
        has_ended = threading.Event()

        async def run() -> None:
            answers.append(await self._answer(awaitable))

        def begin() -> None:
            if self._given_up.is_set():
                has_ended.set()
            else:
                tasks.append(loop.create_task(run()))
                tasks[0].add_done_callback(lambda _: has_ended.set())  # it may be cancelled before it has begun

        tasks: list[asyncio.Task[None]] = []
        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:  # it has just been closed
            has_ended.set()
        while not has_ended.wait(_LOOK_SECONDS):
            if loop.is_closed() or (self._given_up.is_set() and not loop.is_running()):
                break
        if not answers:
            _drop(awaitable)
            return None, asyncio.CancelledError()
        return answers[0]

    async def _answer(self, awaitable: Awaitable[object]) -> _Answer:
        """Wait for a coroutine until it is given up, as it is when it is late; whatever it raises is no affair of the loop's."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def cancel() -> None:
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        try:
            if self._given_up.is_set():  # before there was something to cancel
                _drop(awaitable)
                raise asyncio.CancelledError  # noqa: TRY301 - as if it were cancelled now
            return await awaitable, None
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, which would end the program's loop
            return None, error
        finally:
            self._cancel = None


def _close(runner: asyncio.Runner) -> None:
    with contain_internal_errors("health"):
        runner.close()


def _drop(awaitable: object) -> None:
    """Let a coroutine go that has not begun, without a warning that nobody awaited it, or what it was given to await."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        given = list(inspect.getcoroutinelocals(awaitable).values())
        awaitable.close()
        for each in given:
            _drop(each)
