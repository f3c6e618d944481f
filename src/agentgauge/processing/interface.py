"""``EnhancedProcessingInterface``: the template for an agent's own work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import get_running_loop
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError
from agentgauge.processing.batch import process_all
from agentgauge.processing.context import ProcessingContext, require_context
from agentgauge.processing.errors import ProcessingError, WrongLoopError, processing_error_of
from agentgauge.processing.gate import Gate
from agentgauge.processing.lifecycle import Lifecycle
from agentgauge.processing.result import ProcessResult, ProcessStatus, failed
from agentgauge.processing.run import DrainedError, Run, drained
from agentgauge.processing.series import Series
from agentgauge.processing.settings import ProcessingSettings
from agentgauge.processing.shape import require_shape
from agentgauge.processing.streaming import items_of, passed_on
from agentgauge.processing.work import Hooks, Work, perform
from agentgauge.recording.default import default_recorder
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import AGENT_ATTRIBUTE, SITE_ATTRIBUTE, Site
from agentgauge.requirements import require_count, require_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    from agentgauge.processing.progress import Progress

__all__ = ["EnhancedProcessingInterface", "RunningRequest"]

T = TypeVar("T")
U = TypeVar("U")

_COMPLETED = ProcessStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A request that is worked on.

    Attributes:
        context: What its caller said of it.
        seconds: For how long it has been worked on.
        attempts: How often its work has begun.
        progress: The last that its work reported; None where it reported none.
    """

    context: ProcessingContext
    seconds: float
    attempts: int
    progress: Progress | None


