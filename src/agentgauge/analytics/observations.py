"""Signals that are made of calls, in steps of enough calls: a quantile or a ratio of five of them says next to nothing."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agentgauge.analytics.analysis.findings import LEAST_KNOWN
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.frames import Grid, quantiles
from agentgauge.analytics.recorded import RECORDER_LABEL
from agentgauge.analytics.signals import Quantile, Rate, Ratio, Signal, growths, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.analytics.frames import Source
    from agentgauge.analytics.signals import Measure, Values

__all__ = ["LEAST_OBSERVATIONS", "Stretch", "Weighed", "chance_of", "read_weighed"]

LEAST_OBSERVATIONS = 5  # fewer are hardly more than one of them
_GOOD_OBSERVATIONS = 20  # 1 / (1 - 0.95): with fewer, a 95th percentile is their largest value or lies beyond it
_MERGED_STEPS = (1, 2, 3, 5, 10, 15, 20, 30)
_FEWER_OBSERVATIONS = (_GOOD_OBSERVATIONS, 10, LEAST_OBSERVATIONS)
_WANTED_STEPS = (
    2 * LEAST_KNOWN,
    LEAST_KNOWN + 2,
)  # twice, lest what is slow for three of them be most of the tail; if need be as
# many as must be known, and the first and the last, which need not be whole
_FULL_SHARE = 0.9  # so many of the steps in which anything was called must have enough of it
_JEFFREYS = 0.5
_MOST_GATHERED = 30  # steps
_NAN = math.nan
_Make: TypeAlias = "Callable[[tuple[str, ...], list[range]], list[float]]"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a signal, and what it was there: the indices of its first and last step, the value expected, the one observed."""

    first: int
    last: int
    expected: float
    observed: float


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """A signal in steps of enough calls.

    Attributes:
        signal: On a grid of its own: that which was given, or one of longer steps.
        calls: Of how many calls it is made in all; None of a rate or a level.
    """

    signal: Signal
    calls: float | None


def read_weighed(measure: Measure, source: Source, grid: Grid) -> list[Weighed]:
    """Read a measure; ratios, means and quantiles in steps that are merged until they hold enough calls.

    That is 20 calls; where it would leave too few steps to judge by, 5 to 19, as many as leave enough. Up to 30 steps are
    merged, one signal for itself. What is ten times as slow is called ten times as seldom: steps in a row that still have fewer
    calls each, where most have enough, have one value, that of as many of them together as have enough; one by itself has none.
    What programs record of themselves is read in steps that are merged until most hold a point, if that leaves enough of them to
    judge by. Rates and other levels are read as they are.

    Raises:
        SourceError: The source cannot be asked.
    """
    signals = read(measure, source, grid)
    observed = _observed(measure, source, grid) if signals else None
    if observed is None:
        if RECORDER_LABEL in measure.by:
            signals = [_filled(signal, source) for signal in signals]
        return [Weighed(signal, None) for signal in signals]
    merged: dict[int, dict[tuple[str, ...], Signal]] = {1: {_key(signal): signal for signal in signals}}
    made: dict[int, _Make] = {}
    weighed = []
    for signal in signals:
        counts = observed[_key(signal)]
        steps, least = _steps(counts, grid)
        coarse = _coarse(grid, steps)
        if steps not in merged:
            merged[steps] = {_key(one): one for one in read(measure, source, coarse)}
        found = merged[steps].get(_key(signal))
        values = found.values if found is not None else array("d", [_NAN]) * coarse.count
        blocks = _blocks(counts, grid, steps)
        held = [blocks.get(_block(coarse, index), 0.0) for index in range(coarse.count)]
        kept = array("d", (value if count >= least else _NAN for count, value in zip(held, values, strict=True)))
        gathered = _gathered(held, least)
        if gathered:
            if steps not in made:
                made[steps] = _made_of(measure, source, coarse)
            for run, value in zip(gathered, made[steps](_key(signal), gathered), strict=True):
                kept[run.start : run.stop] = array("d", [value]) * len(run)
        weighed.append(Weighed(Signal(measure, signal.labels, coarse, kept), sum(count for count in counts if count > 0)))
    return weighed


