"""One decorated function, and the agent's name that flows from it to what it calls."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from agentgauge.recording.series import SeriesKind

if TYPE_CHECKING:
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import Target
    from agentgauge.targets import Objective

__all__ = ["AGENT_ATTRIBUTE", "Site", "current_agent"]

AGENT_ATTRIBUTE = "__agentgauge_agent__"
"""Where ``@agent`` on a class leaves the agent's name."""

current_agent: ContextVar[str] = ContextVar("agentgauge_agent", default="")


class Site:
    """What is known about a decorated function: its kind, its name, and whose agent it belongs to.

    ``targets`` is the hot path's table, from the current agent's name to the target; a miss goes to ``enter``.
    """

    __slots__ = (
        "__weakref__",
        "agent",
        "entries",
        "has_many_owners",
        "is_owned",
        "kind",
        "name",
        "objective",
        "recorder",
        "targets",
    )

    def __init__(self, kind: SeriesKind, name: str, agent: str | None, objective: Objective | None, recorder: Recorder) -> None:
        self.kind = kind
        self.name = name
        self.agent = agent
        self.objective = objective
        self.recorder = recorder
        self.is_owned = False
        self.has_many_owners = False
        self.targets: dict[str, Target] = {}
        self.entries: dict[tuple[str, bool], Target] = {}
        recorder.sites.add(self)

    def belong_to(self, agent: str) -> None:
        """Belong to a class that ``@agent`` names; with more than one such class, the instance decides at every call."""
        if self.kind is SeriesKind.WORKFLOW:
            return
        self.is_owned = True
        if self.agent is None or self.agent == agent:
            self.agent = agent
        else:
            self.has_many_owners = True
        self.targets.clear()
        self.entries.clear()

    def enter(self, args: tuple[Any, ...]) -> tuple[Target, Token[str] | None]:
        """Find the target of a call that the hot table does not know; make its agent the current one where it is not yet.

        Returns:
            The target, and what ``current_agent.reset`` needs where the call entered an agent.
        """
        current = current_agent.get()
        agent = self._owner(args) or self.agent or current
        is_entry = agent != current
        is_run = is_entry and self.kind is SeriesKind.TASK
        target = self.entries.get((agent, is_run))
        if target is None:
            target = self.recorder.target(self.kind, agent, self.name, is_entry=is_run, objective=self.objective)
            if target is None:
                target = self.recorder.overflow_target(self.kind, agent, self.name, is_entry=is_run)
            else:
                self.entries[agent, is_run] = target
                if not is_entry and not self.has_many_owners:
                    self.targets[current] = target
        return target, current_agent.set(target.agent) if is_entry else None

    def _owner(self, args: tuple[Any, ...]) -> str | None:
        if not self.is_owned or not args:
            return None
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        name = getattr(owner, AGENT_ATTRIBUTE, None)
        return name if isinstance(name, str) else None
