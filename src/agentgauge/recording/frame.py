"""Where a call runs: the agent whose name flows there, and the calls of agents, tools and models around it.

A frame is what ``current_agent`` holds inside an agent's run, a workflow, a tool and whatever an instrumentor reports. It is a
string, the agent's name, so that the hot path goes on to ask for nothing else. Decorated tasks inside a run make none.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from agentgauge import catalogue
from agentgauge.catalogue import Outcome
from agentgauge.recording.series import LM, RUN, TASK, WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import SeriesKind

__all__ = ["Frame", "open_frame"]

_MOST_FINGERPRINTS = 1_000
_MOST_INTERVALS = 1_000
_FAMILIES_A_RUN = 3
_SUCCESS = Outcome.SUCCESS.value

_counting = threading.RLock()  # threads of one run count in the same frame
_process = object()


def _start_anew_in_child() -> None:
    global _counting, _process  # noqa: PLW0603 - the lock of another thread, and frames that are the parent's
    _counting = threading.RLock()
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)


class Frame(str):  # noqa: SLOT000 - nearly all of its attributes are never set, and their defaults cost nothing
    """The agent's name inside a call, and the books of that call.

    Attributes:
        kind: What the call is; a run is that of an agent.
        name: What it is called: its agent, task, tool or workflow; of an LM call, the operation.
        outer: The frame around it, None at the top of a program.
        instrumentor: Who reported it; empty for decorators.
        run: The innermost agent's run that it is or is in.
        workflow: The innermost workflow that it is or is in.
        lm: The innermost LM call that it is or is in.
        agents: Of a run: the agents whose runs it is or is in, each once.
        is_closed: Whether the call has ended.
        call: What an instrumentor keeps of the call.
        lm_calls, tool_calls, steps: How many its run made, not counting those of runs inside.
        tokens: What its run used, with those of the runs inside that succeeded.
        wasted_seconds: How long runs inside took that did not succeed.
        has_inner: Whether another frame was made inside.
        fingerprints: The tool calls that its run made.
        work: When innermost calls of its workflow were at work.
    """

    kind: SeriesKind
    name: str
    instrumentor: str

    _process: object
    outer: Frame | None = None
    run: Frame | None = None
    workflow: Frame | None = None
    lm: Frame | None = None
    agents: tuple[str, ...] = ()
    is_closed = False
    call: Any = None
    lm_calls = 0
    tool_calls = 0
    steps = 0
    tokens = 0
    wasted_seconds = 0.0
    has_inner = False
    fingerprints: set[Any] | None = None
    work: _Work | None = None

    @classmethod
    def enter(cls, current: str, kind: SeriesKind, name: str, agent: str, instrumentor: str = "") -> Frame:
        """Make the frame of a call that begins where ``current_agent`` is ``current``, of this or of another agent."""
        frame = cls(agent)
        frame.kind = kind
        frame.name = name
        frame.instrumentor = instrumentor
        frame._process = _process
        outer = current if type(current) is Frame else None
        if outer is not None and outer.is_closed:
            outer = open_frame(outer)
        run: Frame | None = None
        if outer is not None:
            frame.outer = outer
            outer.has_inner = True
            above, run, workflow, lm = outer.outer, outer.run, outer.workflow, outer.lm
            if above is not None and above.is_closed:
                outer.outer = open_frame(above)  # or a chain of tasks, each begun by the last, would keep all frames
            if run is not None and run.is_closed:
                run = _open_of("run", run)
            frame.run = run
            frame.workflow = workflow if workflow is None or not workflow.is_closed else _open_of("workflow", workflow)
            frame.lm = lm if lm is None or not lm.is_closed else _open_of("lm", lm)
        if kind is RUN:
            around = () if run is None else run.agents
            frame.agents = around if agent in around else (str(agent), *around)
            frame.run = frame
        elif kind is WORKFLOW:
            frame.workflow = frame
        elif kind is LM:
            frame.lm = frame
        return frame

    @property
    def is_of_parent(self) -> bool:
        """Whether the process that forked this one made it: what happens in it is that one's."""
        return self._process is not _process

    def around(self) -> Iterator[Frame]:
        """Yield this frame and those around it, innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.outer

    @property
    def outer_run(self) -> Frame | None:
        """The agent's run around this one."""
        return None if self.outer is None else self.outer.run

    # --- what happens in it ---------------------------------------------------------------------------------------------------

    def note_tool_call(self, recorder: Recorder, tool: str, fingerprint: object = None) -> None:
        """Count a tool call of this run, and whether it was made before with the same arguments: those of ``fingerprint``."""
        run = self.run
        if run is None:
            return
        with _counting:
            run.tool_calls += 1
            if fingerprint is None:
                return
            seen = run.fingerprints = run.fingerprints or set()
            is_repeated = (tool, fingerprint) in seen
            if len(seen) < _MOST_FINGERPRINTS:
                seen.add((tool, fingerprint))
        if is_repeated:
            recorder.observe(catalogue.REPEATED_TOOL_CALLS, ((catalogue.AGENT, str(run)), (catalogue.TOOL, tool)), 1)

    def note_lm_call(self, tokens: int) -> None:
        """Count an LM call of this run, and the tokens that it used."""
        with _counting:
            self.lm_calls += 1
            self.tokens += tokens

    def note_step(self) -> None:
        """Count a step of this run."""
        with _counting:
            self.steps += 1

    def close(self, recorder: Recorder, start: float, end: float, failure: Failure | None) -> None:
        """Settle the books of the call when it ends; times are by the recorder's clock.

        Tasks of asyncio that began inside may go on: what they call from now on is inside of what is around it.
        """
        if self.is_closed or self._process is not _process:
            return
        self.is_closed = True
        kind = self.kind
        if kind is RUN:
            self._close_run(recorder, end - start, failure)
        elif kind is TASK and self.run is not None:
            self.run.note_step()
        elif kind is WORKFLOW:
            self._close_workflow(recorder, start, end)
        outer = self.outer
        if outer is not None and outer.workflow is not None and not self.has_inner:
            outer.workflow.note_work(start, end)
        self.run = self.workflow = self.lm = self.call = None  # no frame waits for a garbage collection

    def note_work(self, start: float, end: float) -> None:
        """Note for a workflow that an innermost call of it was at work."""
        with _counting:
            work = self.work
            if work is None:
                work = self.work = _Work()
            work.note(start, end)

    def _close_workflow(self, recorder: Recorder, start: float, end: float) -> None:
        with _counting:
            work = self.work or _Work()
            worked = work.seconds(end)
        idle = end - start - worked if self.has_inner else 0.0  # a workflow without any part that we see is at work itself
        recorder.observe(catalogue.COORDINATION, ((catalogue.WORKFLOW, self.name),), max(0.0, idle))
        around = self.outer.workflow if self.outer is not None else None
        if around is not None:
            for interval in work.intervals:
                around.note_work(*interval)

    def _close_run(self, recorder: Recorder, seconds: float, failure: Failure | None) -> None:
        agent = str(self)  # no frame: what is counted outlives it
        labels = ((catalogue.AGENT, agent),)
        around = self.outer_run
        outcome = _SUCCESS if failure is None else failure.outcome.value
        for family, count in (
            (catalogue.INFERENCE_CALLS, self.lm_calls),
            (catalogue.TOOL_CALLS, self.tool_calls),
            (catalogue.RUN_STEPS, self.steps),
        ):
            # An agent that never made such a call is none that could.
            if count and len(recorder.counted_by_run) < _FAMILIES_A_RUN * recorder.series_limit:
                recorder.counted_by_run.add((family, agent))
            if count or (recorder.counted_by_run and (family, agent) in recorder.counted_by_run):
                recorder.observe(family, labels, count)
        if around is not None:
            handoff = (("source", str(around)), ("target", agent), ("outcome", outcome))
            recorder.observe(catalogue.HANDOFFS, handoff, 1)
            recorder.observe(catalogue.DELEGATION_DEPTH, labels, _depth(around))
        if failure is None:
            if around is not None and (self.tokens or self.wasted_seconds):
                with _counting:
                    around.tokens += self.tokens
                    around.wasted_seconds += self.wasted_seconds
            return
        wasted = (*labels, ("outcome", outcome))
        recorder.observe(catalogue.WASTED_TOKENS, wasted, self.tokens)
        recorder.observe(catalogue.WASTED_TIME, wasted, max(0.0, seconds - self.wasted_seconds))
        if around is not None:
            with _counting:
                around.wasted_seconds += seconds


