"""The life of an interface: initialised once, on one event loop; drained, and shut down."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import process_mark
from agentgauge.processing.context import current_run
from agentgauge.processing.errors import InitializationError, ShuttingDownError, WrongLoopError, words_of
from agentgauge.processing.run import SHUTDOWN
from agentgauge.recording.site import current_agent

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable, Coroutine

    from agentgauge.processing.gate import Gate
    from agentgauge.processing.run import Run
    from agentgauge.processing.settings import ProcessingSettings

__all__ = ["Lifecycle"]

_logger = logging.getLogger("agentgauge")


class Lifecycle:
    """One interface's life.

    Args:
        name: What messages call the interface.
        settings: How long its steps may take.
        gate: Where its requests are.
        initialize: The class's own initialisation; None where it has none.
        shutdown: The class's own end; None where it has none.

    Attributes:
        loop: The event loop that the interface belongs to, from its initialisation to its shutdown.
        state: One of ``catalogue.AGENT_STATES``, ``idle`` while it takes requests.
        is_ready: Whether it takes requests.
    """

    def __init__(
        self,
        name: str,
        settings: ProcessingSettings,
        gate: Gate,
        initialize: Callable[[], Coroutine[Any, Any, None]] | None,
        shutdown: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._gate = gate
        self._initialize = initialize
        self._shutdown = shutdown
        self._start_anew()

    def _start_anew(self) -> None:
        self.loop: AbstractEventLoop | None = None
        self.state = "offline"
        self.is_ready = False
        self._is_shut_down = False
        self._mark = process_mark()
        self._starting: Task[None] | None = None
        self._closing: Task[None] | None = None
        self._failure: BaseException | None = None
        self._retry_at = 0.0

    @property
    def is_of_now(self) -> bool:
        """Whether it may still do anything: its loop is not closed, and this is the process in which it began."""
        return (self.loop is None or not self.loop.is_closed()) and self._mark == process_mark()

    def _belong_to(self, loop: AbstractEventLoop) -> None:
        """Belong to ``loop``, where it belongs to none yet.

        Raises:
            ShuttingDownError: It is shutting down, or is shut down.
            WrongLoopError: It belongs to another.
        """
        if self._mark != process_mark():  # what is going on belongs to the process that forked this one
            self._start_anew()
            self._gate.forget()
        self._refuse_where_shut_down()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            closed = ", which is closed" if self.loop.is_closed() else ""
            raise WrongLoopError(
                f"{self._name} was initialised on another event loop{closed}: make one for each loop,"
                " or await its shutdown() there"
            )

    async def get_ready(self, loop: AbstractEventLoop, run: Run | None = None, *, is_reopening: bool = False) -> None:
        """Initialise the interface, or wait until that is done, for as long as ``run`` has.

        Args:
            loop: The running event loop.
            run: The request that needs it.
            is_reopening: Whether an interface that was shut down may begin anew.

        Raises:
            ShuttingDownError: It is shutting down, or is shut down.
            InitializationError: Its initialisation failed.
            ProcessingTimeoutError: The time of ``run`` is up.
            WrongLoopError: It belongs to another event loop.
        """
        if is_reopening and self._is_shut_down and self.state == "offline":
            self._start_anew()
        self._belong_to(loop)
        if self.is_ready:
            return
        if self._initialize is None:
            self.state = "idle"
            self.is_ready = True
            return
        if self._starting is None or self._starting.done():
            if self._failure is not None and loop.time() < self._retry_at:
                raise self._initialization_error()
            self.state = "initializing"
            self._starting = loop.create_task(self._start(), context=_own_context())
        remaining = None if run is None else run.remaining_seconds()
        done, _ = await asyncio.wait({self._starting}, timeout=remaining)
        self._refuse_where_shut_down()
        if not done and run is not None:
            raise run.time_error()
        if not self.is_ready:
            raise self._initialization_error()

    def _refuse_where_shut_down(self) -> None:
        if self._is_shut_down:
            raise ShuttingDownError(f"{self._name} is {'shut' if self.state == 'offline' else 'shutting'} down")

    def _initialization_error(self) -> InitializationError:
        failure = self._failure or asyncio.CancelledError()
        error = InitializationError(f"{self._name} could not be initialised: {words_of(failure)}")
        if self.loop is not None:
            error.retry_after_seconds = max(0.0, self._retry_at - self.loop.time())
        error.__cause__ = failure
        return error

    async def _start(self) -> None:
        if self._initialize is None or self.loop is None:
            return
        try:
            async with asyncio.timeout(self._settings.initialize_timeout_seconds):
                await self._initialize()
        except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - told to whoever waits
            self._failure = failure
            self._retry_at = self.loop.time() + self._settings.initialize_retry_seconds
            if not self._is_shut_down:
                self.state = "error"
        else:
            self._failure = None
            if not self._is_shut_down:
                self.state = "idle"
                self.is_ready = True
        finally:
            self._starting = None

    async def shut_down(self, loop: AbstractEventLoop, drain_seconds: float) -> None:
        """Take no more requests, answer those that wait, let what runs end within the limit, cancel the rest, and end.

        Whoever calls it again waits for the same end; where a caller is cancelled, it goes on all the same.

        Raises:
            ConfigurationError: It is called from inside the work of a request, which would wait for itself.
            WrongLoopError: The interface belongs to another event loop.
        """
        run = current_run.get()
        while run is not None:
            if run in self._gate.running:
                raise ConfigurationError(f"{self._name}.shutdown() was called by its own work, which would wait for itself")
            run = run.outer
        if not self._is_shut_down or self._mark != process_mark():
            self._belong_to(loop)
            is_begun = self.is_ready or self._failure is not None or self._starting is not None
            self._is_shut_down = True
            self.is_ready = False
            self.state = "shutting_down"
            self._closing = loop.create_task(self._close(drain_seconds, is_begun=is_begun), context=_own_context())
        closing = self._closing
        if closing is not None:
            if closing.get_loop() is not loop:
                raise WrongLoopError(f"{self._name} is shutting down on another event loop: await it there")
            await asyncio.wait({closing})
            closing.result()

    async def _close(self, drain_seconds: float, *, is_begun: bool) -> None:
        gate = self._gate
        try:
            gate.refuse_all(lambda: ShuttingDownError(f"{self._name} is shutting down"))
            if self._starting is not None:
                self._starting.cancel()
                await asyncio.wait({self._starting}, timeout=self._settings.cancel_seconds)
            if not await self._is_empty_within(drain_seconds):
                for run in list(gate.running):
                    run.cut_off(SHUTDOWN)
                if not await self._is_empty_within(self._settings.cancel_seconds):
                    _logger.warning(
                        "%s: %d requests ignore that they were cancelled by shutdown()", self._name, len(gate.running)
                    )
            if is_begun and self._shutdown is not None:
                await self._shutdown()
        finally:
            self.state = "offline"
            self._closing = None
            self.loop = None  # whoever asks next is told that it is shut down, on whatever loop

    async def _is_empty_within(self, seconds: float) -> bool:
        gate = self._gate
        if gate.running:
            emptied = asyncio.get_running_loop().create_future()
            gate.on_empty = lambda: None if emptied.done() else emptied.set_result(None)
            await asyncio.wait({emptied}, timeout=seconds)
            gate.on_empty = None
        return not gate.running


def _own_context() -> contextvars.Context:
    """Return the context without the request and the agent that happen to be the first to need the interface."""
    context = contextvars.copy_context()
    context.run(current_run.set, None)
    context.run(current_agent.set, "")
    return context
