"""Steps recorded at the price of a decorated call: tasks of a framework without spans and without frames of their own."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from agentgauge.errors import is_fault_of_ours, report_internal_error
from agentgauge.recording.call import abandon_call, end_call
from agentgauge.recording.frame import Frame
from agentgauge.recording.operation import one_call
from agentgauge.recording.recorder import SOFT_LIMIT
from agentgauge.recording.series import TASK
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import is_span_wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.recorder import Record
    from agentgauge.recording.series import Target

__all__ = ["Steps"]


class Steps:
    """Records the steps of one framework.

    A step is counted like any other task, and in its agent's run. What runs inside is inside of what is around the step.
    """

    def __init__(self, kit: Kit) -> None:
        """Record what ``kit`` instruments."""
        self._recorder = kit.recorder
        self._instrumentor = kit.name
        self._books: object = None
        self._targets: dict[tuple[str, str], Target] = {}

    def before(
        self, measured: Callable[..., Any], function: Callable[..., Any], name_of: Callable[[Any], str | None]
    ) -> Callable[..., Any]:
        """Return ``measured`` with the cheap way before it, for calls that take it.

        Args:
            measured: ``function`` with an operation around it, for all others.
            function: What is called.
            name_of: Returns the task that a call on an object is, None where that needs an operation.
        """

        def step(first: Any, /, *args: Any, **kwargs: Any) -> Any:
            record = self._begin(name_of, first)
            if record is None:
                return measured(first, *args, **kwargs)
            try:
                result = function(first, *args, **kwargs)
            except BaseException as error:
                try:
                    end_call(self._recorder, record, None, None, error)
                except BaseException:  # of a signal handler
                    abandon_call(record, None)
                    raise
                raise
            try:
                end_call(self._recorder, record, None, None)
            except BaseException:  # of a signal handler
                abandon_call(record, None)
                raise
            return result

        async def step_of_coroutine(first: Any, /, *args: Any, **kwargs: Any) -> Any:
            record = self._begin(name_of, first)
            if record is None:
                return await measured(first, *args, **kwargs)
            try:
                result = await function(first, *args, **kwargs)
            except BaseException as error:
                try:
                    end_call(self._recorder, record, None, None, error)
                except BaseException:  # of a signal handler
                    abandon_call(record, None)
                    raise
                raise
            try:
                end_call(self._recorder, record, None, None)
            except BaseException:  # of a signal handler
                abandon_call(record, None)
                raise
            return result

        is_coroutine = inspect.iscoroutinefunction(inspect.unwrap(function))
        wrapper: Callable[..., Any] = step_of_coroutine if is_coroutine else step
        return functools.update_wrapper(wrapper, function)

    def _begin(self, name_of: Callable[[Any], str | None], first: Any) -> Record | None:
        if is_span_wanted():
            return None
        record: Record | None = None
        try:
            name = name_of(first)
            if name is None:
                return None
            recorder = self._recorder
            current = current_agent.get()
            if type(current) is Frame:
                # Which may be the same step, seen by another layer.
                if current.kind is TASK and current.instrumentor != self._instrumentor:
                    return None
                if current.run is not None:
                    current.run.note_step()
            if self._books is not recorder.books:
                self._books = recorder.books
                self._targets = {}
            target = self._targets.get((name, current))
            if target is None:
                target = recorder.admission.known_target(TASK, str(current), name, is_entry=False)
                if len(self._targets) < recorder.series_limit:
                    self._targets[name, str(current)] = target
            recorder.observations.append(one_call(self._instrumentor))
            record = [target, recorder.clock(), None, None]
            recorder.append(record)
            if len(recorder.buffer) > SOFT_LIMIT:
                recorder.relieve()
        except BaseException as fault:
            if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
                abandon_call(record, None)
                raise
            report_internal_error("start", fault)
        return record
