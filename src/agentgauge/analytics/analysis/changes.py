"""When a level changed for good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.analysis.scale import shrinking
from agentgauge.analytics.extras import load_extra
from agentgauge.requirements import require_count

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Change", "change_points"]

_MOST_POINTS = 1500
_PENALTY = 3.0  # times noise times log n: of 1,000 courses of noise it found changes in few, see the tests
_HIGHEST_CORRELATION = 0.98
_JUMP = 4.5  # normal deviations: what differs by more from its neighbour is a spike or a step, and no noise
_LEAST_NOISE = 1e-9
_NORMAL = NormalDist()
_DEVIATION_OF_MEDIAN = _NORMAL.inv_cdf(0.75)


@dataclass(frozen=True, slots=True)
class Change:
    """A level that changed.

    Attributes:
        index: Of the first value at the new level, among those that were given.
        before: The median since the change before, or the beginning.
        after: The median until the next change, or the end.
        p_value: Of both sides having one level, autocorrelation and the number of places where it could be taken into account.
    """

    index: int
    before: float
    after: float
    p_value: float


def change_points(values: Sequence[float], *, least_points: int = 8) -> list[Change]:
    """Find when the level changed, in order of time; spikes are no change.

    The values give way to the normal scores of their ranks, which no outlier bends; the partition into levels that has the least
    sum of squares plus a penalty for each change is found exactly (PELT). The penalty is three times the long-run variance of the
    noise times log n; that variance is learned of differences of neighbours, which a level that changed does not touch, as that
    of an AR(1).

    What drifts is told as a stair, and what wanders slowly by itself as changes, too: see ``find_trends()``, which weighs them.

    Args:
        values: At equal distances in time; NaN and infinity are left out. Of more than 1,500 the medians of as few equal groups
            as make that are looked at, and a change is then known to within one of these.
        least_points: A level lasts at least so many known values; shorter ones are spikes.

    Returns:
        Nothing where there are fewer than twice ``least_points`` values, or all are the same.

    Raises:
        ConfigurationError: numpy is not installed, or ``least_points`` is no count above 1.

    Sources: R. Killick, P. Fearnhead & I. A. Eckley, "Optimal detection of changepoints with a linear computational cost",
        JASA 107, 2012. S. Chakar et al., "A robust approach for estimating change-points in the mean of an AR(1) process",
        Bernoulli 23, 2017 (differences at two lags).
    """
    np = load_extra("numpy", "analysis", "change_points()")
    require_count("least_points", least_points, "8", least=2)
    given = np.asarray(values, float)
    known = np.flatnonzero(np.isfinite(given))
    shrunk = shrinking(float(np.abs(given[known]).max(initial=0.0)))
    finite, scale = given[known] * shrunk, 1 / shrunk
    group = max(1, math.ceil(len(known) / _MOST_POINTS))
    starts = known[::group]
    seen = finite if group == 1 else np.array([np.median(finite[at : at + group]) for at in range(0, len(known), group)])
    if len(seen) < 2 * least_points or (seen == seen[0]).all():
        return []
    scores = _normal_scores(np, seen)
    noise = _long_run_variance(np, scores, least_points)
    bounds = [0, *_partition(np, scores, _PENALTY * noise * math.log(len(scores)), least_points), len(scores)]
    levels = [float(np.median(seen[begin:end])) * scale for begin, end in pairwise(bounds)]
    found = []
    for place in range(1, len(bounds) - 1):
        begin, at, end = bounds[place - 1 : place + 2]
        step = abs(float(scores[at:end].mean() - scores[begin:at].mean()))
        z = step / math.sqrt(noise * (1 / (at - begin) + 1 / (end - at)))
        p_value = min(1.0, math.erfc(z / math.sqrt(2)) * len(scores))
        found.append(Change(int(starts[at]), levels[place - 1], levels[place], p_value))
    return found


def _normal_scores(np: Any, seen: Any) -> Any:
    """Return for each value the place that its rank would have in a normal distribution; ties share theirs."""
    _, place, counts = np.unique(seen, return_inverse=True, return_counts=True)
    shares = (np.cumsum(counts) - counts / 2) / len(seen)
    return np.array([_NORMAL.inv_cdf(share) for share in shares])[place]


def _long_run_variance(np: Any, scores: Any, least: int) -> float:
    """Return n times the variance that a mean of n has, were there no changes: that of an AR(1)."""
    count = len(scores)
    near, far = scores[1:] - scores[:-1], scores[2:] - scores[:-2]
    if np.median(np.abs(near)) > 0:
        near, far = _without_jumps(np, near), _without_jumps(np, far)
    else:  # most are equal to their neighbour: a step is what comes alone
        moves = np.flatnonzero(near)
        pauses = np.diff(moves, prepend=-least, append=count + least)
        steps = np.zeros(len(near), bool)
        steps[moves[(pauses[:-1] >= least) & (pauses[1:] >= least)]] = True
        near, far = near[~steps], far[~(steps[1:] | steps[:-1])]
    noise = float((near * near).mean())
    if noise <= 0:
        return _LEAST_NOISE
    seen = min(max(float((far * far).mean()) / noise - 1, 0.0), _HIGHEST_CORRELATION)
    memory = min((count * seen + 1) / (count - 3), _HIGHEST_CORRELATION)  # it comes out too low in short series
    return max(noise / 2 / (1 - memory) * (1 + memory) / (1 - memory), _LEAST_NOISE)


def _without_jumps(np: Any, differences: Any) -> Any:
    sizes = np.abs(differences)
    moved = sizes[sizes > 0]  # where every second value is the same as its neighbour, the median of all would be next to nothing
    return differences[sizes <= _JUMP * float(np.median(moved)) / _DEVIATION_OF_MEDIAN] if len(moved) else differences


def _partition(np: Any, scores: Any, penalty: float, least: int) -> list[int]:
    """Return where the levels begin, but for the first, in the partition that costs least."""
    count = len(scores)
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    squares = np.concatenate([[0.0], np.cumsum(scores * scores)])
    cost = np.full(count + 1, np.inf)
    cost[0] = -penalty
    begins = np.zeros(count + 1, int)
    candidates, size = np.zeros(count + 1, int), 1
    for end in range(least, count + 1):
        if end >= 2 * least:
            candidates[size], size = end - least, size + 1
        of = candidates[:size]
        total = sums[end] - sums[of]
        costs = cost[of] + squares[end] - squares[of] - total * total / (end - of)
        best = costs.argmin()
        cost[end], begins[end] = costs[best] + penalty, of[best]
        kept = of[costs <= cost[end]]  # the others can never be best again
        size = len(kept)
        candidates[:size] = kept
    found = []
    at = int(begins[count])
    while at > 0:
        found.append(at)
        at = int(begins[at])
    return found[::-1]
