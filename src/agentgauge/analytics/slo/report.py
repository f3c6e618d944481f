"""What a report about objectives holds: kept or missed by period, the error budget, and incidents."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentgauge.analytics.intervals import Interval

__all__ = ["Attained", "Budget", "Cause", "Incident", "Kept", "Promise", "SloReport", "SloResult"]


class Kept(StrEnum):
    """Whether an objective held; ``NO_DATA`` where no call counted: that is neither."""

    KEPT = "kept"
    MISSED = "missed"
    NO_DATA = "no_data"


class Promise(StrEnum):
    """What an objective is about."""

    SUCCESS = "success"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bad calls an objective allows in the window, and how many there were.

    Attributes:
        allowed: Bad calls that the objective allows for the calls of the window.
        spent: Bad calls.
        spent_ratio: The share of the budget that is spent, above 1 where more; NaN without calls.
        remaining_ratio: The share that is left, below 0 where it is overspent; NaN without calls.
        burn_rate: How fast it is being spent at the end of the window: 1 spends it exactly over the objective's period; NaN
            without calls.
        burn_seconds: Over how long before the end the rate is taken.
    """

    allowed: float
    spent: float
    spent_ratio: float
    remaining_ratio: float
    burn_rate: float
    burn_seconds: float


@dataclass(frozen=True, slots=True)
class Attained:
    """How an objective fared in one period of the calendar, or in the whole window.

    Attributes:
        start: When the period begins, or the window where that begins later.
        end: When it ends, or the window where that ends earlier.
        is_whole: Whether the window covers the period.
        kept: Whether the objective held.
        ratio: The share of good calls; NaN without calls.
        interval: Where that share lies at 95 %, were the calls a sample (Wilson, 1927); None without calls.
        calls: How many calls counted.
        bad: How many of them were bad.
        down_seconds: How long incidents lasted in it.
    """

    start: datetime
    end: datetime
    is_whole: bool
    kept: Kept
    ratio: float
    interval: Interval | None
    calls: int
    bad: int
    down_seconds: float


@dataclass(frozen=True, slots=True)
class Cause:
    """What most of the bad calls of an incident had in common.

    Attributes:
        label: ``error_type``, ``outcome``, ``gen_ai_request_model`` or ``gen_ai_tool_name``.
        value: Which of them.
        count: How many bad calls had it.
        share: Of all that had the label.
        sentence: The same in plain words.
    """

    label: str
    value: str
    count: int
    share: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which an objective's budget was spent too fast.

    Attributes:
        start: When the first step with a bad call of it begins.
        end: When the last one ends.
        is_open: Whether it still went on at the end of the window.
        duration_seconds: From start to end.
        calls: How many calls counted.
        bad: How many of them were bad.
        worst_ratio: The share of bad calls in its worst step.
        burn_rate: The share of bad calls over it divided by that which the objective allows.
        budget_ratio: The share of the window's budget that it spent.
        causes: What the bad calls had in common, the most likely first.
    """

    start: datetime
    end: datetime
    is_open: bool
    duration_seconds: float
    calls: int
    bad: int
    worst_ratio: float
    burn_rate: float
    budget_ratio: float
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SloResult:
    """One objective of one task.

    Attributes:
        labels: ``gen_ai_agent_name`` and ``agent_task``, and ``job`` where the source has it.
        promise: What the objective is about.
        objective: The share of calls that must be good: 0.95 for a latency.
        latency_seconds: The duration promised, for a latency; None else.
        whole: The whole window.
        periods: The periods of the calendar in it.
        budget: The error budget of the window.
        incidents: The earliest first.
        mttr_seconds: The mean duration of the incidents that ended; NaN without one.
        mtbf_seconds: The mean time without an incident for each that began; NaN without one.
    """

    labels: Mapping[str, str]
    promise: Promise
    objective: float
    latency_seconds: float | None
    whole: Attained
    periods: tuple[Attained, ...]
    budget: Budget
    incidents: tuple[Incident, ...]
    mttr_seconds: float
    mtbf_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class SloReport:
    """Objectives kept or missed in a window.

    Attributes:
        source: The name of the source.
        start: When the window begins.
        end: When it ends.
        period: ``day``, ``week`` or ``month``.
        results: By agent, task and promise.
        without_objective: Tasks that ran and have no objective, as ``(agent, task)``.
        tasks: All of which the window has series, whether they ran in it or not.
    """

    source: str
    start: datetime
    end: datetime
    period: str
    results: tuple[SloResult, ...]
    without_objective: tuple[tuple[str, str], ...]
    tasks: tuple[tuple[str, str], ...]
