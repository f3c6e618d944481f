"""Compare: what differs between two windows, or two versions, and what only seems to."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import LEAST_PROBABILITY
from agentgauge.analytics.compare.comparison import Comparison, Difference, Verdict
from agentgauge.analytics.compare.differences import difference, samples
from agentgauge.analytics.compare.means import MEANS
from agentgauge.analytics.compare.programs import Programs, require_label
from agentgauge.analytics.deploys import Deploy, find_deploys
from agentgauge.analytics.intervals import student
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import Worse
from agentgauge.analytics.totals import Totals
from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.compare.differences import Estimate, Sample
    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.signals import Measure

__all__ = ["Comparison", "Deploy", "Difference", "Verdict", "compare", "find_deploys"]

_ORDER = (Verdict.WORSE, Verdict.BETTER, Verdict.CHANGED, Verdict.UNCLEAR, Verdict.SAME)
_POWER = 0.8416  # standard errors: 8 of 10


def compare(
    source: Source,
    before: Grid,
    after: Grid,
    *,
    before_labels: Mapping[str, str] | None = None,
    after_labels: Mapping[str, str] | None = None,
    measures: Sequence[Measure] = MEASURES + MEANS,
    level: float = 0.95,
    margin: float = 0.1,
    margin_ratio: float = 0.01,
) -> Comparison:
    """Compare two windows, or two versions in one.

    Args:
        source: Where the series are.
        before: The first window.
        after: The second; the same one where versions are compared.
        before_labels: What the series of the first must have, in their own labels, or their program in those of ``target_info``
            or ``agentgauge_build_info``: ``{"service_version": "1.4"}``, ``{"instance": "a:9464"}``. All unless given.
        after_labels: The same of the second.
        measures: What to compare.
        level: How surely all intervals hold at once, and 1 minus the chance of any false verdict where nothing changed.
        margin: A difference of less than this share of the value before is called the same where the interval shows it.
        margin_ratio: The same for ratios: a difference of less than this, as it is.

    Raises:
        ConfigurationError: A setting cannot work, the windows overlap and no labels tell them apart, or no program has a label.
        SourceError: The source cannot be asked.
    """
    for setting, value in (("level", level), ("margin", margin), ("margin_ratio", margin_ratio)):
        require_ratio(setting, value, "0.95" if setting == "level" else "0.1")
    if level >= 1:
        raise ConfigurationError(f"level={level!r}: nothing is that sure; give one such as 0.95")
    begins = [grid.start - grid.step_seconds for grid in (before, after)]
    if before_labels == after_labels and begins[0] < after.end and begins[1] < before.end:
        raise ConfigurationError("before and after overlap: give windows that do not, or labels that tell two versions apart")
    for whose, labels, grid in (("before_labels", before_labels, before), ("after_labels", after_labels, after)):
        for name, label in (labels or {}).items():
            require_label(whose, source, grid, name, label)
    sources = [Programs(source, labels) if labels else source for labels in (before_labels, after_labels)]
    asked = [(own, grid, Totals(own, grid)) for own, grid in zip(sources, (before, after), strict=True)]
    drawn: list[tuple[Measure, Mapping[str, str], Sample, Sample]] = []
    left_out: list[tuple[str, str]] = []
    steps = (before.step_seconds, after.step_seconds)
    for measure in measures:
        olds, news = (samples(measure, *one) for one in asked)
        for key in sorted(olds.keys() | news.keys()):
            labels = {name: value for name, value in zip(measure.by, key, strict=True) if value}
            title = ", ".join((measure.title, *labels.values()))
            if key not in olds or key not in news:
                left_out.append((title, "only after" if key in news else "only before"))
                continue
            why_not = difference(measure, olds[key], news[key], steps, level).why_not
            if why_not:
                left_out.append((title, why_not))
            else:
                drawn.append((measure, labels, olds[key], news[key]))
    many = max(1, len(drawn))
    each = 1 - (1 - level) / many  # Bonferroni: each errs so seldom that all hold at once, and says what its verdict says
    found = []
    for measure, labels, old, new in drawn:
        estimate = difference(measure, old, new, steps, each)
        least = margin_ratio if measure.unit == "ratio" else margin * estimate.before
        found.append(_judged(measure, labels, estimate, many, each, least))
    found.sort(key=lambda each: (_ORDER.index(each.verdict), each.p_value))
    return Comparison(
        source=source.name,
        before=_window(before),
        after=_window(after),
        level=level,
        each_level=each,
        differences=tuple(found),
        not_compared=tuple(left_out),
    )


def _judged(
    measure: Measure, labels: Mapping[str, str], estimate: Estimate, many: int, level: float, margin: float
) -> Difference:
    interval, gap = estimate.interval, estimate.after - estimate.before
    if -margin <= interval.low and interval.high <= margin:
        verdict = Verdict.SAME
    elif estimate.p_value >= 1 - level:
        verdict = Verdict.UNCLEAR
    elif measure.worse is Worse.EITHER:
        verdict = Verdict.CHANGED
    else:
        rose = interval.low + interval.high > 0  # a value above the highest bucket is not known, and the gap is none
        verdict = Verdict.WORSE if rose == (measure.worse is Worse.UP) else Verdict.BETTER
    reach = (interval.high - interval.low) / 2
    return Difference(
        measure=measure,
        labels=labels,
        before=estimate.before,
        after=estimate.after,
        count_before=estimate.counts[0],
        count_after=estimate.counts[1],
        difference=gap,
        interval=interval,
        p_value=max(estimate.p_value, LEAST_PROBABILITY),
        p_corrected=max(min(1.0, estimate.p_value * many), LEAST_PROBABILITY),
        margin=margin,
        detectable=reach * (1 + _POWER / student(level)) if estimate.within is None else math.nan,
        method=estimate.method,
        verdict=verdict,
        within=estimate.within,
    )


def _window(grid: Grid) -> tuple[datetime, datetime]:
    return datetime.fromtimestamp(grid.start - grid.step_seconds, UTC), datetime.fromtimestamp(grid.end, UTC)
