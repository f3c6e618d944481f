"""Which failures are tried again, when, and how often at the most."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from agentgauge.chance import CHANCE
from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load
from agentgauge.processing.errors import ProcessingError, retry_after_of
from agentgauge.requirements import require_count, require_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

__all__ = ["RetryBudget", "RetryPolicy", "retried"]

_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When the work of a request is tried again.

    The wait before a retry is drawn between 0 and the back-off ("full jitter", M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015), which doubles from retry to retry; where an error says ``retry_after_seconds``, it is that at least.
    There is no retry that its deadline would cut off while it waits, and none after the first item of a stream.

    Attributes:
        retries: How often a request is tried again at the most; a context may say otherwise.
        first_seconds: The back-off before the first retry.
        longest_seconds: The back-off at the most.
        on: Exceptions that are worth another attempt, or a function that tells of one; ``ProcessingError`` tells it by its
            ``retryable``, unless such a function is given.
        budget_ratio: How many retries each request adds to the budget that all requests of the interface share.
        budget_reserve: How many retries the budget has at the beginning.
        engine: Who waits between the attempts: ``own``, or ``stamina`` (``pip install 'agentgauge[resilience]'``), whose
            instrumentation then tells of each retry, and whose ``set_active`` and ``set_testing`` are obeyed.

    Raises:
        ConfigurationError: A value cannot work, or the engine is not installed; the message names the fix.
    """

    retries: int = 0
    first_seconds: float = 0.1
    longest_seconds: float = 5.0
    on: tuple[type[Exception], ...] | Callable[[Exception], bool] = (ConnectionError, TimeoutError)
    budget_ratio: float = 0.2
    budget_reserve: float = 10.0
    engine: Literal["own", "stamina"] = "own"

    def __post_init__(self) -> None:
        require_count("retries", self.retries, "2", least=0)
        require_seconds("first_seconds", self.first_seconds, "0.1", may_be_zero=True)
        require_seconds("longest_seconds", self.longest_seconds, "5", may_be_zero=True)
        for name, number in (("budget_ratio", self.budget_ratio), ("budget_reserve", self.budget_reserve)):
            if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < inf:
                raise ConfigurationError(f"{name}={number!r}: give a number from 0 on, such as 0.2")
        is_types = isinstance(self.on, tuple) and all(isinstance(each, type) and issubclass(each, Exception) for each in self.on)
        if not is_types and (isinstance(self.on, type) or not callable(self.on)):
            raise ConfigurationError(
                f"on={self.on!r}: give a tuple of exception types, such as (ConnectionError,), or a function that takes one"
            )
        if self.engine not in ("own", "stamina"):
            raise ConfigurationError(f"engine={self.engine!r}: give 'own' or 'stamina'")
        if self.engine == "stamina" and _stamina_or_none() is None:
            raise ConfigurationError("engine='stamina': pip install 'agentgauge[resilience]', or leave the engine out")

    def is_worth_another(self, error: Exception) -> bool:
        """Tell whether the work may do better at another attempt."""
        if not isinstance(self.on, tuple):
            return bool(self.on(error))
        return error.retryable if isinstance(error, ProcessingError) else isinstance(error, self.on)

    def delay_seconds(self, retry: int, error: Exception, draw: Callable[[], float] = CHANCE.random) -> float:
        """Return how long to wait before the retry of that number, from 1 on."""
        back_off = min(self.longest_seconds, self.first_seconds * 2.0 ** min(retry - 1, _MOST_DOUBLINGS))
        return max(back_off * draw(), retry_after_of(error) or 0.0)


class RetryBudget:
    """Keeps retries from multiplying the load on what fails already: at most ``reserve`` and ``ratio`` of the requests.

    The shape is that of Finagle's ``RetryBudget`` and of gRPC's retry throttling (proposal A6): a balance that requests add to
    and retries take from. What requests that need none leave behind is kept up to ``most`` retries.

    Args:
        ratio: What each request adds.
        reserve: What is there at the beginning.
        most: What the balance does not exceed.
    """

    __slots__ = ("_most", "_ratio", "balance")

    def __init__(self, ratio: float, reserve: float, most: float = 100.0) -> None:
        self._ratio = ratio
        self._most = max(most, reserve)
        self.balance = float(reserve)

    def deposit(self) -> None:
        """Take note of a request."""
        self.balance = min(self._most, self.balance + self._ratio)

    def withdraw(self) -> bool:
        """Take one retry out, where there is one."""
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        return True


async def retried(
    attempt: Callable[[], Awaitable[Any]],
    delay_before_next: Callable[[Exception], float | None],
    engine: str,
    name: tuple[str, str],
) -> Any:
    """Await ``attempt`` until it succeeds, or ``delay_before_next`` of what it raised says that it was the last.

    Args:
        attempt: Makes one attempt.
        delay_before_next: Returns how long to wait before another; None for no other. It is asked once for each failure.
        engine: Who waits, see ``RetryPolicy``.
        name: The module and the qualified name under which stamina tells of retries.
    """
    stamina = _stamina_or_none() if engine == "stamina" else None
    if stamina is not None:
        return await _retried_by(stamina, attempt, delay_before_next, name)
    while True:
        try:
            return await attempt()
        except Exception as error:  # noqa: BLE001 - raised again, unless there is another attempt
            failure = error
        try:  # out of the `except`: what comes now is not to have this failure as its context
            delay = delay_before_next(failure)
            if delay is None:
                raise failure
        finally:
            del failure  # its traceback holds this frame
        await asyncio.sleep(delay)


async def _retried_by(
    stamina: Any,
    attempt: Callable[[], Awaitable[Any]],
    delay_before_next: Callable[[Exception], float | None],
    name: tuple[str, str],
) -> Any:
    def on(error: Exception) -> bool | float:
        delay = delay_before_next(error)
        return False if delay is None else delay

    async def named() -> Any:
        return await attempt()

    named.__module__, named.__qualname__ = name
    return await stamina.retry(on=on, attempts=None, timeout=None)(named)()


def _stamina_or_none() -> ModuleType | None:
    """Return stamina; None where it is missing, which must break no request."""
    try:
        return load("stamina")
    except ImportError:
        return None
