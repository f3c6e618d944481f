"""What a comparison of two windows holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentgauge.analytics.intervals import Interval
    from agentgauge.analytics.signals import Measure

__all__ = ["Comparison", "Difference", "Verdict"]


class Verdict(StrEnum):
    """What changed: ``CHANGED`` where neither way is worse, ``SAME`` where the difference is surely smaller than the margin."""

    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"
    SAME = "same"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """One measure of one subject in two windows.

    Attributes:
        measure: What.
        labels: Of whom.
        before: The value in the first window.
        after: The value in the second.
        count_before: Of how many observations: calls, or steps for a level.
        count_after: The same of the second window.
        difference: ``after - before``.
        interval: Where the difference lies: those of all differences hold at once at the comparison's level, and that of one that
            is ``worse``, ``better`` or ``changed`` leaves 0 out (a percentile's may end at it:
            one lies above a bound, the other not).
        p_value: How likely as great a difference is where nothing changed; not corrected.
        p_corrected: The same, corrected for all that was compared (Bonferroni).
        margin: The difference that is too small to matter, in the measure's unit.
        detectable: The smallest difference that would be found in 8 of 10 such comparisons; NaN for a quantile, of which is found
            what takes it across the bound of a bucket.
        method: How the interval was made.
        verdict: What follows.
        within: Between which bounds of buckets the values before and after lie; None for what is not read from buckets.
    """

    measure: Measure
    labels: Mapping[str, str]
    before: float
    after: float
    count_before: float
    count_after: float
    difference: float
    interval: Interval
    p_value: float
    p_corrected: float
    margin: float
    detectable: float
    method: str
    verdict: Verdict
    within: tuple[Interval, Interval] | None = None

    @property
    def title(self) -> str:
        """What and of whom: ``error ratio of researcher, search``."""
        whom = ", ".join(self.labels.values())
        return f"{self.measure.title} of {whom}" if whom else self.measure.title


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two windows, or two versions, beside each other.

    Attributes:
        source: The name of the source.
        before: Begin and end of the first window.
        after: Begin and end of the second.
        level: How surely all intervals hold at once, and 1 minus the chance that anything is called changed where nothing did.
        each_level: The level of each interval alone, which is higher the more is compared.
        differences: The worst first: worse, better, changed, unclear, same; among equals the surest first.
        not_compared: Titles of what only one of the windows has, or too little of, and why.
    """

    source: str
    before: tuple[datetime, datetime]
    after: tuple[datetime, datetime]
    level: float
    each_level: float
    differences: tuple[Difference, ...]
    not_compared: tuple[tuple[str, str], ...]
