"""The circuit breaker, as programs use it."""

from __future__ import annotations

import inspect
import time
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentgauge.breaker.circuit import Circuit
from agentgauge.breaker.phases import entered
from agentgauge.breaker.series import register
from agentgauge.breaker.settings import CountWindow, Settings, conditions
from agentgauge.breaker.wrappers import wrap
from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from agentgauge.breaker.phases import Entry, Ticket
    from agentgauge.breaker.settings import Condition, TimeWindow
    from agentgauge.breaker.states import CircuitState, Transition

__all__ = ["CircuitBreaker", "Permit"]

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any] | classmethod[Any, ..., Any]")

_enter, _innermost = entered.set, entered.get


class CircuitBreaker:
    """Refuses calls to what keeps failing, for a while, and then finds out with a few whether it is well again.

    Use it as a decorator of functions, coroutine functions, generator functions (sync and async) and methods, as
    ``with breaker:`` or ``async with breaker:`` around what may fail, or by ``acquire()`` where neither fits. It is for any
    number of threads and event loops at once, and holds no lock while it is around a call.

    Args:
        name: What it protects; the label ``circuit_breaker`` of its series. Breakers of one name are independent of one
            another and share their series.
        failure_ratio: The share of failed calls in the window from which on it opens, above 0 and up to 1.
        slow_call_ratio: The share of slow calls in the window from which on it opens, above 0 and up to 1.
        slow_call_seconds: What takes longer is slow, failed calls included; None for no call. Of a generator the time of its
            consumer does not count.
        window: Which calls it is judged by: the last ``CountWindow(calls)``, or those of the last ``TimeWindow(seconds)``.
        minimum_calls: With fewer calls in the window it does not open.
        open_seconds: For how long it refuses all calls before it tries some.
        half_open_calls: How many it lets through then: never more at a time, and their results decide.
        ignored: Errors that count neither as failure nor as success: types, or functions of the error.
        recorded: Errors that count as failure, likewise; any other ``Exception`` is taken for a success. Cancellation and
            whatever else is no ``Exception`` never counts.
        probe_seconds: After so long a call that was let through half-open gives its slot to another, in case that it never
            comes back. If it does before the circuit was decided, its result counts.
        clock: Seconds on a clock that never goes back.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    __slots__ = ("__weakref__", "_circuit")

    def __init__(
        self,
        name: str,
        *,
        failure_ratio: float = 0.5,
        slow_call_ratio: float = 1.0,
        slow_call_seconds: float | None = None,
        window: CountWindow | TimeWindow = CountWindow(100),  # noqa: B008 - frozen
        minimum_calls: int = 10,
        open_seconds: float = 30,
        half_open_calls: int = 3,
        ignored: Condition | Iterable[Condition] = (),
        recorded: Condition | Iterable[Condition] = (Exception,),
        probe_seconds: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = Settings(
            name=name,
            failure_ratio=failure_ratio,
            slow_call_ratio=slow_call_ratio,
            slow_call_seconds=slow_call_seconds,
            window=window,
            minimum_calls=minimum_calls,
            open_seconds=open_seconds,
            half_open_calls=half_open_calls,
            probe_seconds=probe_seconds,
            ignored=conditions("ignored", ignored),
            recorded=conditions("recorded", recorded),
            clock=clock,
        )
        self._begin(settings)

    def _begin(self, settings: Settings) -> None:
        self._circuit = Circuit(settings, is_shown=not is_disabled())  # it protects all the same
        self._circuit.breaker = weakref.ref(self)
        register(self)

    @property
    def name(self) -> str:
        """What it protects."""
        return self._circuit.settings.name

    @property
    def state(self) -> CircuitState:
        """Its state now."""
        return self._circuit.state()

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r})"

    # --- around calls -----------------------------------------------------------------------------------------------------

    def __call__(self, function: F) -> F:
        """Decorate a function or method: every call of it goes through the breaker, and lasts until its end.

        That of a generator begins with its first step and lasts until the iteration has ended. What stops early says nothing.

        Raises:
            ConfigurationError: It is no function.
        """
        if isinstance(function, staticmethod | classmethod):
            return type(function)(self(function.__func__))
        if isinstance(function, type) or not callable(function):
            raise ConfigurationError(f"circuit breaker {self.name!r}: {function!r} is no function; decorate a function or method")
        return wrap(function, self, self._circuit)  # type: ignore[return-value]  # called as it is

    def __enter__(self) -> Self:
        """Let a block begin.

        Raises:
            CircuitOpenError: It must not.
        """
        circuit = self._circuit
        plain = circuit.plain
        if plain is not None and _innermost() is None:
            circuit.begun.append(plain)
            return self
        ticket: Ticket | None = circuit.closed
        if ticket is None:
            ticket = circuit.admit()
        _enter((circuit, ticket, circuit.clock() if circuit.is_timed else 0.0, _innermost()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take in how the block ended."""
        circuit = self._circuit
        entry = _innermost()
        if entry is not None:
            if entry[0] is circuit:
                _enter(entry[3])
            else:
                entry = self._leave(entry)
        try:
            if entry is None:
                try:
                    plain = circuit.begun.pop()
                except IndexError:  # the block began in another context: its slot is given back when that is gone
                    return
                if error is not None:
                    circuit.settle(plain, error, 0.0)
                else:  # what succeed() does
                    circuit.append(plain)
                    if len(circuit.pending) >= plain.limit:
                        circuit.fold()
            elif error is not None:
                circuit.settle(entry[1], error, entry[2])
            else:
                circuit.succeed(entry[1], entry[2])
        except RecursionError:  # the stack is full: there is no way to tell more
            pass
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("breaker", fault)

    async def __aenter__(self) -> Self:
        """Let a block begin; does not wait."""
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take in how the block ended; does not wait."""
        self.__exit__(kind, error, trace)

    def _leave(self, entry: Entry | None) -> Entry | None:
        """Take out of what was entered here the block of this circuit that was entered last, where blocks do not nest."""
        above = []
        while entry is not None and entry[0] is not self._circuit:
            above.append(entry)
            entry = entry[3]
        if entry is not None:
            rest = entry[3]
            for other in reversed(above):
                rest = (*other[:3], rest)
            entered.set(rest)
        return entry

    def acquire(self) -> Permit:
        """Let a call through whose end somebody else tells; forget ``with`` where a block or a decorator fits.

        Returns:
            What to release at the end of the call, once.

        Raises:
            CircuitOpenError: It must not be made.
        """
        circuit = self._circuit
        ticket = circuit.closed or circuit.admit()
        return Permit(self, ticket, circuit.clock() if circuit.is_timed else 0.0)

    # --- by hand ----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Refuse every call until ``close()``: the state is forced_open."""
        self._circuit.force_open()

    def close(self) -> None:
        """Let every call through and judge anew, whatever the state was; changes nothing where it is closed."""
        self._circuit.close()

    def add_listener(self, listener: Callable[[Transition], object]) -> None:
        """Call a function with every ``Transition`` from now on, in their order, by whoever makes a call that notices it.

        What it raises is contained and logged. It is called outside all locks, one change at a time; a change that it makes
        itself is told next.

        Raises:
            ConfigurationError: It is no plain function.
        """
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            raise ConfigurationError(f"listener={listener!r}: give a plain function of one Transition")
        self._circuit.listen(listener)

    def remove_listener(self, listener: Callable[[Transition], object]) -> None:
        """Call it no more; nothing to do where it is not called."""
        self._circuit.listen(listener, is_wanted=False)

    # --- copies -----------------------------------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Return itself: a copy of what calls a service calls the same service."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself, see ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[Callable[[Settings], CircuitBreaker], tuple[Settings]]:
        """Travel with the settings alone: another process finds out for itself how the service does."""
        return _made_of, (self._circuit.settings,)


