"""Moments at which many series together are unlike they ever are, though none need be so alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from agentgauge.analytics.analysis.baseline import Array

__all__ = ["Together", "isolate"]

_LEAST_SERIES = 3
_LEAST_TIMES = 64
_LEAST_KNOWN = 0.8
_TREES = 100
_SAMPLE = 256
_CLIP = 6.0
_INSIDE = 2.5
_SMOOTH = 3
_SHUFFLES = 19
_LEAST_LOADING = 0.05


@dataclass(frozen=True, slots=True)
class Together:
    """A stretch of time in which series do not go together as they do else.

    Attributes:
        first: The index of its first time.
        last: That of its last.
        score: How isolated its worst time is, as a multiple of the most that series without any relation come to.
        series: Those that are farthest from what the others let expect, the farthest first.
    """

    first: int
    last: int
    score: float
    series: tuple[int, ...]


def isolate(deviations: Array, *, seed: int = 0) -> list[Together]:
    """Find where series do not go together, by an Isolation Forest over what is left when their usual relations are taken out.

    The limit is the greatest score of series that were moved against one another in time: ordinary numbers, at odd moments.

    Args:
        deviations: A row for each time, a column for each series: how many standard deviations it is off its baseline; NaN
            where not known.
        seed: Of the forest and of the moves: the same input gives the same answer.

    Returns:
        The stretches, in order of time; none where there are fewer than 3 series or 64 times.

    Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008; the limit is a permutation test, of the maximum (Westfall and
    Young, 1993), at a level of 5 %.
    """
    if deviations.ndim != 2 or deviations.shape[0] < _LEAST_TIMES:  # noqa: PLR2004 - times and series
        return []
    clipped = np.clip(np.nan_to_num(deviations, posinf=_CLIP, neginf=-_CLIP), -_CLIP, _CLIP)
    # what hardly ever is known tells nothing, and what never sways, or only beyond what counts, has no correlation
    is_telling = (np.mean(np.isfinite(deviations), axis=0) > _LEAST_KNOWN) & (np.ptp(_inside(clipped), axis=0) > 0)
    columns = np.flatnonzero(is_telling)
    if columns.size < _LEAST_SERIES:
        return []
    clipped = clipped[:, columns]
    apart = _taken_apart(clipped)
    random = np.random.default_rng(seed)
    forest = load_extra("sklearn.ensemble", "analysis", "isolate()").IsolationForest(
        n_estimators=_TREES, max_samples=min(_SAMPLE, apart.shape[0]), random_state=seed
    )
    forest.fit(apart)
    most = _most_by_chance(apart.size)
    moved = [_moved(np.clip(apart, -most, most), random) for _ in range(_SHUFFLES)]
    own, *others = np.split(cast("Array", -forest.score_samples(np.vstack([apart, *moved]))), 1 + _SHUFFLES)
    scores, limit = _smooth(own), max(float(np.max(_smooth(part))) for part in others)
    found = []
    over = scores > limit
    edges = np.flatnonzero(np.diff(np.concatenate(([0], over.astype(np.int8), [0]))))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        worst = np.argsort(-np.abs(np.mean(apart[first:after], axis=0)))[:_LEAST_SERIES]
        score = float(np.max(scores[first:after])) / limit
        found.append(Together(int(first), int(after) - 1, score, tuple(int(columns[index]) for index in worst)))
    return found


def _inside(values: Array) -> Array:
    """Return how far values are off the median, without what lies so far out that it would decide every correlation."""
    return np.clip(values - np.median(values, axis=0), -_INSIDE, _INSIDE)


def _taken_apart(values: Array) -> Array:
    """Return what each series has that the others do not explain, each with a standard deviation of about 1."""
    centred, inside = values - np.median(values, axis=0), _inside(values)
    correlation = np.corrcoef(inside, rowvar=False)
    variances, directions = np.linalg.eigh(correlation)
    precision = (directions / np.maximum(variances, _LEAST_LOADING)) @ directions.T
    return np.asarray(centred / np.std(inside, axis=0) @ precision / np.sqrt(np.diag(precision)))


def _most_by_chance(count: int) -> float:
    """Return how far the farthest of so many normal values lies, about: what is farther is no ordinary number to be moved."""
    return float(np.sqrt(2 * np.log(2 * count)))


def _moved(values: Array, random: np.random.Generator) -> Array:
    return np.column_stack([np.roll(column, int(random.integers(1, column.size))) for column in values.T])


def _smooth(scores: Array) -> Array:
    return np.convolve(np.pad(scores, _SMOOTH // 2, mode="edge"), np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
