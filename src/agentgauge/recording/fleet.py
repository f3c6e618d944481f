"""All agents of a recorder at one moment, ranked, with the tasks that hold them up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge import catalogue
from agentgauge.catalogue import Outcome
from agentgauge.config import is_disabled
from agentgauge.errors import contain_internal_errors
from agentgauge.recording.default import default_recorder
from agentgauge.recording.recorder import END, START, TARGET
from agentgauge.recording.score import failure_budget, score, stuck_limit_seconds
from agentgauge.recording.series import SeriesKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import CallSeries

__all__ = ["AgentStanding", "Bottleneck", "Fleet", "fleet"]

_BOTTLENECKS = 5
_OVERRUN_FACTOR = 2.0
_OVERRUN_AT_LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """How one agent has done since the process started.

    Attributes:
        agent: Its name; ``other`` stands for all past the limit on distinct names.
        runs: Runs that ended, whatever their outcome.
        tasks: Tasks that ended, whatever their outcome.
        success_ratio: Successes among successes, errors and timeouts; None before the first of them.
        mean_seconds: Mean duration of its successful tasks; None before the first.
        p95_seconds: Their 95th percentile, interpolated within a histogram bucket as PromQL's ``histogram_quantile`` does.
        in_progress: Tasks that have started and not ended.
        oldest_age_seconds: For how long the oldest of them has run; None where there is none.
        errors: Tasks that ended in error or timeout, by error type.
        score: 0 to 100, by the rule of ``AgentMetricsCollector.get_health_metrics``, without the queues.
        reasons: What lowered the score, and by how many points.
    """

    agent: str
    runs: int
    tasks: int
    success_ratio: float | None
    mean_seconds: float | None
    p95_seconds: float | None
    in_progress: int
    oldest_age_seconds: float | None
    errors: Mapping[str, int]
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A task that takes much of the fleet's time, or is taking much longer than it usually does.

    Attributes:
        agent: The task's agent; empty where none was known.
        task: Its name.
        busy_seconds: Time spent in it, calls in progress and the tasks that it calls included.
        busy_share: ``busy_seconds`` as a share of those of all tasks.
        p95_seconds: The 95th percentile of its successful calls, estimated; None before the first.
        oldest_age_seconds: For how long its oldest call in progress has run; None where there is none.
        overrun_ratio: ``oldest_age_seconds`` by ``p95_seconds``, where that is more than 2 and the age more than 1 s; else None.
    """

    agent: str
    task: str
    busy_seconds: float
    busy_share: float
    p95_seconds: float | None
    oldest_age_seconds: float | None
    overrun_ratio: float | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All agents, best first, and where their time goes.

    Attributes:
        agents: By score, then success ratio, then number of tasks; of equals, those that have proved something come first.
        bottlenecks: At most 5 tasks. First those whose oldest call in progress has taken more than twice the task's own p95
            (and more than 1 s), by that ratio; then those in which the most time was spent.
    """

    agents: tuple[AgentStanding, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()

    @property
    def best(self) -> AgentStanding | None:
        """The best of the agents that have ended a task in success, error or timeout; None where there is none."""
        return next((standing for standing in self.agents if standing.success_ratio is not None), None)

    @property
    def worst(self) -> AgentStanding | None:
        """The worst of the agents that have ended such a task or lost points; with only one, it is the best too."""
        judged = [standing for standing in self.agents if standing.success_ratio is not None or standing.reasons]
        return judged[-1] if judged else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what ``json.dumps`` takes; best and worst by name."""
        return {
            **dataclasses.asdict(self),
            "best": self.best and self.best.agent,
            "worst": self.worst and self.worst.agent,
        }


def fleet(recorder: Recorder | None = None) -> Fleet:
    """Return how all agents stand now, decorated ones and those of an ``AgentMetricsCollector`` alike.

    Cancelled and abandoned tasks count in neither part of a success ratio.

    Args:
        recorder: Whose agents; by default those of the decorators.
    """
    if is_disabled():
        return Fleet()
    with contain_internal_errors("fleet"):
        return _view(default_recorder() if recorder is None else recorder)
    return Fleet()


@dataclass(slots=True)
class _Work:
    """What one task, or all tasks of one agent, did."""

    bounds: Sequence[float]
    success_counts: list[int]
    success_seconds: float = 0.0
    ended: int = 0
    ended_seconds: float = 0.0
    failed: int = 0
    failure_budget: float = 0.0
    errors: Counter[str] = dataclasses.field(default_factory=Counter)
    ages: list[float] = dataclasses.field(default_factory=list)
    stuck: int = 0

    @property
    def successes(self) -> int:
        return sum(self.success_counts)

    @property
    def judged(self) -> int:
        return self.successes + self.failed

    @property
    def busy_seconds(self) -> float:
        return self.ended_seconds + sum(self.ages)

    @property
    def p95_seconds(self) -> float | None:
        return _quantile(0.95, self.bounds, self.success_counts)

    def add(self, other: _Work) -> None:
        self.success_counts = [mine + theirs for mine, theirs in zip(self.success_counts, other.success_counts, strict=True)]
        self.success_seconds += other.success_seconds
        self.ended += other.ended
        self.ended_seconds += other.ended_seconds
        self.failed += other.failed
        self.failure_budget += other.failure_budget
        self.errors += other.errors
        self.ages += other.ages
        self.stuck += other.stuck


