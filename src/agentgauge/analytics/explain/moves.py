"""Which signals moved: how much, how surely, and since when."""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.signals import Signal

__all__ = ["Move", "Moved", "adjusted", "found_move", "least_change", "p_value"]

_LEAST_POINTS = 4
_LEAST_BLOCKS = 4  # of fewer, not even the clearest change is surer than chance once all signals are counted
_LEAST_BEFORE = 8
_ALLOWANCE = 0.75  # of CUSUM, in robust deviations: half of the least shift that is looked for
_CLIP = 6.0
_EDGE = 3  # of so many parts of the time before, the last may have the beginning of what the window shows
_LEAST_DELTA = 0.6
_LEAST_DEVIATIONS = 1.5
_LEAST_RELATIVE = {
    "per_second": 0.3,
    "usd_per_second": 0.25,
    "bytes_per_second": 0.5,
    "cores": 0.3,
    "bytes": 0.15,
    "tokens": 0.15,
}
_LEAST_ABSOLUTE = {
    "task_error_ratio": 0.02,
    "lm_error_ratio": 0.02,
    "tool_error_ratio": 0.02,
    "gc_pause_rate": 0.005,
    "host_disk_busy": 0.1,
    "event_loop_lag_p95": 0.005,
}


@dataclass(frozen=True, slots=True)
class Move:
    """How a series moved.

    Attributes:
        onset: When it began, as the place in before and window together.
        until: Its last place: where it came back after that, or the window ended.
        before: Its median before that.
        after: Its median since, as long as it lasted.
        delta: Cliff's delta of the one over the other.
        deviations: By how many robust standard deviations, the trend before taken into account.
        rise: How many values later it was half way there: 0 for what jumps.
        chance: The p-value of one place of the window, times the places that there were.
    """

    onset: int
    until: int
    before: float
    after: float
    delta: float
    deviations: float
    rise: int
    chance: float


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """A signal that moved.

    Attributes:
        signal: What, over before and window.
        move: How.
        onset: When it began, Unix time in seconds.
        until: When it ended, or the window, Unix time in seconds.
        slack_seconds: How far that may be off.
        rise_seconds: How long it took to get half way: by so much it may have begun earlier, unseen.
        p_value: Corrected for all signals that were looked at.
        bounds: Of a percentile, those of the buckets that it is read from; nothing else has any.
    """

    signal: Signal
    move: Move
    onset: float
    until: float
    slack_seconds: float
    rise_seconds: float
    p_value: float
    bounds: tuple[float, ...] = ()

    @property
    def sign(self) -> int:
        """1 where it rose, -1 where it fell."""
        return 1 if self.move.deviations > 0 else -1

    @property
    def weight(self) -> float:
        """How much it counts: between 0 and 1."""
        return min(abs(self.move.deviations), 8.0) / 8.0 * abs(self.move.delta)


def least_change(signal: Signal, before: float) -> float:
    """Return the least change from a level that is worth a word, in the signal's unit."""
    absolute = _LEAST_ABSOLUTE.get(signal.measure.name)
    if absolute is not None:
        return absolute
    if signal.measure.unit == "ratio":
        return 0.1
    return max(_LEAST_RELATIVE.get(signal.measure.unit, 0.2) * abs(before), 1e-9)


def _scale(values: Sequence[float]) -> float:
    """Return a robust standard deviation: of the middle, or of what outliers leave where the middle does not vary."""
    middle = median(values)
    away = sorted(abs(value - middle) for value in values)
    kept = away[: max(1, round(len(away) * 0.95))]
    return max(1.4826 * median(away), math.sqrt(sum(value * value for value in kept) / len(kept)))


def _line(places: list[int], values: list[float]) -> tuple[float, float]:
    """Return intercept and slope through the medians of twelve parts (Theil, 1950; Sen, 1968)."""
    size = max(1, len(values) // 12)
    points = [
        (sum(places[at : at + size]) / len(places[at : at + size]), median(values[at : at + size]))
        for at in range(0, len(values), size)
    ]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for index, a in enumerate(points) for b in points[index + 1 :]]
    slope = median(slopes) if slopes else 0.0
    return median([value - slope * place for place, value in points]), slope


