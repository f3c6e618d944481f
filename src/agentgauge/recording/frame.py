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
from agentgauge.recording.series import SeriesKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.recorder import Recorder

__all__ = ["Frame"]

_MOST_FINGERPRINTS = 1_000
_MOST_INTERVALS = 1_000

_counting = threading.RLock()  # threads of one run count in the same frame


def _renew_lock() -> None:
    global _counting  # noqa: PLW0603 - a forked child must not wait for a thread that it does not have
    _counting = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


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
        call: What an instrumentor keeps of the call.
        lm_calls, tool_calls, steps: How many its run made, not counting those of runs inside.
        tokens: What its run used, with those of the runs inside that succeeded.
        wasted_seconds: How long runs inside took that did not succeed.
        has_inner: Whether another frame was made inside.
        fingerprints: The tool calls that its run made.
        intervals: When innermost calls of its workflow were at work, by the recorder's clock.
    """

    kind: SeriesKind
    name: str
    outer: Frame | None
    instrumentor: str
    run: Frame | None
    workflow: Frame | None
    lm: Frame | None

    call: Any = None
    lm_calls = 0
    tool_calls = 0
    steps = 0
    tokens = 0
    wasted_seconds = 0.0
    has_inner = False
    fingerprints: set[Any] | None = None
    intervals: list[tuple[float, float]] | None = None

    @classmethod
    def enter(cls, current: str, kind: SeriesKind, name: str, agent: str, instrumentor: str = "") -> Frame:
        """Make the frame of a call that begins where ``current_agent`` is ``current``, of this or of another agent."""
        frame = cls(agent)
        outer = current if type(current) is Frame else None
        frame.kind = kind
        frame.name = name
        frame.outer = outer
        frame.instrumentor = instrumentor
        if outer is None:
            frame.run = frame.workflow = frame.lm = None
        else:
            frame.run, frame.workflow, frame.lm = outer.run, outer.workflow, outer.lm
            outer.has_inner = True
        if kind is SeriesKind.RUN:
            frame.run = frame
        elif kind is SeriesKind.WORKFLOW:
            frame.workflow = frame
        elif kind is SeriesKind.LM:
            frame.lm = frame
        return frame

    def around(self) -> Iterator[Frame]:
        """Yield this frame and those around it, innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.outer

    @property
    def outer_run(self) -> Frame | None:
        """The agent's run around this one."""
        return self.outer.run if self.outer is not None else None

    def runs_around(self) -> Iterator[Frame]:
        """Yield the agents' runs that this frame is in, innermost first."""
        run = self.run
        while run is not None:
            yield run
            run = run.outer_run

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
        if self.run is not None:
            with _counting:
                self.run.lm_calls += 1
                self.run.tokens += tokens

    def note_step(self) -> None:
        """Count a step of this run."""
        with _counting:
            self.steps += 1

    def close(self, recorder: Recorder, start: float, end: float, failure: Failure | None) -> None:
        """Settle the books of the call when it ends; times are by the recorder's clock."""
        if self.kind is SeriesKind.RUN:
            self._close_run(recorder, end - start, failure)
        elif self.kind is SeriesKind.TASK and self.run is not None:
            self.run.note_step()
        elif self.kind is SeriesKind.WORKFLOW:
            self._close_workflow(recorder, start, end)
        outer = self.outer
        if outer is not None and outer.workflow is not None and not self.has_inner:
            outer.workflow.note_work(start, end)

    def note_work(self, start: float, end: float) -> None:
        """Note for a workflow that an innermost call of it was at work."""
        with _counting:
            intervals = self.intervals = self.intervals or []
            intervals.append((start, end))
            if len(intervals) > _MOST_INTERVALS:
                self.intervals = _merged(intervals)

    def _close_workflow(self, recorder: Recorder, start: float, end: float) -> None:
        with _counting:
            intervals = _merged(self.intervals or [])
        worked = sum(max(0.0, min(last, end) - max(first, start)) for first, last in intervals)
        idle = end - start - worked if self.has_inner else 0.0  # a workflow without any part that we see is at work itself
        recorder.observe(catalogue.COORDINATION, ((catalogue.WORKFLOW, self.name),), max(0.0, idle))
        around = self.outer.workflow if self.outer is not None else None
        if around is not None:
            for interval in intervals:
                around.note_work(*interval)

    def _close_run(self, recorder: Recorder, seconds: float, failure: Failure | None) -> None:
        agent = str(self)  # no frame: what is counted outlives it
        labels = ((catalogue.AGENT, agent),)
        around = self.outer_run
        outcome = Outcome.SUCCESS if failure is None else failure.outcome
        for family, count in (
            (catalogue.INFERENCE_CALLS, self.lm_calls),
            (catalogue.TOOL_CALLS, self.tool_calls),
            (catalogue.RUN_STEPS, self.steps),
        ):
            # An agent that never made such a call is none that could.
            if count:
                recorder.counted_by_run.add((family, agent))
            if count or (recorder.counted_by_run and (family, agent) in recorder.counted_by_run):
                recorder.observe(family, labels, count)
        if around is not None:
            handoff = (("source", str(around)), ("target", agent), ("outcome", outcome.value))
            recorder.observe(catalogue.HANDOFFS, handoff, 1)
            recorder.observe(catalogue.DELEGATION_DEPTH, labels, sum(1 for _ in around.runs_around()))
        if failure is None:
            if around is not None and (self.tokens or self.wasted_seconds):
                with _counting:
                    around.tokens += self.tokens
                    around.wasted_seconds += self.wasted_seconds
            return
        wasted = (*labels, ("outcome", outcome.value))
        recorder.observe(catalogue.WASTED_TOKENS, wasted, self.tokens)
        recorder.observe(catalogue.WASTED_TIME, wasted, max(0.0, seconds - self.wasted_seconds))
        if around is not None:
            with _counting:
                around.wasted_seconds += seconds


def _merged(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join what overlaps."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged
