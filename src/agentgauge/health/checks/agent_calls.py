"""``AgentCheck``: an agent of this program gets its work done, by what it recorded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from agentgauge import catalogue
from agentgauge.catalogue import Outcome
from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.settings import NamedCheck, require_number
from agentgauge.health.status import ComponentType, Finding, Status
from agentgauge.recording.default import default_recorder
from agentgauge.recording.recorder import END, START, TARGET, Recorder
from agentgauge.recording.score import stuck_limit_seconds
from agentgauge.recording.series import SeriesKind
from agentgauge.requirements import require_count, require_name, require_ratio, require_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.recording.series import CallSeries

__all__ = ["AgentCheck"]

_MARKS_A_WINDOW = 100
_BAD = (Outcome.ERROR, Outcome.TIMEOUT)


class _Mark(NamedTuple):
    """What had been counted at a moment, on the recorder's clock."""

    at: float
    failed: int
    judged: int
    errors: dict[str, int]


class _Fault(NamedTuple):
    status: Status
    condition: str
    message: str
    suggestions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCheck(NamedCheck):
    """An agent of this program gets its work done, by what its tasks recorded: decorated, instrumented or reported.

    The share of errors is that of a window: the difference between what is counted now and what was at an earlier check. The
    first check only begins the window, and a window without enough calls is no fault. Cancelled and abandoned tasks count in
    neither part. An agent that has recorded nothing yet is healthy, and the message says so: what has just started is not broken.
    Where it must have work, ``max_idle_seconds`` finds that it has none, or a misspelt name. No page is rendered.

    Attributes:
        agent: The agent's name, as in ``gen_ai_agent_name``.
        task: Look at this task of it alone; at all unless given.
        window_seconds: How far back errors count.
        minimum_calls: With fewer tasks ended in the window, errors say nothing.
        error_ratio_warning: From which share of errors and timeouts it is a warning.
        error_ratio_critical: From which share it is critical.
        stuck_seconds: For how long a task may run before the agent is stuck, which is critical; unless given ten times its
            latency objective, but five minutes at least, or half an hour without one.
        max_idle_seconds: For how long there may be no success, calls or not, before the agent is stale, which is critical; not
            looked at unless given.
        max_queue_depth: How many items may wait in any one of its queues before it is a warning; not looked at unless given.
        recorder: Whose calls; those of the decorators unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.AGENT
    agent: str
    task: str | None = None
    window_seconds: float = 300.0
    minimum_calls: int = 5
    error_ratio_warning: float = 0.1
    error_ratio_critical: float = 0.5
    stuck_seconds: float | None = None
    max_idle_seconds: float | None = None
    max_queue_depth: float | None = None
    recorder: Recorder | None = field(default=None, repr=False)
    _marks: deque[_Mark] = field(init=False, repr=False, compare=False, default_factory=deque)
    _began: list[float] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_name("agent", self.agent, "researcher")
        if self.task is not None:
            require_name("task", self.task, "research")
        require_seconds("window_seconds", self.window_seconds, "300")
        require_count("minimum_calls", self.minimum_calls, "5")
        require_ratio("error_ratio_warning", self.error_ratio_warning, "0.1")
        require_ratio("error_ratio_critical", self.error_ratio_critical, "0.5")
        if self.error_ratio_warning > self.error_ratio_critical:
            raise ConfigurationError(
                f"error_ratio_warning={self.error_ratio_warning!r} is above error_ratio_critical={self.error_ratio_critical!r}: "
                "give a warning that comes first, such as 0.1 and 0.5"
            )
        for name in ("stuck_seconds", "max_idle_seconds"):
            if (seconds := getattr(self, name)) is not None:
                require_seconds(name, seconds, "300")
        if self.max_queue_depth is not None:
            require_number("max_queue_depth", self.max_queue_depth, "100")
        if self.recorder is not None and not isinstance(self.recorder, Recorder):
            raise ConfigurationError("recorder: give the recorder of agentgauge.testing.isolated(), or leave it out")

    def check(self) -> Finding:
        """Look at what is recorded now."""
        recorder = self.recorder or default_recorder()
        recorder.drain()
        series = [each for each in list(recorder.series[SeriesKind.TASK].values()) if self._is_of_agent(dict(each.labels))]
        now = recorder.clock()
        oldest_seconds, stuck = self._oldest(recorder, now)
        before, mark = self._compare(recorder, series, now)
        failed, judged = (mark.failed - before.failed, mark.judged - before.judged)
        idle_seconds = now - max([each.last_success for each in series] + self._began)
        queues = self._queues(recorder)
        details = {
            "calls": judged,
            "failed": failed,
            "window_seconds": round(now - before.at, 3),
            "oldest_task_seconds": oldest_seconds and round(oldest_seconds, 3),
            "last_success_seconds_ago": round(now - last, 3) if isfinite(last := _last_success(series)) else None,
            "queues": queues,
        }
        faults = [*stuck, *self._errors(before, mark), *self._stale(idle_seconds), *self._full(queues)]
        if faults:
            worst = max(faults, key=lambda fault: fault.status is Status.CRITICAL)
            return Finding(
                status=worst.status,
                message=f"{self.agent}: " + "; ".join(fault.message for fault in faults),
                condition=worst.condition,
                error_type=_commonest(before, mark) if worst.condition == "error_ratio" else "",
                suggestions=worst.suggestions,
                details=details,
            )
        if not series and oldest_seconds is None and not queues:
            return Finding(
                status=Status.HEALTHY,
                message=f"{self.agent}: no task of it has been recorded yet",
                suggestions=("Where it had work, its name is another: see gen_ai_agent_name on /metrics.",),
                details=details,
            )
        said = f"{failed} of {judged} tasks failed" if judged else "no task ended"
        message = f"{self.agent}: {said} in {now - before.at:.0f} s" + (
            ", too few to judge" if failed and judged < self.minimum_calls else ""
        )
        return Finding(status=Status.HEALTHY, message=message, details=details)

    def _is_of_agent(self, labels: dict[str, str]) -> bool:
        is_task = self.task is None or labels.get(catalogue.TASK) == self.task
        return is_task and labels.get(catalogue.AGENT) == self.agent

    def _compare(self, recorder: Recorder, series: list[CallSeries], now: float) -> tuple[_Mark, _Mark]:
        """Return what was counted when the window began, and what is now."""
        failed = judged = 0
        errors: dict[str, int] = {}
        for each in series:
            for point in recorder.snapshot(each.children()):
                outcome, count = dict(point.labels)["outcome"], sum(point.counts)
                judged += count if outcome in (Outcome.SUCCESS, *_BAD) else 0
                failed += count if outcome in _BAD else 0
            for error_type, count in each.errors.copy().items():
                errors[error_type] = errors.get(error_type, 0) + count
        mark = _Mark(now, failed, judged, errors)
        marks = self._marks
        if marks and (judged < marks[-1].judged or failed < marks[-1].failed or now < marks[-1].at):
            marks.clear()  # the recorder started anew: a forked child
            self._began.clear()
        if not self._began:
            self._began.append(now)
        while len(marks) > 1 and marks[1].at <= now - self.window_seconds:
            marks.popleft()
        before = marks[0] if marks else mark
        if not marks or now - marks[-1].at >= self.window_seconds / _MARKS_A_WINDOW:
            marks.append(mark)
        return before, mark

    def _errors(self, before: _Mark, mark: _Mark) -> Iterator[_Fault]:
        failed, judged = mark.failed - before.failed, mark.judged - before.judged
        if judged < self.minimum_calls or failed / judged < self.error_ratio_warning:
            return
        is_critical = failed / judged >= self.error_ratio_critical
        kind = _commonest(before, mark)
        yield _Fault(
            Status.CRITICAL if is_critical else Status.WARNING,
            "error_ratio",
            f"{failed} of {judged} tasks failed in {mark.at - before.at:.0f} s" + (f", most by {kind}" if kind else ""),
            (
                f"Look at what raises {kind or 'the errors'}: mostly a model, tool or service behind the agent.",
                "Compare with the last deployment, and with the traces of failed runs.",
            ),
        )

    def _oldest(self, recorder: Recorder, now: float) -> tuple[float | None, list[_Fault]]:
        oldest: float | None = None
        stuck: list[tuple[float, str]] = []
        for record in recorder.open_records():
            target = record[TARGET]
            labels = {**dict(target.series.labels), catalogue.AGENT: target.agent}
            if record[END] is not None or target.series.kind is not SeriesKind.TASK or not self._is_of_agent(labels):
                continue
            age = max(now - record[START], 0.0)
            oldest = max(oldest or 0.0, age)
            limit = self.stuck_seconds if self.stuck_seconds is not None else stuck_limit_seconds(target.series.objective)
            if age > limit:
                stuck.append((age, labels.get(catalogue.TASK, "")))
        if not stuck:
            return oldest, []
        age, task = max(stuck)
        fault = _Fault(
            Status.CRITICAL,
            "stuck",
            f"{len(stuck)} {'task is' if len(stuck) == 1 else 'tasks are'} stuck, {task} for {age:.0f} s",
            (
                "It waits for a model, a tool or a lock without a timeout: look at its stack (py-spy dump) and open spans.",
                "Restart the agent, and put a timeout around what it waited for.",
            ),
        )
        return oldest, [fault]

    def _stale(self, idle_seconds: float) -> Iterator[_Fault]:
        if self.max_idle_seconds is not None and idle_seconds > self.max_idle_seconds:
            yield _Fault(
                Status.CRITICAL,
                "stale",
                f"no success for {idle_seconds:.0f} s",
                (
                    "It gets no work: look at what calls it, its queue or its schedule.",
                    "All its work fails, or hangs: look at its errors and tasks in progress.",
                ),
            )

    def _queues(self, recorder: Recorder) -> dict[str, float]:
        table = recorder.cells.values.get(catalogue.QUEUE_DEPTH, {})
        named = [(dict(labels), depth) for labels, depth in list(table.items())]
        return {labels.get("queue", ""): depth for labels, depth in named if labels.get(catalogue.AGENT) == self.agent}

    def _full(self, queues: dict[str, float]) -> Iterator[_Fault]:
        deepest = max(queues, key=lambda name: queues[name], default="")
        if self.max_queue_depth is not None and queues and queues[deepest] > self.max_queue_depth:
            yield _Fault(
                Status.WARNING,
                "queue",
                f"{queues[deepest]:g} items wait in queue {deepest}, above {self.max_queue_depth:g}",
                (
                    "More comes than is done: add workers, or shed load.",
                    "Its workers are stuck or slow: look at the tasks in progress and their durations.",
                ),
            )


def _commonest(before: _Mark, mark: _Mark) -> str:
    grown = {kind: count - before.errors.get(kind, 0) for kind, count in mark.errors.items()}
    return max((kind for kind in grown if grown[kind] > 0), key=lambda kind: grown[kind], default="")


def _last_success(series: list[CallSeries]) -> float:
    return max((each.last_success for each in series), default=-inf)
