"""``track``, for blocks that are no function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors, report_internal_error
from agentgauge.recording.call import TrackedCall
from agentgauge.recording.collector import RecorderCollector as _  # noqa: F401 - loaded now, so that the first block does not
from agentgauge.recording.default import default_recorder
from agentgauge.recording.frame import Frame
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import RUN
from agentgauge.recording.site import current_agent
from agentgauge.targets import Objective

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from agentgauge.recording.series import Target

__all__ = ["track"]


class track:  # noqa: N801 - reads as a verb in `with track("researcher", "rerank"):`
    """Measure a block as a task, where a decorator does not fit: ``with`` and ``async with`` give a ``TrackedCall``.

    Make a new one for each block: two that are open at once cannot share one.

    Args:
        agent: The agent's name, a bounded set; empty for that of the enclosing call.
        task: The task's name, a bounded set.
        objective: What the task promises.
    """

    __slots__ = ("_agent", "_call", "_objective", "_task")

    def __init__(self, agent: str, task: str, *, objective: Objective | None = None) -> None:
        self._agent = ""
        self._task = "unknown"
        self._objective = objective if isinstance(objective, Objective) else None
        with contain_internal_errors("start"):
            if objective is not None and self._objective is None:  # in the middle of a program that is no reason to raise
                report_internal_error("start", ConfigurationError(f"objective={objective!r}: give an Objective, or leave it out"))
            self._agent = clean_label(agent) if agent else ""
            self._task = clean_label(task) or "unknown"

    def __enter__(self) -> TrackedCall:
        """Start the call."""
        self._call = TrackedCall(default_recorder())
        if is_disabled():
            return self._call
        try:
            self._call.begin(self._find_target)
            return self._call
        except BaseException:  # of a signal handler
            self._call.abandon()
            raise

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        """End the call; an exception passes through."""
        self._call.end(error)

    async def __aenter__(self) -> TrackedCall:
        """Start the call."""
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the call; an exception passes through."""
        self.__exit__(kind, error, trace)

    def _find_target(self) -> tuple[Target, Token[str] | None]:
        current = current_agent.get()
        agent_name = self._agent or str(current)  # what outlives the block keeps no frame
        is_entry = agent_name != current
        target = default_recorder().admission.tracked_target(agent_name, self._task, is_entry=is_entry, objective=self._objective)
        frame = Frame.enter(current, RUN, target.agent, target.agent) if is_entry else None
        return target, None if frame is None else current_agent.set(frame)