def _residuals(values: Sequence[float], places: list[int], split: int, *, is_trend_known: bool) -> list[float]:
    """Return how far each value lies from the level and from the trend before: the smaller of the two, nothing if at odds."""
    known = [(place, values[place]) for place in places if place < split]
    level = median([value for _, value in known])
    intercept, slope = _line([place for place, _ in known], [value for _, value in known]) if is_trend_known else (level, 0.0)
    found = []
    for place in places:
        of_level, of_trend = values[place] - level, values[place] - intercept - slope * place
        both = of_level * of_trend > 0
        found.append((of_level if abs(of_level) < abs(of_trend) else of_trend) if both else 0.0)
    return found


def _excursion(scores: list[float], allowance: float) -> tuple[int, int, float]:
    """Return where the largest CUSUM (Page, 1954) began and peaked, and how large it was."""
    sums = [*itertools.accumulate([max(-_CLIP, min(_CLIP, score)) - allowance for score in scores], initial=0.0)]
    sizes = [*map(operator.sub, sums, itertools.accumulate(sums, min))]
    peaked = sizes.index(max(sizes))
    began = peaked - sizes[peaked::-1].index(0.0)
    return began, peaked - 1, sizes[peaked]


def _shifted(scores: list[float]) -> tuple[int, int, float]:
    """Return where the largest shift began and ended: first for the least that is looked for, then for its own size."""
    began, peaked, size = _excursion(scores, _ALLOWANCE)
    if not size:
        return began, peaked, size
    return _excursion(scores, min(_CLIP / 2, max(_ALLOWANCE, median(scores[began : peaked + 1]) / 2)))


def _delta(after: Sequence[float], before: Sequence[float]) -> float:
    ordered = sorted(before)
    more = sum(bisect_left(ordered, value) + bisect_right(ordered, value) - len(ordered) for value in after)
    return more / (len(after) * len(before))


def _block_means(values: list[float], size: int) -> list[float]:
    return [sum(values[at : at + size]) / len(values[at : at + size]) for at in range(0, len(values) - size + 1, size)]


