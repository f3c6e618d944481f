"""What happens between a request's call and its end: it is checked, has its turn, and is tried until that succeeds or ends."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, current_task
from typing import TYPE_CHECKING, Any

from agentgauge.errors import contain_internal_errors, report_internal_error
from agentgauge.processing.context import current_run
from agentgauge.processing.errors import (
    CircuitRefusedError,
    InvalidInputError,
    InvalidOutputError,
    OverloadedError,
    ProcessingError,
    ProcessingTimeoutError,
    ShuttingDownError,
    processing_error_of,
    retry_after_of,
    words_of,
)
from agentgauge.processing.retrying import RetryBudget, retried
from agentgauge.processing.run import DEADLINE, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentgauge.processing.breakers import Permit
    from agentgauge.processing.gate import Gate
    from agentgauge.processing.run import Run
    from agentgauge.processing.series import Series
    from agentgauge.processing.settings import ProcessingSettings

__all__ = ["Hooks", "Work", "guarded", "perform"]


class Hooks:
    """What a subclass wrote; None for what it left as it is.

    Attributes:
        process: Does the work.
        stream: Does it item by item.
        validate_input, validate_output: Refuse what goes in and what comes out.
        estimate_seconds: Tells how long the work will take.
        initialize, shutdown: Take and give back what all requests need.
        name: The module and the qualified name of the class.
    """

    __slots__ = (
        "estimate_seconds",
        "initialize",
        "name",
        "process",
        "shutdown",
        "stream",
        "validate_input",
        "validate_output",
    )

    def __init__(self, owner: Any, base: type) -> None:
        kind = type(owner)

        def written(name: str) -> Any:
            return None if getattr(kind, name) is getattr(base, name) else getattr(owner, name)

        self.process = owner._process  # noqa: SLF001 - the template's own
        self.stream = owner._stream  # noqa: SLF001 - the template's own
        self.validate_input = written("_validate_input")
        self.validate_output = written("_validate_output")
        self.estimate_seconds = written("_estimate_seconds")
        self.initialize = written("_initialize")
        self.shutdown = written("_shutdown")
        self.name = kind.__module__, f"{kind.__qualname__}.process"


class Work:
    """How the requests of one interface are worked on.

    Args:
        hooks: What the subclass wrote.
        settings: What the interface is held to.
        gate: Its places and its queue.
        series: What is counted.

    Attributes:
        is_asked_first: Whether anything is to be asked before a request has its turn.
        is_plain: Whether an attempt is the work and no more, and the only one, unless a context asks for retries.
    """

    __slots__ = ("_budget", "_gate", "_series", "_settings", "hooks", "is_asked_first", "is_plain", "process")

    def __init__(self, hooks: Hooks, settings: ProcessingSettings, gate: Gate, series: Series) -> None:
        self.hooks = hooks
        self.process = hooks.process
        self._settings = settings
        self._gate = gate
        self._series = series
        gate.note_wait = series.note_wait
        self._budget = RetryBudget(settings.retry.budget_ratio, settings.retry.budget_reserve)
        has_breaker = settings.breaker is not None
        self.is_asked_first = has_breaker or hooks.validate_input is not None or hooks.estimate_seconds is not None
        self.is_plain = not (
            has_breaker or settings.retry.retries or hooks.validate_output is not None or settings.attempt_timeout_seconds
        )

    # --- before its turn --------------------------------------------------------------------------------------------------

    def check(self, input_data: Any, run: Run) -> None:
        """Refuse a request whose time is up or whose input is invalid, and estimate how long it takes.

        Raises:
            ProcessingTimeoutError: Its time is up.
            InvalidInputError: The class refuses its input.
        """
        if run.remaining_seconds() == 0:
            raise run.time_error()
        hooks = self.hooks
        if hooks.validate_input is not None:
            _validate(hooks.validate_input, input_data, run, InvalidInputError, "input")
        if hooks.estimate_seconds is not None:
            with contain_internal_errors("estimate"):
                run.estimate_seconds = hooks.estimate_seconds(input_data, run.context)

    async def wait_for_turn(self, run: Run) -> None:
        """Wait in the queue; see ``Gate.wait``."""
        await self._gate.wait(run)
        run.started = run.loop.time()

    def ask_breaker(self, run: Run) -> None:
        """Take the breaker's leave for the first attempt.

        Raises:
            CircuitRefusedError: There is none.
        """
        run.permit = self._acquire(run)

    def return_permit(self, run: Run) -> None:
        """Give back a leave that no attempt has used."""
        permit, run.permit = run.permit, None
        _release(permit, CancelledError())

    def note_unbegun(self, error: BaseException) -> None:
        """Count a request that ended before its work began: as shed, or as a task that ended at once."""
        reason = None
        if isinstance(error, OverloadedError):
            reason = error.reason
        elif isinstance(error, ProcessingTimeoutError):
            reason = "deadline"
        elif isinstance(error, CircuitRefusedError):
            reason = "circuit_open"
        elif isinstance(error, ShuttingDownError):
            reason = "shutting_down"
        if reason is None:
            self._series.note_unbegun(error)
        else:
            self._series.note_shed(reason)

    # --- attempts ---------------------------------------------------------------------------------------------------------

    async def attempts(self, input_data: Any, run: Run) -> Any:
        """Try until it succeeds, or is given up."""
        policy = self._settings.retry
        if self._most_retries(run):
            self._budget.deposit()
            return await retried(
                lambda: self._attempt(input_data, run),
                lambda error: self.delay_before_next(run, error),
                policy.engine,
                self.hooks.name,
            )
        return await self._attempt(input_data, run)

    async def _attempt(self, input_data: Any, run: Run) -> Any:
        permit = self.begin_attempt(run)
        try:
            data = await self.within_attempt_timeout(lambda: self.process(input_data, run.context))
            if self.hooks.validate_output is not None:
                _validate(self.hooks.validate_output, data, run, InvalidOutputError, "output")
        except BaseException as error:
            end_attempt(run, permit, error)
            raise
        end_attempt(run, permit, None)
        return data

    def begin_attempt(self, run: Run) -> Permit | None:
        """Begin an attempt; return the breaker's leave for it."""
        permit, run.permit = run.permit, None
        if permit is None:
            permit = self._acquire(run)
        run.attempts += 1
        if run.attempts > 1:
            self._series.note_retry()
        return permit

    async def within_attempt_timeout(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Await what ``act`` returns for as long as an attempt may take."""
        seconds = self._settings.attempt_timeout_seconds
        if seconds is None:
            return await act()
        try:
            async with asyncio.timeout(seconds) as limit:
                return await act()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ProcessingTimeoutError(f"an attempt took longer than {seconds:g} s") from error

    def delay_before_next(self, run: Run, error: Exception) -> float | None:
        """Return how long to wait before another attempt; None where that was the last."""
        policy = self._settings.retry
        if run.attempts > self._most_retries(run) or run.cut is not None or isinstance(error, CircuitRefusedError):
            return None
        try:
            is_worth_another = policy.is_worth_another(error)
        except Exception as fault:  # noqa: BLE001 - the program's own function; the request ends in its own error
            report_internal_error("retry_on", fault, "contained the failure of a function that tells what to try again")
            return None
        if not is_worth_another:
            return None
        delay = policy.delay_seconds(run.attempts, error)
        remaining = run.remaining_seconds()
        if (remaining is not None and delay >= remaining) or not self._budget.withdraw():
            return None
        run.last_failure = words_of(error)  # in case that the breaker refuses the other attempt, maybe because of this one
        return delay

    def note_request(self, run: Run) -> None:
        """Let the retry budget know of a request."""
        if self._most_retries(run):
            self._budget.deposit()

    def _most_retries(self, run: Run) -> int:
        return self._settings.retry.retries if run.context.retries is None else run.context.retries

    def _acquire(self, run: Run) -> Permit | None:
        breaker = self._settings.breaker
        if breaker is None:
            return None
        try:
            return breaker.acquire()
        except Exception as error:
            before = run.last_failure and f"; the attempt before failed: {run.last_failure}"
            refused = CircuitRefusedError(f"the circuit breaker refuses: {words_of(error)}{before}")
            refused.retry_after_seconds = retry_after_of(error)
            raise refused from error


async def perform(work: Work, input_data: Any, run: Run) -> Any:
    """Do the work of a request that has its turn: what the recorder sees."""
    run.enter(current_task())  # type: ignore[arg-type]  # a coroutine runs in a task
    token = current_run.set(run)
    try:
        if work.is_plain and not run.context.retries:
            run.attempts = 1
            return await work.process(input_data, run.context)
        return await work.attempts(input_data, run)
    except CancelledError as error:
        if run.leave():
            raise run.cut_error() from error
        raise
    finally:
        run.leave()
        run.end()
        current_run.reset(token)


async def guarded(run: Run, act: Callable[[], Awaitable[Any]]) -> Any:
    """Await what ``act`` returns as a part of the work of ``run``, which may be cut off there."""
    run.enter(current_task())  # type: ignore[arg-type]  # a coroutine runs in a task
    token = current_run.set(run)
    try:
        return await act()
    except CancelledError as error:
        if run.leave():
            raise run.cut_error() from error
        raise
    finally:
        run.leave()
        current_run.reset(token)


def end_attempt(run: Run, permit: Permit | None, error: BaseException | None) -> None:
    """Tell the breaker how an attempt ended; that its time was up is a failure, although its work was cancelled."""
    if permit is not None:
        is_late = isinstance(error, CancelledError) and run.cut in (TIMEOUT, DEADLINE)
        _release(permit, run.time_error() if is_late else error)


def _release(permit: Permit | None, error: BaseException | None) -> None:
    if permit is not None:
        with contain_internal_errors("breaker"):
            permit.release(error)


def _validate(validate: Callable[[Any, Any], Any], value: Any, run: Run, kind: type[ProcessingError], what: str) -> None:
    try:
        is_refused = validate(value, run.context) is False
    except kind:
        raise
    except Exception as error:
        stated = processing_error_of(error)
        raise kind(f"the {what} is not valid: {stated}") from error
    if is_refused:
        raise kind(f"the {what} is not valid")
