"""One decorated function, and the agent's name that flows from it to what it calls."""

from __future__ import annotations

import inspect
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from agentgauge.recording.frame import Frame
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import RUN, TASK, TOOL, WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import SeriesKind, Target
    from agentgauge.targets import Objective

__all__ = ["AGENT_ATTRIBUTE", "SITE_ATTRIBUTE", "Site", "Targets", "current_agent", "function_of", "sites_of"]

AGENT_ATTRIBUTE = "__agentgauge_agent__"
"""Where ``@agent`` on a class leaves the agent's name."""

SITE_ATTRIBUTE = "__agentgauge_site__"
"""Where a wrapper keeps its site: how ``@agent`` on a class finds its tasks, and how a second decorator finds the first."""

current_agent: ContextVar[str] = ContextVar("agentgauge_agent", default="")
"""The agent whose name flows here: a ``Frame``, or the empty string outside of everything."""


class Targets(dict[str, "Target"]):
    """The targets of a site by the current agent's name; a type of its own for the sake of ``travel``."""

    __slots__ = ()


class Site:
    """What is known about a decorated function: its kind, its name, and whose agent it belongs to.

    ``targets`` is the hot path's table, from the current agent's name to the target; a miss goes to ``enter``.
    """

    __slots__ = ("__weakref__", "_bind", "agent", "entries", "kind", "name", "objective", "owners", "recorder", "targets")

    def __init__(self, kind: SeriesKind, name: str, agent: str | None, objective: Objective | None, recorder: Recorder) -> None:
        self.kind = kind
        self.name = clean_label(name)
        self.agent = agent
        self.objective = objective
        self.recorder = recorder
        self.owners: set[str] = set()
        self.targets = Targets()
        self.entries: dict[tuple[str, bool], Target] = {}
        self._bind: Callable[[], None] | None = None
        recorder.dependents.add(self)

    def name_agent(self, agent: str) -> None:
        """Belong to ``agent``, whatever class the function is in."""
        self.agent = agent
        self.forget()

    def belong_to(self, agent: str) -> None:
        """Be a method of a class that ``@agent`` names, where the instance or class decides at every call."""
        if len(self.owners) < max(2, self.recorder.series_limit):  # more are found anew at every call; of two, none is alone
            self.owners.add(agent)
            self.forget()

    def forget(self) -> None:
        """Find every target anew: the recorder starts anew, or the agent is another."""
        self.targets.clear()
        self.entries.clear()
        if self._bind is not None:
            self._bind()

    def bind_to_recorder(self, bind: Callable[[], None]) -> None:
        """Call ``bind`` now and whenever the recorder starts anew: it takes the parts of the recorder that the hot path uses."""
        self._bind = bind
        bind()

    def enter(self, args: tuple[Any, ...]) -> tuple[Target, Token[str] | None]:
        """Find the target of a call that the hot table does not know; make its agent the current one where it is not yet.

        Returns:
            The target, and what ``current_agent.reset`` needs where the call entered an agent.
        """
        current = current_agent.get()
        if self.kind is WORKFLOW:
            agent, series_agent = str(current), ""
        else:
            agent = series_agent = self.agent or self._owner(args) or str(current)  # what outlives the call keeps no frame
        is_entry = agent != current
        is_run = is_entry and self.kind is TASK
        is_workflow = self.kind is WORKFLOW
        recorder = self.recorder
        books = recorder.books
        target = self.entries.get((series_agent, is_run))
        if target is None:
            target = recorder.admission.target(self.kind, series_agent, self.name, is_entry=is_run, objective=self.objective)
            if target is None:
                target = recorder.admission.overflow_target(self.kind, series_agent, self.name, is_entry=is_run)
                return target, self._enter_frame(current, agent) if is_entry or is_workflow else None
            self.entries[series_agent, is_run] = target
        is_counted = False
        if self.kind is TOOL and isinstance(current, Frame):
            is_counted = True
            current.note_tool_call(recorder, self.name)
        is_framed = is_entry or is_workflow or is_counted
        # Only where no instance could decide otherwise, and nothing else is to be done.
        if not is_framed and self.owners <= {current} and len(self.targets) < recorder.series_limit:
            self.targets[str(current)] = target
        if recorder.books is not books:  # a handler forked, and in its child these are the parent's
            self.forget()
        return target, self._enter_frame(current, agent) if is_framed else None

    def _enter_frame(self, current: str, agent: str) -> Token[str]:
        """Make the call's frame the current one; a tool that names the agent for what it calls is no run of it."""
        kind = RUN if self.kind is TASK else self.kind
        return current_agent.set(Frame.enter(current, kind, self.name, agent))

    def _owner(self, args: tuple[Any, ...]) -> str | None:
        """Find the agent of the instance or class that this is a method of."""
        if not args:
            return None
        owner = args[0] if issubclass(type(args[0]), type) else type(args[0])
        name = next((vars(base)[AGENT_ATTRIBUTE] for base in owner.__mro__ if AGENT_ATTRIBUTE in vars(base)), None)
        if name is not None and name not in self.owners:
            # An agent's object may be the first argument of a function that is no method of it.
            if not any(site is self and not is_static for base in owner.__mro__ for site, is_static in sites_of(base)):
                return None
            self.belong_to(name)
        return name


def sites_of(owner: type) -> Iterator[tuple[Site, bool]]:
    """Yield the decorated functions that a class itself defines, and whether each is static."""
    for value in list(vars(owner).values()):
        site = inspect.getattr_static(function_of(value), SITE_ATTRIBUTE, None)  # a lazy proxy would run its own code
        if isinstance(site, Site):
            yield site, isinstance(value, staticmethod)


def function_of(attribute: Any) -> Any:
    """Return the function behind a static method, a class method or a property; anything else is returned as it is."""
    if isinstance(attribute, staticmethod | classmethod):
        return attribute.__func__
    return attribute.fget if isinstance(attribute, property) else attribute
