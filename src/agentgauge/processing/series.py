"""The series of an interface: its requests as tasks of its agent, its state, its queue, and what it shed."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from agentgauge import catalogue
from agentgauge.catalogue import AGENT_STATES, reliability
from agentgauge.config import is_disabled
from agentgauge.recording.call import Call
from agentgauge.recording.cells import ABSENT
from agentgauge.recording.default import default_recorder
from agentgauge.recording.members import Members
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import Site
from agentgauge.recording.wrappers import wrap_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.processing.gate import Gate
    from agentgauge.processing.lifecycle import Lifecycle
    from agentgauge.recording.recorder import Recorder
    from agentgauge.targets import Objective

__all__ = ["Series"]

_RANKED_STATES = ("offline", "shutting_down", "idle", "initializing", "error", "processing")
"""Of several interfaces of one agent, the last of these is the agent's."""


class _Agent:
    """What the interfaces of one agent say together, whenever a page is made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: Members[Series] = Members()

    def report(self, recorder: Recorder) -> None:
        """State the agent's state and the depth of its queues."""
        label = (catalogue.AGENT, self.name)
        states = ["offline"]
        depths: dict[str, int] = {}
        for member in self.members:
            states.append(member.state())
            depths[member.task] = depths.get(member.task, 0) + member.depth()
        state = max(states, key=_RANKED_STATES.index)
        recorder.observe(catalogue.STATE, (label,), AGENT_STATES.index(state))
        for task, depth in depths.items():
            recorder.observe(catalogue.QUEUE_DEPTH, (label, ("queue", task)), depth)


class _Agents:
    """The agents that have interfaces, by their names."""

    def __init__(self) -> None:
        self._by_name: weakref.WeakValueDictionary[str, _Agent] = weakref.WeakValueDictionary()
        self.start_anew()

    def start_anew(self) -> None:
        """Take no lock that the parent held."""
        self._making = threading.RLock()

    def join(self, name: str, member: Series) -> _Agent:
        """Return the agent of that name, which ``member`` speaks for."""
        with self._making:  # or two threads would make two of one name, of which one is never asked
            agent = self._by_name.setdefault(name, _Agent(name))
        agent.members.add(member)
        return agent

    def tasks(self, name: str) -> set[str]:
        """Return the tasks that its interfaces have; called by the garbage collector, which must wait for no lock."""
        agent = self._by_name.get(name)
        return set() if agent is None else {member.task for member in agent.members}


_agents = _Agents()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_agents.start_anew)


class Series:
    """What one interface records.

    Args:
        agent: The agent's name.
        task: What its requests are called.
        objective: What they promise.
    """

    def __init__(self, agent: str, task: str, objective: Objective | None, lifecycle: Lifecycle, gate: Gate) -> None:
        self.task = clean_label(task)
        self._lifecycle = lifecycle
        self._gate = gate
        self._recorder: Recorder | None = None if is_disabled() else default_recorder()
        if self._recorder is None:
            return
        name = clean_label(agent)
        self._site = Site(SeriesKind.TASK, self.task, name, objective, self._recorder)
        self._labels = ((catalogue.AGENT, name), (catalogue.TASK, self.task))
        self._queue_labels = ((catalogue.AGENT, name), ("queue", self.task))
        self._agent = _agents.join(name, self)
        self._recorder.reporters.add(self._agent)
        self._recorder.dependents.add(self)
        weakref.finalize(self, _forget, self._recorder, name, self.task).atexit = False
        self.forget()

    def forget(self) -> None:
        """Show every reason of shedding with a zero: an increase from nothing would go unseen."""
        if self._recorder is not None:
            for reason in reliability.SHED_REASONS:
                self._recorder.observe(reliability.TASKS_SHED, (*self._labels, ("reason", reason)), 0)

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, whose calls are requests, with its calls recorded."""
        return function if self._recorder is None else wrap_function(function, self._site)

    def state(self) -> str:
        """Return the interface's state; one whose event loop is closed, or that is a forking parent's, does nothing any more."""
        if not self._lifecycle.is_of_now:
            return "offline"
        state = self._lifecycle.state
        return "processing" if state == "idle" and self._gate.running else state

    def depth(self) -> int:
        """Return how many requests wait."""
        return 0 if self.state() == "offline" else self._gate.waiting

    def note_shed(self, reason: str) -> None:
        """Count a request that was refused before its work began."""
        if self._recorder is not None:
            self._recorder.observe(reliability.TASKS_SHED, (*self._labels, ("reason", reason)), 1)

    def note_wait(self, seconds: float) -> None:
        """Count a request that waited in the queue."""
        if self._recorder is not None:
            self._recorder.observe(catalogue.QUEUE_WAIT, self._queue_labels, seconds)

    def note_retry(self) -> None:
        """Count another attempt."""
        if self._recorder is not None:
            name, task = self._labels[0][1], self.task
            target = self._recorder.admission.tracked_target(name, task, is_entry=False, objective=None)
            self._recorder.observe(catalogue.TASK_RETRIES, target.series.labels, 1)

    def note_unbegun(self, error: BaseException) -> None:
        """Record a request that ended before its work began, and was not shed: cancelled, invalid, or without initialisation."""
        if self._recorder is not None:
            call = Call(self._recorder)
            call.begin(functools.partial(self._site.enter, ()))
            call.end(error)


def _forget(recorder: Recorder, name: str, task: str) -> None:
    """Say of an interface that is gone without a shutdown that it is, unless another speaks for its agent or its queue."""
    tasks = _agents.tasks(name)
    label = (catalogue.AGENT, name)
    if not tasks:
        recorder.observe(catalogue.STATE, (label,), AGENT_STATES.index("offline"))
    if task not in tasks:
        recorder.observe(catalogue.QUEUE_DEPTH, (label, ("queue", task)), ABSENT)
