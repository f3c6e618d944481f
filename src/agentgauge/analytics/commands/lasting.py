"""Levels that changed for so long that in a window the new one is as ordinary as the old one: no anomaly, and worth a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import counted
from agentgauge.analytics.report.document import Finding, Severity, Unit
from agentgauge.analytics.report.numbers import shown
from agentgauge.analytics.trends import survey_trends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.related import Anomaly
    from agentgauge.analytics.signals import Measure, Signal
    from agentgauge.analytics.trends import FoundTrend

__all__ = ["changed_for_good", "lasting_finding", "pointer"]

_MOST = 6
_LEVELS = frozenset({"level_shift", "drift", "missing"})
_LEAST_SIZE = 0.3  # of 1, as trends tell it
_LEAST_DOUBT = 0.001
_EDGE = 0.2  # of the window: what is nearer to its ends is a beginning, or short enough to be out of the ordinary


def changed_for_good(
    source: Source, grid: Grid, measures: Iterable[Measure], anomalies: Sequence[Anomaly]
) -> tuple[tuple[FoundTrend, ...], tuple[Anomaly, ...]]:
    """Return the levels that changed in the midst of a window and stayed, and the anomalies that are not these.

    A level that is an anomaly is none of them; a sway where a level changed for good is no anomaly but the change.

    Raises:
        SourceError: The source cannot be asked.
    """
    told = {_key(one.signal) for head in anomalies for one in (head, *head.others) if one.shape in _LEVELS and one.size}
    span = grid.count * grid.step_seconds
    first, last = grid.end - (1 - _EDGE) * span, grid.end - _EDGE * span
    lasting = [
        one
        for one in survey_trends(source, grid, measures=measures).trends
        if one.steps
        and one.size >= _LEAST_SIZE
        and one.p_value <= _LEAST_DOUBT
        and first < one.steps[-1].at < last
        and _key(one.signal) not in told
    ]
    changed = {_key(one.signal) for one in lasting}
    kept = tuple(one for one in anomalies if one.others or one.shape != "variance" or _key(one.signal) not in changed)
    return tuple(sorted(lasting, key=lambda one: one.is_worse is not True)[:_MOST]), kept


def lasting_finding(found: FoundTrend) -> Finding:
    """Return what is told of one; a warning where it is for the worse."""
    severity = Severity.WARNING if found.is_worse else Severity.INFO
    title = f"{found.signal.title} changed for good at {shown(found.steps[-1].at, Unit.TIME)}"
    return Finding(severity, title, found.sentence, query=found.signal.measure.query)


def pointer(many: int) -> str:
    """Return the sentence that says why it is told, and where more is."""
    return (
        f"What lasts for more than about a third of the window becomes the ordinary here. {counted(many, 'signal')} changed for "
        "good: `agentgauge trends` with the same window tells more, and a window that ends sooner makes it an anomaly."
    )


def _key(signal: Signal) -> tuple[str, ...]:
    return (signal.measure.name, *signal.labels.values())
