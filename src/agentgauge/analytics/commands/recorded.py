"""What agents recorded of themselves: a section of a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.commands.shared import chart_of
from agentgauge.analytics.frames import Fold
from agentgauge.analytics.recorded import RECORDER_LABEL, recorded_measures
from agentgauge.analytics.report.document import Column, Section, Table, Unit
from agentgauge.analytics.signals import read
from agentgauge.analytics.totals import whole_grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Cell

__all__ = ["recorded"]

_COLUMNS = (
    Column("metric", "metric"),
    Column("of", "of"),
    Column("points", "points", Unit.COUNT),
    Column("latest", "latest", Unit.NUMBER),
    Column("mean", "mean", Unit.NUMBER),
    Column("minimum", "least", Unit.NUMBER),
    Column("maximum", "greatest", Unit.NUMBER),
)
_FOLDS = (Fold.COUNT, Fold.LAST, Fold.MEAN, Fold.MIN, Fold.MAX)
_MOST_CHARTS = 6
_TITLE = "What agents recorded"


def recorded(question: Question) -> tuple[Section, ...]:
    """Say what was recorded in the window; where nothing was, that is said only if it was asked for."""
    question.step("reading what was recorded")
    found = [(measure, _rows(measure.name, question)) for measure in recorded_measures(question.source)]
    rows = tuple(row for _, own in found for row in own)
    if not rows:
        is_wanted = "recorded" in (question.options.section or ())
        return (Section("recorded", _TITLE, ("Nothing was recorded by BaseAnalytics in this window.",)),) if is_wanted else ()
    signals = [read(measure, question.source, question.grid) for measure, own in found if own][:_MOST_CHARTS]
    metrics = sum(bool(own) for _, own in found)
    return (
        Section(
            "recorded",
            _TITLE,
            (f"{metrics} {'metric was' if metrics == 1 else 'metrics were'} recorded by BaseAnalytics.",),
            tables=(Table("recorded", "", _COLUMNS, rows),),
            charts=tuple(
                chart_of(f"recorded_{number}", one[0].measure.title, one) for number, one in enumerate(signals, 1) if one
            ),
        ),
    )


def _rows(metric: str, question: Question) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each that recorded the metric; what several programs recorded under one name is taken together."""
    grid = whole_grid(question.source, question.grid, since=question.since, until=question.until)
    found: dict[str, dict[Fold, list[float]]] = {}
    for fold in _FOLDS:
        for frame in question.source.frames(metric, grid, fold=fold):
            if name := frame.labels.get(RECORDER_LABEL):
                known = [value for value in frame.values if not math.isnan(value)]
                found.setdefault(name, {one: [] for one in _FOLDS})[fold] += known
    return tuple((metric, name, *_figures(folded)) for name, folded in sorted(found.items()) if folded[Fold.COUNT])


def _figures(folded: Mapping[Fold, Sequence[float]]) -> tuple[Cell, ...]:
    counts = folded[Fold.COUNT]
    mean = math.fsum(count * value for count, value in zip(counts, folded[Fold.MEAN], strict=True)) / math.fsum(counts)
    return round(sum(counts)), folded[Fold.LAST][-1], mean, min(folded[Fold.MIN]), max(folded[Fold.MAX])
