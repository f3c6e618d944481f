"""What events are folded into: the histograms and counters of one agent's task, tool, run or workflow."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import SpanKind

from agentgauge import catalogue
from agentgauge.catalogue import Outcome
from agentgauge.recording.outcome import OTHER_ERROR
from agentgauge.recording.points import clean_label, label_text

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from agentgauge.catalogue import Family
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.points import Labels
    from agentgauge.targets import Objective

__all__ = ["LM", "RUN", "TASK", "TOOL", "WORKFLOW", "CallSeries", "Child", "LmName", "SeriesKind", "Target"]

_ERROR_TYPES_A_SERIES = 16


class LmName(NamedTuple):
    """What an LM call is called: the GenAI operation, such as ``chat``, who provides the model, and which one.

    The model that answered may be another than was asked for; it is empty until it is known.
    """

    operation: str
    provider: str
    request_model: str
    response_model: str = ""

    def model_labels(self) -> Labels:
        """Return the labels of provider and requested model; one without a value is absent."""
        labels = ((catalogue.PROVIDER, self.provider), (catalogue.REQUEST_MODEL, self.request_model))
        return tuple(label for label in labels if label[1])


class SeriesKind(StrEnum):
    """What a call is; also the label ``kind`` of the overflow counter."""

    TASK = "task"
    RUN = "agent"
    TOOL = "tool"
    WORKFLOW = "workflow"
    LM = "lm"


TASK, RUN, TOOL, WORKFLOW, LM = SeriesKind  # to ask the class for one takes ten times as long, up to Python 3.11


_FAMILIES = {
    SeriesKind.TASK: catalogue.TASK_DURATION,
    SeriesKind.RUN: catalogue.INVOKE_AGENT_DURATION,
    SeriesKind.TOOL: catalogue.EXECUTE_TOOL_DURATION,
    SeriesKind.WORKFLOW: catalogue.INVOKE_WORKFLOW_DURATION,
    SeriesKind.LM: catalogue.CLIENT_OPERATION_DURATION,
}


class Child:
    """One child of a histogram: a count a bucket (``+Inf`` last), the sum in seconds, and exemplars by bucket index.

    An exemplar is the span of a call, the call's duration and its end on the recorder's clock.
    """

    __slots__ = ("counts", "exemplars", "label_text", "labels", "sum")

    def __init__(self, labels: Labels, bucket_count: int) -> None:
        self.labels = labels
        self.label_text = label_text(labels)
        self.counts = [0] * bucket_count
        self.sum = 0.0
        self.exemplars: dict[int, tuple[SpanContext, float, float]] = {}


class CallSeries:
    """Every series of one task, tool, workflow, or of an agent's runs; written only by whoever holds the drain.

    ``durations`` are those of successful calls that are folded and not counted yet.
    """

    __slots__ = (
        "bounds",
        "durations",
        "errors",
        "failures",
        "family",
        "kind",
        "label_text",
        "labels",
        "last_success",
        "latency_objective_seconds",
        "missed",
        "objective",
        "success",
    )

    def __init__(self, kind: SeriesKind, agent: str, name: str | LmName) -> None:
        self.kind = kind
        self.family: Family = _FAMILIES[kind]
        self.bounds = self.family.buckets
        values = _label_values(agent, name)
        self.labels: Labels = tuple((label, values[label]) for label in self.family.labels if values.get(label))
        self.label_text = label_text(self.labels)
        self.success = self._child((("outcome", Outcome.SUCCESS.value),) if kind is SeriesKind.TASK else ())
        self.failures: dict[str, Child] = {}
        if kind is SeriesKind.TASK:
            for outcome in (Outcome.ERROR, Outcome.TIMEOUT):  # shown as zero, so that rate() sees the first bad call
                self.failures[outcome] = self._child((("outcome", outcome.value),))
        self.errors: dict[str, int] = {OTHER_ERROR: 0}
        self.durations: list[float] = []
        self.last_success = float("-inf")
        self.missed = 0
        self.set_objective(None)

    def set_objective(self, objective: Objective | None) -> None:
        """Promise ``objective`` from now on."""
        latency = None if objective is None else objective.latency_seconds  # before anything is kept: what has none raises here
        self.objective = objective
        self.latency_objective_seconds = float("inf") if latency is None else latency

    def children(self) -> list[Child]:
        """The histogram's children, success first."""
        return [self.success, *self.failures.values()]

    def settle(self) -> None:
        """Count ``durations``."""
        durations = self.durations
        if not durations:
            return
        child = self.success
        total = child.sum + sum(durations)
        counts, missed = self._counted(durations)
        fresh: list[float] = []
        # From here on there is no call and no jump back, and therefore no signal handler that could raise in between.
        self.durations = fresh
        self.missed = missed
        child.counts = counts
        child.sum = total

    def _counted(self, durations: list[float]) -> tuple[list[int], int]:
        """Return what the success child's counts and ``missed`` become with ``durations``."""
        bounds = self.bounds
        counts = self.success.counts.copy()
        longest = max(durations)
        index = bisect_left(bounds, longest)
        is_in_one = index == 0 or index == bisect_left(bounds, min(durations))
        if is_in_one and longest <= self.latency_objective_seconds:
            counts[index] += len(durations)
            return counts, self.missed
        durations.sort()
        index = bisect_left(bounds, durations[0])
        first, last = 0, len(durations)
        while first < last:
            end = bisect_right(durations, bounds[index], first) if index < len(bounds) else last
            counts[index] += end - first
            first = end
            index += 1
        return counts, self.missed + last - bisect_right(durations, self.latency_objective_seconds)

    def fold_failure(self, duration: float, failure: Failure) -> tuple[Child, bool]:
        """Count a call that did not succeed; return the child it went to and whether its error type was past the limit."""
        is_task = self.kind is SeriesKind.TASK
        is_bad = failure.outcome in (Outcome.ERROR, Outcome.TIMEOUT)
        error_type = failure.error_type
        is_overflow = False
        if is_bad or not is_task:
            if error_type not in self.errors and len(self.errors) > _ERROR_TYPES_A_SERIES:
                error_type, is_overflow = OTHER_ERROR, True
            self.errors[error_type] = self.errors.get(error_type, 0) + 1
        key = failure.outcome.value if is_task else error_type
        child = self.failures.get(key)
        if child is None:
            child = self.failures[key] = self._child((("outcome" if is_task else catalogue.ERROR_TYPE, key),))
        child.counts[bisect_left(self.bounds, duration)] += 1
        child.sum += duration
        return child, is_overflow

    def _child(self, extra: Labels) -> Child:
        return Child((*self.labels, *extra), len(self.bounds) + 1)