def chance_of(signal: Signal, source: Source, stretch: Stretch) -> float:
    """Return how probable it is that calls which are no different from the others make what was observed in a stretch.

    Of a share of calls it is the share in the stretch, of a quantile or a mean the share of calls beyond the last bound of a
    bucket before it, against that share outside, both of calls that know nothing of each other: the tail of a beta-binomial
    distribution with the prior of Jeffreys. Of how often something happened it is the tail of a negative binomial one: a
    Poisson rate that is known from outside. Of everything else it is 0: it cannot be told.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: The extra ``analysis`` is not installed.
    """
    stats: Any = load_extra("scipy.stats", "analysis", "find_anomalies()")
    is_more = stretch.observed > stretch.expected
    if isinstance(signal.measure.values, Rate) and signal.measure.unit == "per_second":
        spread, hits = _of_events(stats, signal, stretch)
        return float(spread.sf(hits - 1) if is_more else spread.cdf(hits))
    parts = _parts(signal, source, stretch)
    if parts is None:
        return 0.0
    part, whole = parts
    inside, outside = [0.0, 0.0], [_JEFFREYS, _JEFFREYS]
    for index, total in enumerate(whole):
        if not total > 0:
            continue
        some = 0.0 if part is None or math.isnan(part[index]) else part[index]
        side = inside if stretch.first <= index <= stretch.last else outside
        side[0] += min(some, total)
        side[1] += max(0.0, total - some)
    hits, calls = round(inside[0]), round(inside[0] + inside[1])
    spread = stats.betabinom(calls, *outside)
    return float(spread.sf(hits - 1) if is_more else spread.cdf(hits))


def _of_events(stats: Any, signal: Signal, stretch: Stretch) -> tuple[Any, int]:
    """Return how many events are expected in the stretch, as a distribution, and how many there were."""
    events, steps = [0.0, _JEFFREYS], [0, 0]
    for index, value in enumerate(signal.values):
        if not math.isnan(value):
            side = 0 if stretch.first <= index <= stretch.last else 1
            events[side] += value * signal.grid.step_seconds
            steps[side] += 1
    return stats.nbinom(events[1], steps[1] / max(1, sum(steps))), round(events[0])


def _key(signal: Signal) -> tuple[str, ...]:
    return tuple(signal.labels.get(name, "") for name in signal.measure.by)


def _observed(measure: Measure, source: Source, grid: Grid) -> Values | None:
    """Return of how many calls each value is made; None where it is not made of calls."""
    values = measure.values
    if isinstance(values, Ratio) and values.of.endswith("_count"):
        return growths(values.of, values.where_of, source, grid, measure.by)
    if isinstance(values, Quantile):
        found = values.buckets(source, grid, measure.by)
        return {key: buckets[math.inf] for key, buckets in found.items() if math.inf in buckets}
    return None


def _parts(signal: Signal, source: Source, stretch: Stretch) -> tuple[array[float] | None, array[float]] | None:
    values, by, key = signal.measure.values, signal.measure.by, _key(signal)
    if isinstance(values, Ratio) and values.part == values.of:
        whole = growths(values.of, values.where_of, source, signal.grid, by)
        return growths(values.part, values.where_part, source, signal.grid, by).get(key), whole[key]
    if isinstance(values, Ratio) and values.of.endswith("_count"):  # a mean: of a histogram, if it is one
        values = Quantile(values.of.removesuffix("_count"), 0.5, values.where_of)
    if isinstance(values, Quantile):
        return _beyond(values.buckets(source, signal.grid, by).get(key, {}), stretch)
    return None


def _beyond(buckets: dict[float, array[float]], stretch: Stretch) -> tuple[array[float], array[float]] | None:
    """Return how many calls lay beyond a bound that tells what was observed from what was expected, and how many there were."""
    low, high = sorted((stretch.expected, stretch.observed))
    bounds = sorted(bound for bound in buckets if bound < math.inf)
    between = [bound for bound in bounds if low <= bound < high]
    telling = between or [bound for bound in bounds if bound < high] or bounds[:1]
    if not telling or math.inf not in buckets:
        return None
    whole = buckets[math.inf]
    less = buckets[telling[-1] if stretch.observed > stretch.expected else telling[0]]
    counts = (total - (0.0 if math.isnan(some) else some) for total, some in zip(whole, less, strict=True))
    return array("d", counts), whole


# --- points that lie farther apart than steps ------------------------------------------------------------------------------


def _filled(signal: Signal, source: Source) -> Signal:
    """Read a signal in the shortest of merged steps most of which have a value, and as it is where there are none."""
    grid = signal.grid
    held = array("d", (float(math.isfinite(value)) for value in signal.values))
    for steps in _MERGED_STEPS:
        blocks = _blocks(held, grid, steps)
        if len(blocks) < LEAST_KNOWN:
            break
        if len(blocks) >= _FULL_SHARE * (max(blocks) + 1 - min(blocks)):
            longer = read(signal.measure, source, _coarse(grid, steps)) if steps > 1 else []
            return next((one for one in longer if one.labels == signal.labels), signal)
    return signal