class EnhancedProcessingInterface(ABC, Generic[T, U]):
    """The template for an agent's own work: write ``_process``, call ``process``.

    A subclass may also write ``_stream``, ``_initialize``, ``_shutdown``, ``_validate_input``, ``_validate_output`` and
    ``_estimate_seconds``, and say in the class attribute ``settings`` what it is held to. What a class lacks is said when it is
    instantiated. An interface belongs to the event loop on which it was first used, until it is shut down.

    Each request is a task of the agent (``agent_task_duration_seconds``, by outcome), or was shed before its work began
    (``agent_tasks_shed_total``, by reason).

    Args:
        settings: What it is held to; by default the class's own ``settings``.

    Raises:
        IncompleteClassError: The class lacks ``_process``, or an override cannot work.
    """

    settings: ProcessingSettings = ProcessingSettings()

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Refuse a class that cannot work."""
        require_shape(cls, EnhancedProcessingInterface)
        self = super().__new__(cls)
        self.__set_up(cls.settings)  # here, since a subclass may forget super().__init__()
        return self

    def __init__(self, *, settings: ProcessingSettings | None = None) -> None:
        if settings is not None:
            self.__set_up(settings)

    def __set_up(self, settings: ProcessingSettings) -> None:
        if not isinstance(settings, ProcessingSettings):
            raise ConfigurationError(f"settings={settings!r}: give ProcessingSettings(...)")
        kind = type(self)
        hooks = Hooks(self, EnhancedProcessingInterface)
        self.settings = self.__settings = settings  # two underscores: a subclass may have a `_work` or a `_gate` of its own
        gate = self.__gate = Gate(settings.max_concurrency, settings.queue_limit, settings.queue_timeout_seconds)
        self.__life = Lifecycle(kind.__name__, settings, gate, hooks.initialize, hooks.shutdown)
        agent = settings.agent or getattr(kind, AGENT_ATTRIBUTE, None) or kind.__name__
        self.__series = Series(agent, settings.task, settings.objective, self.__life, gate)
        self.__work = Work(hooks, settings, gate, self.__series)
        self.__performed = self.__series.recorded(perform)
        self.__streamed = self.__series.recorded(items_of)

    # --- what a subclass writes -------------------------------------------------------------------------------------------

    @abstractmethod
    async def _process(self, input_data: T, context: ProcessingContext) -> U:
        """Do the work of one request; what it raises ends the request, or is tried again where the settings say so."""

    async def _stream(self, input_data: T, context: ProcessingContext) -> AsyncGenerator[U, None]:
        """Do the work of one streamed request, item by item; by default the only item is what ``_process`` returns."""
        yield await self._process(input_data, context)

    async def _initialize(self) -> None:
        """Make ready for the first request; called once, and again some time after it failed."""

    async def _shutdown(self) -> None:
        """Give back what ``_initialize`` took, when no request is left."""

    def _validate_input(self, input_data: T, context: ProcessingContext) -> bool | None:
        """Refuse an input by raising, or by returning False."""

    def _validate_output(self, data: U, context: ProcessingContext) -> bool | None:
        """Refuse what ``_process`` returned by raising, or by returning False; another attempt may do better."""

    def _estimate_seconds(self, input_data: T, context: ProcessingContext) -> float | None:
        """Return how long the work will take, for the time left until it reports progress; None where nobody knows."""

    # --- what users call --------------------------------------------------------------------------------------------------

    async def process(
        self, input_data: T, context: ProcessingContext | None = None, *, raises: bool | None = None
    ) -> ProcessResult[U]:
        """Process one input.

        Args:
            input_data: What ``_process`` gets.
            context: What there is to say of the request.
            raises: Whether a failure is raised rather than returned; None for the interface's own setting.

        Returns:
            How it ended.

        Raises:
            ProcessingError: It did not complete, and ``raises``.
            WrongLoopError: The interface belongs to another event loop.
            ConfigurationError: The context is no ``ProcessingContext``.
            asyncio.CancelledError: The caller was cancelled; the work was, too.
        """
        loop = get_running_loop()
        gate, work, life, settings = self.__gate, self.__work, self.__life, self.__settings
        context = ProcessingContext() if context is None else require_context(context)
        run = Run(gate, loop, context, settings.timeout_seconds)
        try:
            if life.loop is not loop or not life.is_ready:
                await life.get_ready(loop, run)
            if work.is_asked_first or (run.deadline is not None and run.deadline <= run.began):
                work.check(input_data, run)
            if len(gate.running) < gate.limit:
                gate.running.add(run)
            else:
                await work.wait_for_turn(run)
            try:
                if work.is_asked_first:
                    work.ask_breaker(run)
                run.is_counted = True
                data = await self.__performed(work, input_data, run)
            finally:
                gate.leave(run)
                if run.permit is not None:
                    work.return_permit(run)
        except (Exception, DrainedError) as error:  # noqa: BLE001 - told to the caller, as a value or raised
            if not isinstance(error, WrongLoopError) and not (settings.raises if raises is None else raises):
                return failed(self.__failure_of(run, error), run.metadata())
            failure = self.__failure_of(run, error)
            try:
                if failure is error:
                    raise
                raise failure from failure.__cause__
            finally:
                del failure  # its traceback holds this frame
        except BaseException as error:  # the caller was cancelled, or the program ends
            self.__failure_of(run, error)
            raise
        return ProcessResult(_COMPLETED, data, None, run.metadata())

    async def stream(self, input_data: T, context: ProcessingContext | None = None) -> AsyncGenerator[U, None]:
        """Process one input, item by item; no item is made before it is asked for.

        Whoever stops early closes it, by ``contextlib.aclosing`` at best: the work ends there, and its place is free.

        Args:
            input_data: What ``_stream`` gets.
            context: What there is to say of the request.

        Yields:
            What ``_stream`` yields.

        Raises:
            ProcessingError: It did not complete; what has no result is always raised.
            ConfigurationError: The context is no ``ProcessingContext``.
            asyncio.CancelledError: The consumer was cancelled; the work was, too.
        """
        loop = get_running_loop()
        gate, work = self.__gate, self.__work
        context = ProcessingContext() if context is None else require_context(context)
        run = Run(gate, loop, context, self.__settings.timeout_seconds)
        try:
            await self.__life.get_ready(loop, run)
            work.check(input_data, run)
            if len(gate.running) < gate.limit:
                gate.running.add(run)
            else:
                await work.wait_for_turn(run)
            try:
                work.ask_breaker(run)
                run.is_counted = True
                run.items = self.__streamed(work, input_data, run)
                items = passed_on(run, run.items)
                try:
                    async for item in items:
                        yield item
                finally:
                    await items.aclose()
            finally:
                gate.leave(run)
                work.return_permit(run)
        except (Exception, DrainedError) as error:  # noqa: BLE001 - told to the consumer
            failure = self.__failure_of(run, error)
            try:
                if failure is error:
                    raise
                raise failure from failure.__cause__
            finally:
                del failure
        except BaseException as error:  # the consumer was cancelled or is gone, or the program ends
            self.__failure_of(run, error)
            raise

    async def process_batch(
        self, items: Iterable[T], context: ProcessingContext | None = None, *, concurrency: int | None = None
    ) -> list[ProcessResult[U]]:
        """Process many inputs; a failure is a value in the place of its input.

        Args:
            items: The inputs; each is taken when there is a hand for it.
            context: What there is to say of each; their ids get a number.
            concurrency: How many are worked on at once, at most as many as the interface's own limit.

        Returns:
            A result for each input, in their order.

        Raises:
            ConfigurationError: The concurrency is no positive number, or the context no ``ProcessingContext``.
        """
        if context is not None:
            require_context(context)
        limit = self.__settings.max_concurrency
        if concurrency is not None:
            require_count("concurrency", concurrency, "10")
            limit = min(limit, concurrency)

        async def process(item: T, own: ProcessingContext) -> ProcessResult[U]:
            return await self.process(item, own, raises=False)

        return await process_all(process, items, context, limit)

    async def initialize(self) -> None:
        """Make ready now, rather than at the first request; where it was shut down, it begins anew.

        Raises:
            InitializationError: ``_initialize`` failed.
        """
        await self.__life.get_ready(get_running_loop(), is_reopening=True)

    async def shutdown(self, drain_seconds: float | None = None) -> None:
        """Take no more requests, refuse those that wait, let what runs end, cancel what does not, then call ``_shutdown``.

        Args:
            drain_seconds: How long what runs has; None for the interface's own setting.

        Raises:
            ConfigurationError: It is called by the interface's own work, or the time is no duration.
            Exception: What ``_shutdown`` raised.
        """
        if drain_seconds is not None:
            require_seconds("drain_seconds", drain_seconds, "30", may_be_zero=True)
        await self.__life.shut_down(get_running_loop(), self.__settings.drain_seconds if drain_seconds is None else drain_seconds)

    async def __aenter__(self) -> Self:
        """Initialise it."""
        await self.initialize()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Shut it down."""
        await self.shutdown()

    @property
    def state(self) -> str:
        """What it is doing: one of the states of ``agent_state``."""
        return self.__series.state()

    @property
    def queue_depth(self) -> int:
        """How many requests wait for their turn."""
        return self.__series.depth()

    def in_progress(self) -> tuple[RunningRequest, ...]:
        """Return the requests that are worked on, the oldest first."""
        runs = sorted(self.__gate.running, key=lambda run: run.started)
        return tuple(RunningRequest(run.context, run.loop.time() - run.started, run.attempts, run.progress) for run in runs)

    def __failure_of(self, run: Run, error: BaseException) -> ProcessingError:
        """End the books of a request that did not complete; return what its caller is told."""
        run.end()
        if not run.is_counted:
            run.is_counted = True
            if not isinstance(error, WrongLoopError):
                self.__work.note_unbegun(error)
        return drained(error) if isinstance(error, DrainedError) else processing_error_of(error)


if not is_disabled():  # by this `@agent` on a subclass finds that there is something measured, and measures none of its methods
    setattr(EnhancedProcessingInterface.process, SITE_ATTRIBUTE, Site(SeriesKind.TASK, "process", None, None, default_recorder()))
