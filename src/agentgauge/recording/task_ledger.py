"""The tasks that one collector was told of: those open, those that ended lately, and what went wrong in them."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.catalogue import Outcome
from agentgauge.recording.outcome import OTHER_ERROR
from agentgauge.recording.recorder import TARGET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.recording.recorder import Record
    from agentgauge.targets import Objective

__all__ = ["EndedTask", "ErrorSummary", "OpenTask", "TaskError", "TaskLedger", "TaskStatistics"]

_RECENT_ERRORS = 50
_ERROR_TYPES = 16
_TASK_TYPES = 100


@dataclass(frozen=True, slots=True)
class TaskError:
    """One task that ended in error or timeout.

    Attributes:
        task_id: The id that the program gave it.
        task_type: Its type.
        error_type: What kind of error it was; ``error`` where the program named none.
        message: The program's message, at most 200 characters of it; never a label.
        timestamp: When it ended, in seconds of Unix time.
    """

    task_id: str
    task_type: str
    error_type: str
    message: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """The tasks that ended in error or timeout since the collector was made.

    Attributes:
        total: How many.
        by_type: How many of each error type; those past the 16th are counted as ``_OTHER``.
        recent: The latest 50, oldest first.
    """

    total: int = 0
    by_type: Mapping[str, int] = field(default_factory=dict)
    recent: tuple[TaskError, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskStatistics:
    """The tasks that ended within a window.

    Attributes:
        window_seconds: The time that the statistics really cover: shorter than asked for where the collector is younger, or
            has forgotten tasks that ended within the window.
        count: How many ended.
        by_outcome: How many in each outcome.
        by_type: How many of each task type; those past the 100th are counted as ``other``.
        mean_seconds: Mean duration of the successful ones; None where there are none, as the three below.
        p50_seconds: The duration that half of the successful ones did not exceed.
        p95_seconds: The duration that 95 % of the successful ones did not exceed.
        max_seconds: The longest duration of a successful one.
        input_bytes: Total of the input sizes that the program stated.
    """

    window_seconds: float = 0.0
    count: int = 0
    by_outcome: Mapping[str, int] = field(default_factory=dict)
    by_type: Mapping[str, int] = field(default_factory=dict)
    mean_seconds: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    max_seconds: float | None = None
    input_bytes: int = 0


class OpenTask(NamedTuple):
    """A task that has started and not ended."""

    task_type: str
    input_bytes: int
    record: Record

    @property
    def objective(self) -> Objective | None:
        """What the task's series promises."""
        objective: Objective | None = self.record[TARGET].series.objective
        return objective


class EndedTask(NamedTuple):
    """A task that has ended; ``ended`` is on the recorder's clock."""

    task_type: str
    input_bytes: int
    objective: Objective | None
    outcome: Outcome
    seconds: float
    ended: float


class TaskLedger:
    """Open tasks by id and ended ones by time, both bounded; every method is one step for other threads.

    The lock may be entered again by the thread that holds it, from a signal handler or a finalizer; nothing waits or
    logs under it.
    """

    def __init__(self, open_limit: int, history_limit: int, now: float) -> None:
        """Start empty at ``now``, with room for so many open tasks and so many ended ones."""
        self._open_limit = open_limit
        self._history_limit = history_limit
        self._born = now
        self._lock = threading.RLock()
        self._open: OrderedDict[str, OpenTask] = OrderedDict()
        self._ended_ids: OrderedDict[str, None] = OrderedDict()
        self._history: deque[EndedTask] = deque(maxlen=history_limit)
        self._error_count = 0
        self._errors_by_type: Counter[str] = Counter()
        self._recent_errors: deque[TaskError] = deque(maxlen=_RECENT_ERRORS)

    def open(self, task_id: str, task: OpenTask) -> bool:
        """Enter a task; False where one of that id is open. An id may be used again after its task has ended."""
        with self._lock:
            if task_id in self._open:
                return False
            self._open[task_id] = task
            return True

    def close(self, task_id: str) -> OpenTask | None:
        """Take out the open task of that id; of several callers one gets it."""
        with self._lock:
            task = self._open.pop(task_id, None)
            if task is not None:
                self._remember(task_id)
            return task

    def close_surplus(self) -> tuple[str, OpenTask] | None:
        """Take out the task that was entered first, where more are open than may be."""
        with self._lock:
            if len(self._open) <= self._open_limit:
                return None
            task_id, task = self._open.popitem(last=False)
            self._remember(task_id)
            return task_id, task

    def has_ended(self, task_id: str) -> bool:
        """Tell whether a task of that id was taken out, as far back as ids are remembered."""
        return task_id in self._ended_ids

    def note_end(self, task: EndedTask, error: TaskError | None) -> None:
        """Remember how a task ended."""
        with self._lock:
            self._history.append(task)
            if error is None:
                return
            is_known = error.error_type in self._errors_by_type or len(self._errors_by_type) < _ERROR_TYPES
            self._error_count += 1
            self._errors_by_type[error.error_type if is_known else OTHER_ERROR] += 1
            self._recent_errors.append(error)

    def open_tasks(self) -> list[OpenTask]:
        """Return the open tasks."""
        with self._lock:
            return list(self._open.values())

    def ended_within(self, window_seconds: float, now: float) -> tuple[list[EndedTask], float]:
        """Return the tasks that ended in the last so many seconds, and the seconds that they really cover."""
        with self._lock:
            history = list(self._history)
        is_forgetful = len(history) == self._history_limit
        beginning = max(now - window_seconds, history[0].ended if is_forgetful else self._born)
        return [task for task in history if task.ended >= beginning], max(now - beginning, 0.0)

    def statistics(self, window_seconds: float, now: float) -> TaskStatistics:
        """Sum up the tasks that ended in the last so many seconds."""
        tasks, covered_seconds = self.ended_within(window_seconds, now)
        by_type: Counter[str] = Counter()
        for task in tasks:
            by_type[task.task_type if task.task_type in by_type or len(by_type) < _TASK_TYPES else "other"] += 1
        seconds = sorted(task.seconds for task in tasks if task.outcome is Outcome.SUCCESS)
        return TaskStatistics(
            window_seconds=covered_seconds,
            count=len(tasks),
            by_outcome=dict(Counter(task.outcome.value for task in tasks)),
            by_type=dict(by_type),
            mean_seconds=sum(seconds) / len(seconds) if seconds else None,
            p50_seconds=_quantile(0.5, seconds),
            p95_seconds=_quantile(0.95, seconds),
            max_seconds=seconds[-1] if seconds else None,
            input_bytes=sum(task.input_bytes for task in tasks),
        )

    def errors(self) -> ErrorSummary:
        """Sum up the tasks that went wrong."""
        with self._lock:
            return ErrorSummary(self._error_count, dict(self._errors_by_type), tuple(self._recent_errors))

    def _remember(self, task_id: str) -> None:
        self._ended_ids[task_id] = None
        self._ended_ids.move_to_end(task_id)
        if len(self._ended_ids) > self._history_limit:
            self._ended_ids.popitem(last=False)


def _quantile(ratio: float, ascending: Sequence[float]) -> float | None:
    """Return the smallest value that ``ratio`` of the values do not exceed."""
    return ascending[ceil(ratio * len(ascending)) - 1] if ascending else None