# --- stretches of fewer calls ---------------------------------------------------------------------------------------------


def _gathered(held: list[float], least: int) -> list[range]:
    """Return steps in a row that hold too few calls each, as many as hold enough together; what is left over joins the last."""
    full = sum(count >= least for count in held)
    if full < LEAST_KNOWN or 2 * full < sum(count > 0 for count in held):
        return []  # those that have enough are the ordinary by which the others are judged
    found: list[range] = []
    first, calls, end = 0, 0.0, 0  # of those that are gathered now; the end is after the last that has any
    for index, count in enumerate([*held, float(least)]):
        if count >= least or index - first >= _MOST_GATHERED:
            if calls and found and found[-1].stop == first:
                found[-1] = range(found[-1].start, end)
            first, calls = index + (count >= least), 0.0
        if count >= least:
            continue
        if count > 0:
            calls, end = calls + count, index + 1
        elif not calls:
            first = index + 1
        if calls >= least:
            found.append(range(first, end))
            first, calls = end, 0.0
    return found


def _made_of(measure: Measure, source: Source, grid: Grid) -> _Make:
    """Return what makes one value of all calls in each of some runs of steps."""
    values, by = measure.values, measure.by
    if isinstance(values, Quantile):
        buckets, q = values.buckets(source, grid, by), values.q
        return lambda key, runs: list(quantiles({bound: _sums(grown, runs) for bound, grown in buckets[key].items()}, q))
    if not isinstance(values, Ratio):
        raise TypeError(f"{measure.name} is not made of calls")
    whole = growths(values.of, values.where_of, source, grid, by)
    parts = growths(values.part, values.where_part, source, grid, by)
    nothing = array("d", [0.0]) * grid.count
    return lambda key, runs: [
        part / total if total > 0 else _NAN
        for part, total in zip(_sums(parts.get(key, nothing), runs), _sums(whole[key], runs), strict=True)
    ]


def _sums(grown: array[float], runs: list[range]) -> array[float]:
    return array("d", (sum(grown[index] for index in run if grown[index] > 0) for run in runs))


# --- longer steps ---------------------------------------------------------------------------------------------------------


def _coarse(grid: Grid, steps: int) -> Grid:
    if steps == 1:
        return grid
    return Grid.over(grid.start - grid.step_seconds, grid.end, grid.step_seconds * steps)


def _block(grid: Grid, index: int) -> int:
    return round(grid.start / grid.step_seconds) + index


def _blocks(counts: array[float], grid: Grid, steps: int) -> dict[int, float]:
    """Add up the calls of the steps that end in the same longer one, by its number since 1970."""
    sums: dict[int, float] = {}
    for number, count in enumerate(counts, _block(grid, 0)):
        if count > 0:
            block = -(-number // steps)
            sums[block] = sums.get(block, 0.0) + count
    return sums


def _steps(counts: array[float], grid: Grid) -> tuple[int, int]:
    """Return how many steps to merge, and how many calls each must hold to have a value.

    They are the fewest that mostly hold 20 calls, if enough of them are left to judge by; else those that hold most while enough
    are left; else those of which most are left.
    """
    allowed = [steps for steps in _MERGED_STEPS if steps == 1 or grid.count >= 2 * steps]
    sums = {steps: list(_blocks(counts, grid, steps).values()) for steps in allowed}
    full = [steps for steps in allowed if sums[steps] and _share(sums[steps]) >= _FULL_SHARE]
    good = full[0] if full else allowed[-1]
    coarser = [(steps, least) for least in _FEWER_OBSERVATIONS for steps in reversed(allowed) if steps <= good]
    known = [_known(sums[steps], least) for steps, least in coarser]
    for wanted in _WANTED_STEPS:
        if _known(sums[good], _GOOD_OBSERVATIONS) >= wanted:
            return good, _GOOD_OBSERVATIONS
        enough = next((choice for choice, count in zip(coarser, known, strict=True) if count >= wanted), None)
        if enough is not None:
            return enough
    return coarser[known.index(max(known))]


def _known(sums: list[float], least: int) -> int:
    return sum(each >= least for each in sums)


def _share(sums: list[float]) -> float:
    return _known(sums, _GOOD_OBSERVATIONS) / len(sums)
