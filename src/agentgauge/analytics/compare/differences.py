"""The difference of one measure between two windows, with its interval, by what kind of measure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.blocks import (
    blocks_of,
    design_effect,
    independent,
    inflation,
    means_of,
    memory,
    residuals_of_ratio,
    spread_of_sum,
)
from agentgauge.analytics.intervals import Interval, newcombe, p_value, rate_difference, student, student_tail
from agentgauge.analytics.ranks import ranked, read_quantile
from agentgauge.analytics.signals import Level, Quantile, Rate, Ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.ranks import Ranked
    from agentgauge.analytics.signals import Measure, Where
    from agentgauge.analytics.totals import Totals

__all__ = ["Estimate", "Sample", "difference", "samples"]

_LEAST_BLOCKS = 5
_LEAST_CALLS = 10
_LEAST_BEYOND = 5  # observations beyond a quantile
_COUNTED_UNITS = frozenset({"per_second"})


@dataclass(frozen=True, slots=True)
class Sample:
    """What a window has of one measure of one subject.

    Attributes:
        parts: What grew, or was, in each step: hits, sums, events, or a gauge.
        whole: What a ratio divides by; empty for others.
        buckets: Of a histogram, by upper bound; empty for others.
    """

    parts: Sequence[float] = ()
    whole: Sequence[float] = ()
    buckets: Mapping[float, Sequence[float]] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference and how sure it is; ``why_not`` says why there is none.

    ``within`` is where each of the two values lies that only buckets show: a value between two bounds is a guess.
    """

    before: float = math.nan
    after: float = math.nan
    counts: tuple[float, float] = (0.0, 0.0)
    interval: Interval = Interval(math.nan, math.nan)  # noqa: RUF009 - frozen
    p_value: float = math.nan
    method: str = ""
    why_not: str = ""
    within: tuple[Interval, Interval] | None = None


def samples(measure: Measure, source: Source, grid: Grid, grown: Totals) -> dict[tuple[str, ...], Sample]:
    """Return what a window has of a measure, by the values of its labels.

    Raises:
        SourceError: The source cannot be asked.
    """
    how = measure.values

    def steps(metric: str, by: tuple[str, ...], where: Where) -> dict[tuple[str, ...], list[float]]:
        # what grew unseen took longer than a step, and may be another version's; blocks leave the first place out
        found = grown.steps(metric, by, where, is_over_gaps=False)
        return {key: [math.nan, *values] for key, values in found.items()}

    if isinstance(how, Ratio):
        whole, parts = steps(how.of, measure.by, how.where_of), steps(how.part, measure.by, how.where_part)
        nothing = [0.0] * (grid.count + 1)
        return {key: Sample(_kept(parts.get(key, nothing), total), _kept(total, total)) for key, total in whole.items()}
    if isinstance(how, Rate):
        return {key: Sample(_kept(values, values)) for key, values in steps(how.metric, measure.by, how.where).items()}
    if isinstance(how, Quantile):
        buckets: dict[tuple[str, ...], dict[float, Sequence[float]]] = {}
        for (*key, bound), values in steps(f"{how.histogram}_bucket", (*measure.by, "le"), how.where).items():
            buckets.setdefault(tuple(key), {})[float(bound)] = values
        return {
            key: Sample(buckets={bound: _kept(values, own.get(math.inf, values)) for bound, values in own.items()})
            for key, own in buckets.items()
        }
    return {key: Sample(values) for key, values in how(source, grid, measure.by).items()}


def _kept(values: Sequence[float], whole: Sequence[float]) -> list[float]:
    """Leave out the steps in which no such program was seen: a block of them would be one in which nothing happened."""
    return [math.nan, *(value for value, seen in zip(values, whole, strict=True) if not math.isnan(seen))]


def difference(measure: Measure, before: Sample, after: Sample, steps: tuple[float, float], level: float) -> Estimate:
    """Compare what two windows have of one measure of one subject.

    Args:
        measure: What.
        before: What the first window has.
        after: What the second has.
        steps: The seconds of a step of each.
        level: The level of the interval.
    """
    how = measure.values
    if isinstance(how, Quantile):
        return _of_quantiles(how.q, before, after, level)
    if isinstance(how, Rate):
        return _of_rates(before, after, steps, level, is_counted=measure.unit in _COUNTED_UNITS)
    if isinstance(how, Ratio):
        return _of_proportions(before, after, level) if measure.unit == "ratio" else _of_means(before, after, level)
    return _of_levels(before, after, level) if isinstance(how, Level) else Estimate(why_not="it cannot be taken apart")


