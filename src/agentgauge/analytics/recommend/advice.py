"""A piece of advice: what to do, what it rests on, what it would bring, and the query that proves it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.intervals import Interval

__all__ = ["Advice", "Confidence", "Evidence", "Gain"]


class Confidence(StrEnum):
    """How sure it is that following the advice brings the gain."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One figure that a piece of advice rests on.

    Attributes:
        name: What it is, in plain words.
        value: The figure.
        unit: Its unit: ``ratio``, ``seconds``, ``tokens``, ``usd``, ``usd_per_call``, ``cores``, or empty for a count.
        count: Of how many observations.
        interval: Where it lies, at 95 %; None for what was counted and not estimated.
    """

    name: str
    value: float
    unit: str
    count: int
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """What following a piece of advice is expected to bring.

    Attributes:
        value: How much; None where the series cannot tell.
        unit: ``usd_per_day``, ``seconds_per_day``, ``seconds``, ``tokens_per_day`` or ``calls_per_day``.
        interval: Where it lies, at 95 %, for the load that the window had; None where ``value`` is.
    """

    value: float | None
    unit: str
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """What could be done, and why.

    Attributes:
        rule: The name of the rule that found it, such as ``cheaper_model``.
        labels: Whom it is about, by the labels of the series.
        sentence: What to do and why, in plain words and figures.
        evidence: The figures that it rests on; the first is what the query gives.
        gain: What it would bring.
        query: PromQL that gives the first figure of the evidence on a Prometheus, of the same window whenever it is asked; what
            a counter had when it was first seen is in the figure alone.
        confidence: How sure that is.
        limits: What the series cannot tell, and what to look at before it is followed; may be empty.
    """

    rule: str
    labels: Mapping[str, str]
    sentence: str
    evidence: tuple[Evidence, ...]
    gain: Gain
    query: str
    confidence: Confidence
    limits: str = ""