def _label_values(agent: str, name: str | LmName) -> dict[str, str]:
    if isinstance(name, LmName):
        labels = (catalogue.OPERATION, catalogue.PROVIDER, catalogue.REQUEST_MODEL, catalogue.RESPONSE_MODEL)
        return dict(zip(labels, map(clean_label, name), strict=True))
    name = clean_label(name)
    return {catalogue.AGENT: clean_label(agent), catalogue.TASK: name, catalogue.TOOL: name, catalogue.WORKFLOW: name}


class Target:
    """What a call's event points at: where it is folded, and how its span is called."""

    __slots__ = ("agent", "attributes", "run", "series", "span_kind", "span_name")

    def __init__(self, series: CallSeries, run: CallSeries | None, agent: str, name: str | LmName) -> None:
        """Point at ``series`` and, for the call that enters an agent, at that agent's ``run`` too."""
        self.series = series
        self.run = run
        self.agent = agent = clean_label(agent)
        self.span_kind = SpanKind.CLIENT if series.kind is SeriesKind.LM else SpanKind.INTERNAL
        if isinstance(name, LmName):
            self.span_name, self.attributes = _lm_identity(agent, name)
        else:
            kind = SeriesKind.RUN if run is not None else series.kind
            self.span_name, self.attributes = _span_identity(kind, agent, clean_label(name))


def _span_identity(kind: SeriesKind, agent: str, name: str) -> tuple[str, dict[str, Any]]:
    """Name a span and its attributes by the GenAI semantic conventions; those have no operation for a task inside a run."""
    match kind:
        case SeriesKind.RUN:
            operation, subject = "invoke_agent", agent
            attributes = {"agent.task": name}
        case SeriesKind.TOOL:
            operation, subject = "execute_tool", name
            attributes = {"gen_ai.tool.name": name, "gen_ai.tool.type": "function"}
        case SeriesKind.WORKFLOW:
            operation, subject = "invoke_workflow", name
            attributes = {"gen_ai.workflow.name": name}
        case _:
            operation, subject = "execute_task", name
            attributes = {"agent.task": name}
    if agent and kind is not SeriesKind.WORKFLOW:
        attributes["gen_ai.agent.name"] = agent
    return f"{operation} {subject}", {"gen_ai.operation.name": operation, **attributes}


def _lm_identity(agent: str, name: LmName) -> tuple[str, dict[str, Any]]:
    attributes = {
        "gen_ai.operation.name": name.operation,
        "gen_ai.provider.name": name.provider,
        "gen_ai.request.model": name.request_model,
        "gen_ai.agent.name": agent,
    }
    return f"{name.operation} {name.request_model}".rstrip(), {key: value for key, value in attributes.items() if value}