def _tested(
    values: tuple[float, float],
    counts: tuple[float, float],
    at: Callable[[float], Interval],
    level: float,
    freedom: float,
    method: str,
) -> Estimate:
    return Estimate(*values, counts, at(student(level, freedom)), p_value(at, freedom), method)


def _of_proportions(before: Sample, after: Sample, level: float) -> Estimate:
    effective, shares, counts, freedom = [], [], [], 0
    for sample in (before, after):
        hits, calls = blocks_of(sample.parts), blocks_of(sample.whole)
        count, hit = math.fsum(calls), math.fsum(hits)
        if count < _LEAST_CALLS:
            return Estimate(why_not=f"fewer than {_LEAST_CALLS} calls")
        if len(calls) < _LEAST_BLOCKS:
            return Estimate(why_not="too few steps")
        hit = min(hit, count)
        share = hit / count
        design = design_effect(hits, calls)
        effective.append((hit / design, count / design))
        shares.append(share)
        counts.append(count)
        freedom += len(calls) - 1

    def at(reach: float) -> Interval:
        return newcombe(effective[0], effective[1], reach=reach)

    return _tested(
        (shares[0], shares[1]), (counts[0], counts[1]), at, level, freedom, "Newcombe's hybrid score, of effective counts"
    )


def _of_means(before: Sample, after: Sample, level: float) -> Estimate:
    means, counts, residuals = [], [], []
    for sample in (before, after):
        sums, calls = blocks_of(sample.parts), blocks_of(sample.whole)
        count = math.fsum(calls)
        if count < _LEAST_CALLS or len(calls) < _LEAST_BLOCKS:
            return Estimate(why_not=f"fewer than {_LEAST_CALLS} calls, or too few steps")
        means.append(math.fsum(sums) / count)
        counts.append(count)
        residuals.append(residuals_of_ratio(sums, calls))
    remembered = memory(*residuals)
    spreads = [spread_of_sum(own, remembered) for own in residuals]
    freedoms = [_freedom(len(own), remembered) for own in residuals]
    return _welch((means[0], means[1]), spreads, freedoms, (counts[0], counts[1]), level, "Welch's t, of a ratio by blocks")


def _of_rates(before: Sample, after: Sample, steps: tuple[float, float], level: float, *, is_counted: bool) -> Estimate:
    windows = [blocks_of(sample.parts) for sample in (before, after)]
    if min(map(len, windows)) < _LEAST_BLOCKS:
        return Estimate(why_not="too few steps")
    means = [math.fsum(grown) / len(grown) for grown in windows]
    residuals = [[value - mean for value in grown] for grown, mean in zip(windows, means, strict=True)]
    remembered = memory(*residuals)
    totals, exposures, scales, freedom = [], [], [], 0.0
    for sample, step, grown, mean, own in zip((before, after), steps, windows, means, residuals, strict=True):
        many = len(grown)
        scale = math.fsum(value * value for value in own) / (many - 1) * inflation(many, remembered)
        scales.append(scale / mean if mean > 0 else math.nan)
        totals.append(math.fsum(grown))
        exposures.append(sum(not math.isnan(value) for value in sample.parts) * step)
        freedom += _freedom(many, remembered)
    if all(math.isnan(scale) for scale in scales):
        return Estimate(why_not="nothing happened")
    either = max(scale for scale in scales if not math.isnan(scale))
    scales = [either if math.isnan(scale) else scale for scale in scales]
    if is_counted:
        scales = [max(1.0, scale) for scale in scales]
    scales = [max(scale, total * 1e-12, 1e-300) for scale, total in zip(scales, totals, strict=True)]

    def at(reach: float) -> Interval:
        pairs = [(total / scale, exposure / scale) for total, exposure, scale in zip(totals, exposures, scales, strict=True)]
        return rate_difference(pairs[0], pairs[1], reach=reach)

    rates = (totals[0] / exposures[0], totals[1] / exposures[1])
    return _tested(rates, (totals[0], totals[1]), at, level, freedom, "score of two Poisson rates, of effective counts")