def _block_size(values: list[float]) -> int:
    """Return how many neighbours are about as good as one independent value, from their autocorrelation."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    together = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(values))
    correlation = min(0.8, max(0.0, together / spread)) if spread else 0.0
    return math.ceil((1 + correlation) / (1 - correlation) - 1e-9)


def p_value(after: list[float], before: list[float], *, places: int) -> float:
    """Return how often chance alone moves a series so, at one of so many places of a window.

    Of the Mann-Whitney test (1947) of means of blocks, which are as long as neighbours resemble one another; times the square of
    how often so long a change fits into the window, in which both its beginning and its end were chosen (after Bonferroni).
    """
    size = _block_size(before)
    size = max(1, min(size, len(after) // _LEAST_BLOCKS, len(before) // (2 * _LEAST_BLOCKS)))
    tried = max(1.0, places / len(after)) ** 2
    these, those = _block_means(after, size), _block_means(before, size)
    if min(these) > max(those) or max(these) < min(those):  # exact, whatever ties there are among themselves
        return min(1.0, 2 * tried / math.comb(len(these) + len(those), len(these)))
    stats: Any = load_extra("scipy.stats", "analysis", "explain()")
    normal = float(stats.mannwhitneyu(these, those, alternative="two-sided").pvalue)
    return min(1.0, max(normal, _tied_chance(these, those)) * tried)


def _tied_chance(these: list[float], those: list[float]) -> float:
    """Return the p-value of how many lie away from the value that most of those before have; 0 where most have none in common.

    Of few values that are mostly zero, the normal approximation of the Mann-Whitney test is off by powers of ten. Fisher (1934).
    """
    usual = median(those)
    if 2 * those.count(usual) <= len(those):
        return 0.0
    above = [sum(value > usual for value in some) for some in (these, those)]
    below = [sum(value < usual for value in some) for some in (these, those)]
    away, others = max(above, below, key=lambda counts: counts[0])
    ways = sum(
        math.comb(away + others, count) * math.comb(len(these) + len(those) - away - others, len(these) - count)
        for count in range(away, min(len(these), away + others) + 1)
    )
    return min(1.0, 2 * ways / math.comb(len(these) + len(those), len(these)))


def found_move(signal: Signal, split: int, *, is_trend_known: bool = True) -> Move | None:
    """Return how a signal moved, if it did by more than a word is worth.

    Args:
        signal: Over before and window.
        split: Where in its values the window begins.
        is_trend_known: Whether the time before leads straight to the window, so that its trend goes on there, and what began a
            little before the window is of it.
    """
    values = list(signal.values)
    if signal.measure.unit.endswith("per_second") and all(math.isnan(value) for value in values[:split]):
        values = [0.0 if math.isnan(value) else value for value in values]  # a counter that begins when something first happens
    found = _found(signal, values, split, split, is_trend_known=is_trend_known)
    if not is_trend_known or (found is not None and found.onset >= split):
        return found
    if found is None:  # what began a little before the window hides in the noise that it makes there
        found = _found(signal, values, split, split - split // _EDGE, is_trend_known=True)
        if found is None or found.onset >= split:
            return None
    # What had begun by then is no time before: held against what was before that, the same is seen more clearly.
    return _found(signal, values, split, found.onset, is_trend_known=True) or found


def _found(signal: Signal, values: list[float], split: int, known: int, *, is_trend_known: bool) -> Move | None:
    """Do as ``found_move()``: held against the values before a place, which is before the window or where it begins."""
    places = [place for place, value in enumerate(values) if not math.isnan(value)]
    since, inside = (sum(place >= first for place in places) for first in (known, split))
    if len(places) - since < _LEAST_BEFORE or inside < _LEAST_POINTS:
        return None
    residuals = _residuals(values, places, known, is_trend_known=is_trend_known)
    quiet = residuals[: len(places) - since]
    level = median([values[place] for place in places if place < known])
    scale = max(_scale(quiet), least_change(signal, level) / 6)
    usual = sum(quiet) / len(quiet)  # that of a ratio which is mostly zero lies above its median
    best: Move | None = None
    for sign in (1, -1):
        began, peaked, size = _shifted([sign * (residual - usual) / scale for residual in residuals])
        if not size or places[peaked] < split or peaked - began + 1 < _LEAST_POINTS or began < _LEAST_BEFORE:
            continue
        after, before = residuals[began : peaked + 1], residuals[: min(began, len(quiet))]
        shift = median(after)
        if sign * shift < max(least_change(signal, level), _LEAST_DEVIATIONS * scale):
            continue
        delta = _delta(after, before)
        if sign * delta < _LEAST_DELTA or (best and abs(best.deviations) > abs(shift / scale)):
            continue
        best = Move(
            places[began],
            places[peaked],
            median([values[place] for place in places[: len(before)]]),
            median([values[place] for place in places[began : peaked + 1]]),
            delta,
            shift / scale,
            next(index for index, value in enumerate(after) if sign * value >= sign * shift / 2),
            p_value(after, before, places=since),
        )
    return best


def adjusted(chances: Sequence[float], of: int) -> list[float]:
    """Correct p-values for all tests there were, those of which none is given included (Benjamini and Hochberg, 1995)."""
    order = sorted(range(len(chances)), key=lambda index: chances[index], reverse=True)
    corrected, least = [1.0] * len(chances), 1.0
    for rank, index in zip(range(len(chances), 0, -1), order, strict=True):
        least = min(least, chances[index] * of / rank)
        corrected[index] = least
    return corrected
