"""``AgentMetricsCollector``: what an agent says of itself, for code that cannot be decorated."""

from __future__ import annotations

import dataclasses
import functools
import os
import weakref
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self

from agentgauge import catalogue
from agentgauge.catalogue import AGENT_STATES, Outcome
from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors, report_internal_error
from agentgauge.recording.call import end_call
from agentgauge.recording.default import default_recorder
from agentgauge.recording.intake import Intake, name_of, text_of
from agentgauge.recording.outcome import UNTOLD, Failure, failure_of
from agentgauge.recording.queue_level import QueueLevel
from agentgauge.recording.recorder import END, SOFT_LIMIT, START, Recorder
from agentgauge.recording.score import FULL_SCORE, failure_budget, score, stuck_limit_seconds
from agentgauge.recording.site import current_agent
from agentgauge.recording.task_ledger import EndedTask, ErrorSummary, OpenTask, TaskError, TaskLedger, TaskStatistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

    from agentgauge.catalogue import Family
    from agentgauge.recording.intake import TaskId

__all__ = ["AgentMetricsCollector", "HealthMetrics"]

P = ParamSpec("P")

_HOOK = "agent_metrics"
_HEALTH_WINDOW_SECONDS = 300.0
_OUTCOMES = {  # error categories, in lower case, that mean another outcome than error
    "timeout": Outcome.TIMEOUT,
    "timeouterror": Outcome.TIMEOUT,
    "cancelled": Outcome.CANCELLED,
    "canceled": Outcome.CANCELLED,
    "cancellederror": Outcome.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class HealthMetrics:
    """How an agent has done in the last five minutes, or since its collector was made.

    Attributes:
        success_ratio: Successes among successes, errors and timeouts; None where none ended.
        throughput_per_second: Tasks that ended, whatever their outcome.
        tasks_in_progress: Tasks that have started and not ended.
        oldest_task_age_seconds: For how long the oldest of them has run; None where there is none.
        score: 100, less 2 points for each percent of the tasks that failed beyond what may fail (by the task's objective,
            else 10 %), at most 60; less 10 for each stuck task (in progress for ten times its latency objective, but five
            minutes at least, or half an hour without one), at most 30; less at most 10 where the queues grew by 10 or more.
        reasons: What lowered the score, and by how many points.
    """

    success_ratio: float | None = None
    throughput_per_second: float = 0.0
    tasks_in_progress: int = 0
    oldest_task_age_seconds: float | None = None
    score: float = FULL_SCORE
    reasons: tuple[str, ...] = ()


def _report(
    method: Callable[Concatenate[AgentMetricsCollector, P], None],
) -> Callable[Concatenate[AgentMetricsCollector, P], None]:
    """Make a method do nothing where agentgauge is disabled, and never raise."""

    @functools.wraps(method)
    def call(self: AgentMetricsCollector, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._is_enabled:
            try:
                method(self, *args, **kwargs)
            except Exception as fault:  # noqa: BLE001 - a fault must not reach the host
                report_internal_error(_HOOK, fault)

    return call


def _abandon(ledger: TaskLedger, recorder: Recorder) -> None:
    for task in ledger.open_tasks():
        end_call(recorder, task.record, None, None, failure=Failure(Outcome.ABANDONED, "dropped"))


class AgentMetricsCollector:
    """Takes an agent's own reports: its tasks by id, its state, its queues and its readings; no method raises.

    A task may start in one thread and end in another, so it has no span. Outside a decorated call of the same agent a task is
    the agent's run as well (``gen_ai_invoke_agent_duration_seconds``). What does not fit (a task id that is unknown, open
    already or ended already, a negative size, an unknown state) is a warning in the log and is counted in
    ``agent_task_protocol_faults_total``. Collectors of one agent share its series; health, statistics and errors are each
    collector's own. A forked child starts with no open tasks: those of its parent stay the parent's.

    Args:
        agent_id: The agent's name, one of a bounded set; becomes the label ``gen_ai_agent_name``.
        recorder: Where to record; by default where the decorators do.
        task_limit: How many tasks may be open; past it the oldest ends as abandoned.
        history_limit: How many ended tasks are kept for the statistics.

    Raises:
        ConfigurationError: The agent's id is no name, or a limit is not positive; nothing raises later.
    """

    def __init__(
        self, agent_id: str, *, recorder: Recorder | None = None, task_limit: int = 10_000, history_limit: int = 10_000
    ) -> None:
        agent = name_of(agent_id)
        if agent is None:
            raise ConfigurationError(f"agent_id={agent_id!r}: give the agent's name, such as 'researcher'")
        for setting, limit in (("task_limit", task_limit), ("history_limit", history_limit)):
            if not isinstance(limit, int) or limit < 1:
                raise ConfigurationError(f"{setting}={limit!r}: give a positive whole number, such as 10_000")
        self._agent = agent
        self._is_enabled = not is_disabled()
        self._recorder = recorder or (default_recorder() if self._is_enabled else Recorder())
        self._task_limit = task_limit
        self._history_limit = history_limit
        self._intake = Intake(agent, self._recorder)
        self._finalizer: weakref.finalize[Any, Any] = weakref.finalize(self, bool)
        self._start_anew()
        _collectors.add(self)

    def _start_anew(self) -> None:
        now = 0.0
        with contain_internal_errors(_HOOK):
            now = self._recorder.clock()
        self._ledger = TaskLedger(self._task_limit, self._history_limit, now)
        # Nobody can end the tasks of a collector that is gone, and they must not look as if they ran for ever.
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _abandon, self._ledger, self._recorder)
        self._finalizer.atexit = False
        self._state: str | None = None
        self._queues: dict[str, QueueLevel] = {}
        self._connections: float | None = None
        self._memory_usage_bytes: float | None = None
        self._custom: dict[str, float] = {}
        if self._is_enabled:
            with contain_internal_errors(_HOOK):
                self._intake.announce()
                self._relieve()

    def __copy__(self) -> Self:
        """Return itself, as ``deepcopy`` does."""
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Return itself: a copied agent (frameworks copy theirs) goes on reporting to the same books."""
        return self

    def __reduce__(self) -> tuple[Callable[[], AgentMetricsCollector], tuple[()]]:
        """Pickle as a collector that starts anew, in the other process's default recorder."""
        task_limit, history_limit = self._task_limit, self._history_limit
        return functools.partial(AgentMetricsCollector, self._agent, task_limit=task_limit, history_limit=history_limit), ()

    # --- tasks ------------------------------------------------------------------------------------------------------------

    @_report
    def start_task(self, task_id: TaskId, task_type: str, input_size_bytes: float | None = None) -> None:
        """Start a task.

        Args:
            task_id: Names the task until it ends; never a label. It may be used again after that.
            task_type: What kind of task it is, one of a bounded set; becomes the label ``agent_task``.
            input_size_bytes: The size of its input (``agent_task_input_size_bytes``).
        """
        key = self._intake.task_id(task_id)
        if key is None:
            return
        name = self._intake.name("task_type", task_type) or "unknown"
        size = None if input_size_bytes is None else self._intake.number("input_size_bytes", input_size_bytes)
        recorder = self._recorder
        is_run = current_agent.get() != self._agent
        target = recorder.admission.tracked_target(self._agent, name, is_entry=is_run, objective=None)
        record = [target, recorder.clock(), None, None]
        if not self._ledger.open(key, OpenTask(name, int(size or 0), record)):
            self._intake.complain("duplicate", "task %s was started while it is open; the first start counts", key)
            return
        recorder.append(record)
        self._relieve()
        if size is not None:
            recorder.observe(catalogue.TASK_INPUT_SIZE, target.series.labels, size)
        surplus = self._ledger.close_surplus()
        if surplus is not None:
            evicted, task = surplus
            self._end(evicted, task, Failure(Outcome.ABANDONED, "evicted"))
            message = f"more than {self._task_limit} tasks are open; the oldest, %s, is abandoned"
            self._intake.complain("evicted", message, evicted)

    @_report
    def complete_task(self, task_id: TaskId) -> None:
        """End a task in success."""
        self._close(task_id, None)

    @_report
    def fail_task(self, task_id: TaskId, error_message: object, error_category: str | None = None) -> None:
        """End a task in error.

        Args:
            task_id: The id that it was started with.
            error_message: What went wrong, in words or as the exception; kept for ``get_error_summary``, never a label.
            error_category: What kind of error it was, one of a bounded set; by default the type of ``error_message`` where
                that is an exception, else ``error``. Becomes the label ``error_type``. With ``timeout`` or ``TimeoutError`` the
                outcome is timeout, with ``cancelled`` or ``CancelledError`` it is cancelled, which is no error.
        """
        failure = UNTOLD
        with contain_internal_errors(_HOOK):  # whatever fails here, the task must end
            if error_category is None and isinstance(error_message, BaseException):
                failure = failure_of(error_message)
            else:
                category = "error" if error_category is None else self._intake.name("error_category", error_category) or "error"
                failure = Failure(_OUTCOMES.get(category.lower(), Outcome.ERROR), category)
        self._close(task_id, failure, text_of(error_message))

    def _close(self, task_id: object, failure: Failure | None, message: str = "") -> None:
        key = self._intake.task_id(task_id)
        if key is None:
            return
        task = self._ledger.close(key)
        if task is not None:
            self._end(key, task, failure, message)
        elif self._ledger.has_ended(key):
            self._intake.complain("already_ended", "task %s was ended again; its first end counts", key)
        else:
            self._intake.complain("unknown", "task %s was ended, but it is not known to have started", key)

    def _end(self, key: str, task: OpenTask, failure: Failure | None, message: str = "") -> None:
        record = task.record
        end_call(self._recorder, record, None, None, failure=failure)
        end = record[END]
        outcome = Outcome.SUCCESS if failure is None else failure.outcome
        error = None
        if failure is not None and outcome in (Outcome.ERROR, Outcome.TIMEOUT):
            error = TaskError(key, task.task_type, failure.error_type, message, end + self._recorder.wall_offset)
        self._ledger.note_end(
            EndedTask(task.task_type, task.input_bytes, task.objective, outcome, end - record[START], end), error
        )

    # --- readings ---------------------------------------------------------------------------------------------------------

    @_report
    def set_state(self, state: str | Enum) -> None:
        """Say what state the agent is in (``agent_state``).

        Args:
            state: ``initializing``, ``idle``, ``processing``, ``error``, ``shutting_down`` or ``offline``, in any case, or an
                enumeration's member of that value or name.
        """
        name = (name_of(state) or "").lower()
        if name not in AGENT_STATES:
            self._intake.complain("bad_value", f"state=%s: give one of {', '.join(AGENT_STATES)}", state)
            return
        self._state = name
        self._observe(catalogue.STATE, AGENT_STATES.index(name))

    @_report
    def update_queue_size(self, size: float, queue: str = "default") -> None:
        """Say how many items wait in a queue now (``agent_queue_depth``)."""
        name = self._intake.name("queue", queue)
        depth = self._intake.number("size", size)
        if name is None or depth is None:
            return
        if name in self._queues or len(self._queues) < self._recorder.series_limit:
            self._queues.setdefault(name, QueueLevel(_HEALTH_WINDOW_SECONDS)).set(depth, self._recorder.clock())
        self._observe(catalogue.QUEUE_DEPTH, depth, name)

    @_report
    def record_queue_wait(self, seconds: float, queue: str = "default") -> None:
        """Count one item that waited so many seconds in a queue (``agent_queue_wait_seconds``)."""
        name = self._intake.name("queue", queue)
        waited = self._intake.number("seconds", seconds)
        if name is not None and waited is not None:
            self._observe(catalogue.QUEUE_WAIT, waited, name)

    @_report
    def update_connections(self, count: float) -> None:
        """Say how many connections the agent holds open (``agent_connections``)."""
        number = self._intake.number("count", count)
        if number is not None:
            self._connections = number
            self._observe(catalogue.CONNECTIONS, number)

    @_report
    def update_memory_usage(self, bytes: float) -> None:  # noqa: A002 - the name is given
        """Say how much memory the agent uses, in bytes (``agent_memory_usage_bytes``)."""
        number = self._intake.number("bytes", bytes)
        if number is not None:
            self._memory_usage_bytes = number
            self._observe(catalogue.MEMORY_USAGE, number)

    @_report
    def set_custom_metric(self, name: str, value: float) -> None:
        """Say what a reading of the program's own is now (``agent_custom_metric``); the names are a bounded set."""
        label = self._intake.name("name", name)
        number = self._intake.number("value", value, lowest=-inf)
        if label is None or number is None:
            return
        if label in self._custom or len(self._custom) < self._recorder.series_limit:
            self._custom[label] = number
        self._observe(catalogue.CUSTOM, number, label)

    def _observe(self, family: Family, value: float, second_label: str = "") -> None:
        # A state set's second label is the recorder's to expand.
        labels = zip(family.labels, (self._agent, second_label) if second_label else (self._agent,), strict=False)
        self._recorder.observe(family, tuple(labels), value)

    def _relieve(self) -> None:
        if len(self._recorder.buffer) > SOFT_LIMIT:
            self._recorder.relieve()

    # --- answers ----------------------------------------------------------------------------------------------------------

    def get_health_metrics(self) -> HealthMetrics:
        """Return how the agent has done in the last five minutes, as a score with its reasons."""
        with contain_internal_errors(_HOOK):
            return self._health(self._recorder.clock())
        return HealthMetrics()

    def get_task_statistics(self, time_window: timedelta | float | None = None) -> TaskStatistics:
        """Return what is known of the tasks that ended within a window.

        Args:
            time_window: How far back, as a ``timedelta`` or in seconds; by default as far as ended tasks are kept.
        """
        if not self._is_enabled:
            return TaskStatistics()
        with contain_internal_errors(_HOOK):
            seconds: float | None = inf
            if time_window is not None:
                asked = time_window.total_seconds() if isinstance(time_window, timedelta) else time_window
                seconds = self._intake.number("time_window", asked)
                self._relieve()
            return self._ledger.statistics(inf if seconds is None else seconds, self._recorder.clock())
        return TaskStatistics()

    def get_error_summary(self) -> ErrorSummary:
        """Return how many tasks ended in error or timeout, and what the latest of them said."""
        with contain_internal_errors(_HOOK):
            return self._ledger.errors()
        return ErrorSummary()

    def export_metrics(self) -> dict[str, Any]:
        """Return everything that is known of the agent as what ``json.dumps`` takes; what is not known is None."""
        with contain_internal_errors(_HOOK):
            return {
                "agent_id": self._agent,
                "state": self._state,
                "queues": {name: level.depth for name, level in list(self._queues.items())},
                "connections": self._connections,
                "memory_usage_bytes": self._memory_usage_bytes,
                "custom": self._custom.copy(),
                "health": dataclasses.asdict(self.get_health_metrics()),
                "tasks": dataclasses.asdict(self.get_task_statistics()),
                "errors": dataclasses.asdict(self.get_error_summary()),
            }
        return {}

    def _health(self, now: float) -> HealthMetrics:
        ended, covered_seconds = self._ledger.ended_within(_HEALTH_WINDOW_SECONDS, now)
        judged = [task for task in ended if task.outcome not in (Outcome.CANCELLED, Outcome.ABANDONED)]
        failed = sum(task.outcome is not Outcome.SUCCESS for task in judged)
        ages = [(max(now - task.record[START], 0.0), stuck_limit_seconds(task.objective)) for task in self._ledger.open_tasks()]
        levels = list(self._queues.values())
        points, reasons = score(
            failed=failed,
            judged=len(judged),
            failure_budget_ratio=sum(failure_budget(task.objective) for task in judged) / len(judged) if judged else 0.0,
            stuck=sum(age > limit for age, limit in ages),
            queue_depth=sum(level.depth for level in levels),
            queue_growth=sum(level.growth(now) for level in levels),
        )
        return HealthMetrics(
            success_ratio=(len(judged) - failed) / len(judged) if judged else None,
            throughput_per_second=len(ended) / covered_seconds if covered_seconds else 0.0,
            tasks_in_progress=len(ages),
            oldest_task_age_seconds=max((age for age, _ in ages), default=None),
            score=points,
            reasons=reasons,
        )


_collectors: weakref.WeakSet[AgentMetricsCollector] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    for collector in list(_collectors):
        with contain_internal_errors(_HOOK):
            collector._start_anew()  # noqa: SLF001 - the hook is part of the collector


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