def _of_levels(before: Sample, after: Sample, level: float) -> Estimate:
    windows = [means_of(sample.parts) for sample in (before, after)]
    if min(map(len, windows)) < _LEAST_BLOCKS:
        return Estimate(why_not="too few steps")
    counts = [float(sum(not math.isnan(value) for value in one.parts)) for one in (before, after)]
    means = [math.fsum(own) / len(own) for own in windows]
    residuals = [[value - mean for value in own] for own, mean in zip(windows, means, strict=True)]
    remembered = memory(*residuals)
    gap, tiny = means[1] - means[0], 1e-12 * max(map(abs, means))
    spreads, freedoms = [], []
    for own, count in zip(residuals, counts, strict=True):
        many = len(own)
        variance = math.fsum(value * value for value in own) / (many - 1)
        if variance <= tiny**2:  # of what never changed, one value more could have been as in the other window
            variance = (gap * many / count) ** 2 / (many + 1)
        spreads.append(variance / many * inflation(many, remembered))
        freedoms.append(_freedom(many, remembered))
    return _welch((means[0], means[1]), spreads, freedoms, (counts[0], counts[1]), level, "Welch's t, of blocks")


def _freedom(many: int, remembered: float) -> float:
    """Return the degrees of freedom of the variance of so many blocks, of which each says some of what the last one said."""
    return max(1.0, independent(many, remembered) - 1)


def _welch(
    values: tuple[float, float],
    spreads: Sequence[float],
    freedoms: Sequence[float],
    counts: tuple[float, float],
    level: float,
    method: str,
) -> Estimate:
    """Compare two estimates by their variances (Welch, Biometrika 34, 1947)."""
    gap, spread = values[1] - values[0], math.fsum(spreads)
    tiny = 1e-12 * max(abs(values[0]), abs(values[1]))
    if spread <= tiny**2:
        return Estimate(*values, counts, Interval(gap, gap), 0.0 if abs(gap) > tiny else 1.0, method)
    freedom = 1 / math.fsum((each / spread) ** 2 / own for each, own in zip(spreads, freedoms, strict=True))
    reach = student(level, freedom) * math.sqrt(spread)
    likely = student_tail(gap / math.sqrt(spread), freedom)
    return Estimate(*values, counts, Interval(gap - reach, gap + reach), likely, method)


def _of_quantiles(q: float, before: Sample, after: Sample, level: float) -> Estimate:
    """Compare where two quantiles lie: half of what may err goes to each of them (Bonferroni), so that both hold at once."""
    each = (1 + level) / 2
    found, sure = [], []
    for sample in (before, after):
        blocks = {bound: blocks_of(grown) for bound, grown in (sample.buckets or {}).items()}
        calls = blocks.get(math.inf, [])
        if len(calls) < _LEAST_BLOCKS:
            return Estimate(why_not="too few steps")
        read = read_quantile(blocks, q, each)
        if read is None or read.count * min(q, 1 - q) < _LEAST_BEYOND:
            return Estimate(why_not=f"fewer than {_LEAST_BEYOND / min(q, 1 - q):.0f} observations")
        found.append(read)
        sure.append(ranked(blocks, q, each))
    old, new = found
    return Estimate(
        before=old.value,
        after=new.value,
        counts=(old.count, new.count),
        interval=Interval(new.interval.low - old.interval.high, new.interval.high - old.interval.low),
        p_value=min(1.0, 4 * min(_rose(sure[0], sure[1]), _rose(sure[1], sure[0]))),
        method="binomial ranks, put outwards to the bounds of buckets",
        within=(old.interval, new.interval),
    )


def _rose(low: Ranked, high: Ranked) -> float:
    """Return how surely one quantile is at or below a bound that another is above: the greater of the two chances to err."""
    return min(
        (
            max(below, above)
            for bound, below in zip(low.bounds, low.below, strict=True)
            for other, above in zip(high.bounds, high.above, strict=True)
            if other >= bound
        ),
        default=1.0,
    )
