"""A service level agreement: availability by period as a customer may see it, with the credits that were agreed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.slo.report import Kept, Promise
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentgauge.analytics.slo.report import SloReport

__all__ = ["AgreementRow", "agreement"]


@dataclass(frozen=True, slots=True, eq=False)
class AgreementRow:
    """One task in one period.

    Attributes:
        labels: Agent and task, and job where there is one.
        start: When the period begins.
        end: When it ends.
        is_whole: Whether the report's window covers it; a credit for a part of a period is a forecast, and none is given.
        availability: The share of calls that succeeded, of those that count; NaN without calls.
        objective: The share that was promised.
        kept: Whether it was kept.
        calls: How many calls counted.
        failed: How many of them failed.
        down_seconds: How long incidents lasted.
        credit_percent: The credit that was agreed for such an availability, in percent; 0 for none.
    """

    labels: Mapping[str, str]
    start: datetime
    end: datetime
    is_whole: bool
    availability: float
    objective: float
    kept: Kept
    calls: int
    failed: int
    down_seconds: float
    credit_percent: float


def agreement(report: SloReport, credits_below: Sequence[tuple[float, float]] = ()) -> list[AgreementRow]:
    """Return a table of availability by task and period.

    Args:
        report: That of the window, by the period that was agreed.
        credits_below: Bands as ``(availability, percent)``: below the one, the other; the greatest that applies holds.

    Raises:
        ConfigurationError: A band has no share between 0 and 1, or no percentage.
    """
    for below, percent in credits_below:
        if not 0 < below <= 1 or not 0 <= percent <= 100:  # noqa: PLR2004 - percent
            raise ConfigurationError(
                f"credits_below: {(below, percent)!r} is no band; give an availability and a percentage, such as (0.99, 10)"
            )
    return [
        AgreementRow(
            labels=result.labels,
            start=period.start,
            end=period.end,
            is_whole=period.is_whole,
            availability=period.ratio,
            objective=result.objective,
            kept=period.kept,
            calls=period.calls,
            failed=period.bad,
            down_seconds=period.down_seconds,
            credit_percent=max((percent for below, percent in credits_below if period.ratio < below), default=0.0)
            if period.is_whole
            else 0.0,
        )
        for result in report.results
        if result.promise is Promise.SUCCESS
        for period in result.periods
    ]