def _made_of(settings: Settings) -> CircuitBreaker:
    breaker = CircuitBreaker.__new__(CircuitBreaker)
    breaker._begin(settings)  # noqa: SLF001 - a constructor
    return breaker


class Permit:
    """A call that was let through; one of a half-open circuit that is thrown away gives its slot back."""

    __slots__ = ("_breaker", "_held", "_start")

    def __init__(self, breaker: CircuitBreaker, ticket: Ticket, start: float) -> None:
        self._breaker = breaker  # which must be there to the end, or it would not be counted
        self._held = [ticket]
        self._start = start

    def release(self, error: BaseException | None = None, *, seconds: float | None = None) -> None:
        """Tell how the call ended; only the first time counts.

        Args:
            error: What it failed with; None for a success. Cancellation, and whatever else is no ``Exception``, says nothing.
            seconds: How long it took, where that is not all the time since it was let through.
        """
        try:
            ticket = self._held.pop()
        except IndexError:
            return
        circuit = self._breaker._circuit  # noqa: SLF001 - a part of it
        try:
            if error is None and seconds is None:
                circuit.succeed(ticket, self._start)
            else:
                circuit.settle(ticket, error, self._start, seconds)
        except RecursionError:  # the stack is full: there is no way to tell more
            pass
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("breaker", fault)
