"""How well an agent does, as one number with its reasons: the rule that an agent's own health and the fleet share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentgauge.targets import Objective

__all__ = ["Score", "failure_budget", "score", "stuck_limit_seconds"]

FULL_SCORE = 100.0

_DEFAULT_FAILURE_BUDGET = 0.1
_POINTS_A_FAILED_PERCENT = 2.0
_MOST_POINTS_FOR_FAILURES = 60.0

_STUCK_LATENCY_FACTOR = 10.0
_STUCK_AT_LEAST_SECONDS = 300.0
_STUCK_WITHOUT_OBJECTIVE_SECONDS = 1800.0
_POINTS_A_STUCK_TASK = 10.0
_MOST_POINTS_FOR_STUCK_TASKS = 30.0

_LEAST_QUEUE_GROWTH = 10
_MOST_POINTS_FOR_QUEUES = 10.0


class Score(NamedTuple):
    """Points from 0 to 100, and a sentence for each deduction that says what it was for and how many points it took."""

    points: float
    reasons: tuple[str, ...]


def failure_budget(objective: Objective | None) -> float:
    """Return the share of a task's calls that may fail: by its objective, else 10 %, as in the shipped alert rules."""
    if objective is None or objective.success_ratio is None:
        return _DEFAULT_FAILURE_BUDGET
    return 1 - objective.success_ratio


def stuck_limit_seconds(objective: Objective | None) -> float:
    """Return after how many seconds a call in progress is stuck, as in the shipped rule ``AgentgaugeTaskStuck``.

    That is ten times the latency objective, but five minutes at least; half an hour for a task without one.
    """
    if objective is None or objective.latency_seconds is None:
        return _STUCK_WITHOUT_OBJECTIVE_SECONDS
    return max(_STUCK_LATENCY_FACTOR * objective.latency_seconds, _STUCK_AT_LEAST_SECONDS)


def score(
    *, failed: int, judged: int, failure_budget_ratio: float, stuck: int, queue_depth: float = 0.0, queue_growth: float = 0.0
) -> Score:
    """Rate an agent by what is taken from 100 points.

    - 2 for each percent of its tasks that failed beyond what may fail, at most 60;
    - 10 for each stuck task, at most 30;
    - 10 times the share of what waits in its queues that they grew by, where that is at least 10 items.

    Args:
        failed: How many tasks ended in error or timeout.
        judged: How many ended in success, error or timeout.
        failure_budget_ratio: The share of them that may fail.
        stuck: How many tasks in progress are past their ``stuck_limit_seconds``.
        queue_depth: Items that wait now.
        queue_growth: By how many items the queues grew lately.
    """
    deductions: list[tuple[float, str]] = []
    failed_ratio = failed / judged if judged else 0.0
    if failed_ratio > failure_budget_ratio:
        points = min(100 * _POINTS_A_FAILED_PERCENT * (failed_ratio - failure_budget_ratio), _MOST_POINTS_FOR_FAILURES)
        deductions.append((points, f"{failed} of {judged} tasks failed ({failed_ratio:.1%}; {failure_budget_ratio:.1%} may)"))
    if stuck:
        points = min(_POINTS_A_STUCK_TASK * stuck, _MOST_POINTS_FOR_STUCK_TASKS)
        deductions.append((points, f"{stuck} {'task is' if stuck == 1 else 'tasks are'} stuck"))
    if queue_growth >= _LEAST_QUEUE_GROWTH:
        points = _MOST_POINTS_FOR_QUEUES * min(queue_growth / queue_depth, 1.0)
        deductions.append((points, f"the queues grew by {queue_growth:.0f} to {queue_depth:.0f} waiting items"))
    rounded = [(round(points, 1), reason) for points, reason in deductions]
    reasons = tuple(f"{reason}: {points:.1f} points off" for points, reason in rounded if points)
    return Score(round(FULL_SCORE - sum(points for points, _ in rounded), 1), reasons)