class _Work:
    """When something of a workflow was at work: intervals that may overlap, and what was long enough ago as a sum."""

    __slots__ = ("intervals", "settled_seconds", "settled_until")

    def __init__(self) -> None:
        self.intervals: list[tuple[float, float]] = []
        self.settled_seconds = 0.0
        self.settled_until = float("-inf")

    def note(self, start: float, end: float) -> None:
        """Add an interval; what reaches back behind what is settled counts from there on."""
        if start < self.settled_until:  # noqa: PLR1730 - max() costs a call
            start = self.settled_until
        if end <= start:
            return
        self.intervals.append((start, end))
        if len(self.intervals) > _MOST_INTERVALS:
            self.intervals = _merged(self.intervals)
            if len(self.intervals) > _MOST_INTERVALS // 2:
                old = self.intervals[: -_MOST_INTERVALS // 4]
                self.intervals = self.intervals[-_MOST_INTERVALS // 4 :]
                self.settled_seconds += sum(last - first for first, last in old)
                self.settled_until = old[-1][1]

    def seconds(self, end: float) -> float:
        """Return how long something was at work until ``end``."""
        self.intervals = _merged(self.intervals)
        return self.settled_seconds + sum(max(0.0, min(last, end) - first) for first, last in self.intervals)


def open_frame(frame: Frame | None) -> Frame | None:
    """Return the innermost of a frame and those around it that has not ended."""
    while frame is not None and frame.is_closed:
        frame = frame.outer
    return frame


def _open_of(role: str, frame: Frame | None) -> Frame | None:
    """Return the innermost open run, workflow or LM call around one that has ended."""
    while frame is not None and frame.is_closed:
        around = open_frame(frame)  # which may be a tool or a task: what that is in counts
        frame = None if around is None else getattr(around, role)
    return frame


def _depth(run: Frame) -> int:
    depth = 0
    each: Frame | None = run
    while each is not None:
        depth += 1
        each = each.outer_run
    return depth


def _merged(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join what overlaps."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged
