"""What can be done about a failure."""

from __future__ import annotations

import inspect
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.recovery.calling import settle
from agentgauge.requirements import require_clock, require_name, require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.recovery.failure import Failure

__all__ = ["Action", "Call", "ClearCache", "Note", "Reconnect", "RestartAgent", "ShedLoad", "require_function"]


@runtime_checkable
class Action(Protocol):
    """What a ``Recovery`` may do: one of this package, or a program's own."""

    @property
    def name(self) -> str:
        """What it is called in series and the audit log, the same from one start of the program to the next."""
        ...

    def run(self, failure: Failure) -> object:
        """Act, as a function (in a thread of its own) or coroutine function (on the program's loop); raise where it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """What an action of this package has to say for the audit log; what a program's functions return is not written."""

    text: str


def require_function(setting: str, value: object) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise ConfigurationError(f"{setting}={value!r}: give a function or coroutine function")


@dataclass(frozen=True, slots=True)
class Call:
    """Calls a function or coroutine function of the program's.

    Args:
        name: What it is called.
        function: What to call, with the ``Failure`` where it has a parameter for it, else without anything.

    Raises:
        ConfigurationError: The name is no name, or it cannot be called so.
    """

    name: str
    function: Callable[..., object]
    _takes_failure: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        require_name("name", self.name, "reconnect")
        require_function("function", self.function)
        object.__setattr__(self, "_takes_failure", _takes_one(self.function))

    def run(self, failure: Failure) -> object:
        """Call it."""
        return self.function(failure) if self._takes_failure else self.function()


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # builtins tell none
        return False
    needed = [each for each in signature.parameters.values() if each.default is each.empty and each.kind in _POSITIONAL]
    if not needed:
        return False
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(f"function={function!r}: it must take no argument, or one, the Failure ({error})") from None
    return True


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Closes a connection, or a pool of them, and opens it anew.

    Args:
        connect: Opens it; a function or coroutine function without parameters.
        close: Closes it before, where that can be done; that it fails is no failure of the action: what is broken may not close.
        name: What it is called.
    """

    connect: Callable[[], object]
    close: Callable[[], object] | None = None
    name: str = "reconnect"

    def __post_init__(self) -> None:
        require_name("name", self.name, "reconnect")
        require_function("connect", self.connect)
        if self.close is not None:
            require_function("close", self.close)

    async def run(self, failure: Failure) -> Note:  # noqa: ARG002 - what every action is given
        """Close and connect."""
        note = await _end(self.close, "close") if self.close is not None else ""
        await settle(self.connect)
        return Note(note)


@dataclass(frozen=True, slots=True)
class RestartAgent:
    """Stops an agent and starts it anew.

    Args:
        stop: Stops it; a function or coroutine function without parameters. That it fails is no failure of the action.
        start: Starts it.
        name: What it is called.
    """

    stop: Callable[[], object]
    start: Callable[[], object]
    name: str = "restart_agent"

    def __post_init__(self) -> None:
        require_name("name", self.name, "restart_agent")
        require_function("stop", self.stop)
        require_function("start", self.start)

    async def run(self, failure: Failure) -> Note:  # noqa: ARG002 - what every action is given
        """Stop and start."""
        note = await _end(self.stop, "stop")
        await settle(self.start)
        return Note(note)


async def _end(function: Callable[[], object], what: str) -> str:
    try:
        await settle(function)
    except Exception as error:  # noqa: BLE001 - what is broken may not close or stop, and is started anew all the same
        return f"{what} raised {type(error).__name__}"
    return ""


@dataclass(frozen=True, slots=True)
class ClearCache:
    """Clears a cache.

    Args:
        cache: Anything with ``clear()`` (a dict, a cache of cachetools or diskcache, a client) or ``cache_clear()`` (what
            ``functools.lru_cache`` decorates), functions or coroutine functions.
        name: What it is called.
    """

    cache: Any = field(repr=False)  # what is in it is nobody's business
    name: str = "clear_cache"

    def __post_init__(self) -> None:
        require_name("name", self.name, "clear_cache")
        if not callable(self._clear):
            raise ConfigurationError(f"cache={type(self.cache).__name__}: give something with clear() or cache_clear()")

    @property
    def _clear(self) -> Any:
        return getattr(self.cache, "cache_clear", None) or getattr(self.cache, "clear", None)

    def run(self, failure: Failure) -> object:  # noqa: ARG002 - what every action is given
        """Clear it."""
        return self._clear()


class ShedLoad:
    """Lets the program shed load for a while, and no longer.

    Args:
        set_shedding: Called with True, and with False when the while is over, from another thread, and never at the same time by
            two; None for a program that asks ``is_shedding`` itself.
        seconds: How long; acting again while load is shed begins the time anew.
        name: What it is called.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        set_shedding: Callable[[bool], object] | None = None,
        *,
        seconds: float = 60.0,
        name: str = "shed_load",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if set_shedding is not None:
            require_function("set_shedding", set_shedding)
            if inspect.iscoroutinefunction(set_shedding):
                raise ConfigurationError(f"set_shedding={set_shedding!r}: give a function, not a coroutine function")
        require_seconds("seconds", seconds, "60")
        require_name("name", name, "shed_load")
        require_clock("clock", clock)
        self.name = name
        self._set_shedding = set_shedding
        self._seconds = seconds
        self._clock = clock
        self._until: float | None = None
        self._told: bool | None = False  # what the program believes; None where it is to be told whatever it believes
        self._renew()
        _shedding.add(self)

    def _renew(self) -> None:
        self._changing = threading.Lock()
        self._is_telling = False
        self._timer: threading.Timer | None = None

    @property
    def is_shedding(self) -> bool:
        """Whether load is to be shed now."""
        until = self._until
        return until is not None and self._clock() < until

    def run(self, failure: Failure) -> None:  # noqa: ARG002 - what every action is given
        """Begin to shed, or go on for longer."""
        with self._changing:
            self._until = self._clock() + self._seconds
            self._told = None
            self._wait()
        try:
            self._tell()
        except BaseException:
            with self._changing:
                self._until = None
                self._stop_waiting()
            raise

    def release(self) -> None:
        """Shed no more; nothing to do where none is shed."""
        with self._changing:
            self._until = None
            self._stop_waiting()
        self._tell()

    def _tell(self) -> None:
        """Tell the program what is so, until it knows; where another thread is at it, that one does."""
        while self._set_shedding is not None:
            with self._changing:
                is_shedding = self._until is not None
                if self._is_telling or self._told is is_shedding:
                    return
                self._is_telling, self._told = True, is_shedding
            try:
                self._set_shedding(is_shedding)
            except BaseException:
                with self._changing:
                    self._is_telling, self._told = False, None
                raise
            with self._changing:
                self._is_telling = False

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._stop_waiting()
        if self._set_shedding is not None and self._until is not None:
            self._timer = threading.Timer(max(0.0, self._until - self._clock()), self._release_in_time)
            self._timer.daemon = True
            self._timer.start()

    def _release_in_time(self) -> None:
        with self._changing:
            if threading.current_thread() is not self._timer:  # it was begun anew meanwhile
                return
            self._until = None
        with contain_internal_errors("alert_handler"):
            self._tell()

    def _renew_in_child(self) -> None:
        self._renew()
        with contain_internal_errors("fork"):
            self._wait()  # the parent's timer is not here, and load must not be shed for ever


_shedding: weakref.WeakSet[ShedLoad] = weakref.WeakSet()


def _renew_in_child() -> None:
    for action in list(_shedding):
        action._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
