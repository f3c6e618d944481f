"""Runs of LangChain's that have not ended, and the ends that LangChain does not tell."""

from __future__ import annotations

import contextlib
import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import Outcome
from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.langchain_facts import is_control_flow
from agentgauge.recording.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from agentgauge.recording.operation import Operation

__all__ = ["Run", "Runs"]

_MOST_RUNS = 8_192
_NEVER_ENDED = Failure(Outcome.ABANDONED, "run_never_ended")

_begun: ContextVar[dict[UUID, Any] | None] = ContextVar("agentgauge_langchain_begun", default=None)
"""The runs that are open and began in the call that is watched here; tasks that the call makes add to the same table."""


class Run:
    """One run of LangChain's that has not ended.

    Attributes:
        operation: What it is counted as; None for parts that are not counted.
        around: The operation that what runs inside is in.
        parent: The run around it.
        inner: The ids of the runs inside that are open.
        agent: The agent whose run it is; of a node, the agent that ran in it last.
        is_node: Whether it is a graph's node.
        is_cache_hit: Whether a cache of LangChain's answered.
        is_open: Whether it has not ended.
        begun: The table of the watched call that it began in.
    """

    __slots__ = ("agent", "around", "begun", "inner", "is_cache_hit", "is_node", "is_open", "operation", "parent")

    def __init__(self, parent: Run | None) -> None:
        self.parent = parent
        self.operation: Operation | None = None
        self.around: Operation | None = parent.around if parent is not None else None
        self.inner: list[UUID] = []
        self.agent = ""
        self.is_node = False
        self.is_cache_hit = False
        self.is_open = True
        self.begun = _begun.get()


class Runs:
    """The runs that are open, by id."""

    def __init__(self) -> None:
        self._open: dict[UUID | None, Run] = {}

    def __contains__(self, run_id: UUID | None) -> bool:
        """Tell whether that run is open."""
        return run_id in self._open

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def get(self, run_id: UUID | None) -> Run | None:
        """Return a run that is open."""
        return self._open.get(run_id)

    def open(self, run_id: UUID, parent_run_id: UUID | None) -> Run:
        """Keep a run until it ends.

        Programs may give two runs one id, and then nobody can tell their ends apart: the first is given up. So is the oldest one
        where too many never ended.
        """
        self.close(run_id, failure=_NEVER_ENDED)
        parent = self._open.get(parent_run_id)
        run = self._open[run_id] = Run(parent)
        if parent is not None:
            parent.inner.append(run_id)
        if run.begun is not None:
            run.begun[run_id] = None
        while len(self._open) > _MOST_RUNS:
            with contextlib.suppress(StopIteration, RuntimeError):  # other threads open and close runs meanwhile
                self.close(next(iter(self._open)), failure=_NEVER_ENDED)
        return run

    def close(self, run_id: UUID | None, error: BaseException | None = None, failure: Failure | None = None) -> None:
        """End a run, and with an exception what is open inside; nothing to do where it ended already."""
        run = self._forget(run_id)
        if run is None:
            return
        try:
            if error is not None:
                if is_control_flow(error):
                    error = None
                for inner in tuple(run.inner):  # LangChain does not tell the end of all that is cancelled
                    self.close(inner, error)
            if run.operation is not None:
                run.operation.end(error, failure)
        except BaseException:  # of a signal handler
            if run.operation is not None:
                run.operation.abandon()
            raise

    def abandon(self, run_id: UUID | None) -> None:
        """Leave nothing open of a run whose start or end a signal handler of the host cut short."""
        run = self._forget(run_id)
        if run is not None and run.operation is not None:
            run.operation.abandon()

    def _forget(self, run_id: Any) -> Run | None:
        run = self._open.pop(run_id, None)
        if run is None:
            return None
        run.is_open = False
        if run.begun is not None:
            run.begun.pop(run_id, None)
        if run.parent is not None:
            with contextlib.suppress(ValueError):  # a parent that ends in another thread may have dropped it
                run.parent.inner.remove(run_id)
        return run

    # --- calls that are watched -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        begun: dict[UUID, Any] = {}
        token = _begun.set(begun)
        try:
            yield
        except BaseException as error:
            if begun:
                with contain_internal_errors("langchain"):
                    for run_id in tuple(begun):
                        self.close(run_id, error)
            raise
        finally:
            with contextlib.suppress(ValueError):  # a coroutine may be closed from another context
                _begun.reset(token)

    def watching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Close what is still open where an exception leaves a call: of a cancellation LangChain does not always tell."""

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self._watch():
                return function(*args, **kwargs)

        return watched

    def watching_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Do as ``watching`` does, with a coroutine function."""

        @functools.wraps(function)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            with self._watch():
                return await function(*args, **kwargs)

        return watched