def _view(recorder: Recorder) -> Fleet:
    recorder.drain()
    ages = _ages_in_progress(recorder)
    tasks = {
        series: _work_of(recorder, series, ages.get(series, [])) for series in list(recorder.series[SeriesKind.TASK].values())
    }
    runs: Counter[str] = Counter()
    for series in list(recorder.series[SeriesKind.RUN].values()):
        runs[_label(series, catalogue.AGENT)] += sum(sum(point.counts) for point in recorder.snapshot(series.children()))
    agents: dict[str, _Work] = {}
    for series, work in tasks.items():
        agent = _label(series, catalogue.AGENT)
        if agent:
            agents.setdefault(agent, _Work(work.bounds, [0] * len(work.success_counts))).add(work)
    standings = [_standing(agent, runs[agent], work) for agent, work in agents.items()]
    return Fleet(tuple(sorted(standings, key=_rank)), _bottlenecks(tasks))


def _ages_in_progress(recorder: Recorder) -> dict[CallSeries, list[float]]:
    ages: dict[CallSeries, list[float]] = {}
    now = recorder.clock()
    for record in recorder.open_records():
        if record[END] is None:
            ages.setdefault(record[TARGET].series, []).append(max(now - record[START], 0.0))
    return ages


def _work_of(recorder: Recorder, series: CallSeries, ages: list[float]) -> _Work:
    points = {dict(point.labels)["outcome"]: point for point in recorder.snapshot(series.children())}
    success = points[Outcome.SUCCESS]
    failed = sum(sum(points[outcome].counts) for outcome in (Outcome.ERROR, Outcome.TIMEOUT) if outcome in points)
    limit = stuck_limit_seconds(series.objective)
    work = _Work(
        series.bounds,
        list(success.counts),
        success_seconds=success.sum,
        ended=sum(sum(point.counts) for point in points.values()),
        ended_seconds=sum(point.sum for point in points.values()),
        failed=failed,
        errors=+Counter(series.errors.copy()),
        ages=ages,
        stuck=sum(age > limit for age in ages),
    )
    work.failure_budget = failure_budget(series.objective) * work.judged
    return work


def _standing(agent: str, runs: int, work: _Work) -> AgentStanding:
    judged = work.judged
    points, reasons = score(
        failed=work.failed,
        judged=judged,
        failure_budget_ratio=work.failure_budget / judged if judged else 0.0,
        stuck=work.stuck,
    )
    return AgentStanding(
        agent=agent,
        runs=runs,
        tasks=work.ended,
        success_ratio=work.successes / judged if judged else None,
        mean_seconds=work.success_seconds / work.successes if work.successes else None,
        p95_seconds=work.p95_seconds,
        in_progress=len(work.ages),
        oldest_age_seconds=max(work.ages, default=None),
        errors=dict(work.errors),
        score=points,
        reasons=reasons,
    )


def _rank(standing: AgentStanding) -> tuple[float, bool, float, int, str]:
    return (-standing.score, standing.success_ratio is None, -(standing.success_ratio or 0.0), -standing.tasks, standing.agent)


def _bottlenecks(tasks: Mapping[CallSeries, _Work]) -> tuple[Bottleneck, ...]:
    total = sum(work.busy_seconds for work in tasks.values())
    found = [_bottleneck(series, work, total) for series, work in tasks.items() if work.busy_seconds > 0]
    found.sort(key=lambda task: (-(task.overrun_ratio or 0.0), -task.busy_seconds, task.agent, task.task))
    return tuple(found[:_BOTTLENECKS])


def _bottleneck(series: CallSeries, work: _Work, total_seconds: float) -> Bottleneck:
    p95 = work.p95_seconds
    age = max(work.ages, default=None)
    is_overrunning = bool(p95 and age and age > max(_OVERRUN_FACTOR * p95, _OVERRUN_AT_LEAST_SECONDS))
    return Bottleneck(
        agent=_label(series, catalogue.AGENT),
        task=_label(series, catalogue.TASK),
        busy_seconds=work.busy_seconds,
        busy_share=work.busy_seconds / total_seconds,
        p95_seconds=p95,
        oldest_age_seconds=age,
        overrun_ratio=age / p95 if is_overrunning and age and p95 else None,
    )


def _label(series: CallSeries, name: str) -> str:
    return dict(series.labels).get(name, "")


def _quantile(ratio: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """Estimate a quantile as PromQL's ``histogram_quantile`` does: linear within a bucket, the last bound above all."""
    rank = ratio * sum(counts)
    if rank == 0:
        return None
    below = 0
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below += count
        lower = bound
    return lower
