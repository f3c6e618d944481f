"""Stretches in which nothing came, though something was to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from agentgauge.analytics.analysis.baseline import Array

__all__ = ["missing_runs"]

_LEAST_RUN = 2
_PRIOR = 0.5
_STAYS = 0.1  # where it never was silent, it is not known to stay so


def missing_runs(values: Array, period: int, alpha: float) -> list[tuple[int, int, float]]:
    """Return the stretches of zeros and missing values that are improbable: first, last and score.

    How probable silence is, and that it goes on, is counted over the rest of the series, by the time of the season where
    there is one: a night without traffic is none to speak of where all nights are so.

    Args:
        values: On an even grid; NaN where missing. What is missing before the first value is left out.
        period: The steps of the season, 1 without one.
        alpha: How probable it may be that chance alone makes such a stretch anywhere in the series.
    """
    known = np.flatnonzero(np.isfinite(values))
    begin = int(known[0])
    silent = ~(np.abs(np.nan_to_num(values)) > 0)
    silent[:begin] = False
    found = []
    for first, last in _runs(silent):
        length = last - first + 1
        if length < _LEAST_RUN:
            continue
        others = np.ones(values.size, dtype=bool)
        others[:begin] = False
        others[first : last + 1] = False
        chance = _log_chance(silent, others, first, last, period)
        score = chance / np.log(alpha / values.size)
        if score >= 1:
            found.append((first, last, float(score)))
    return found


def _runs(mask: np.typing.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]


def _log_chance(
    silent: np.typing.NDArray[np.bool_], others: np.typing.NDArray[np.bool_], first: int, last: int, period: int
) -> float:
    """Return the logarithm of how probable so long a silence is: that it begins, and goes on each time."""
    after = others[1:] & others[:-1]
    goes_on_before = silent[:-1]
    began = np.count_nonzero(others & silent) + _PRIOR
    chance = float(np.log(began / (np.count_nonzero(others) + 2 * _PRIOR)))
    if period == 1:
        stays = np.count_nonzero(after & goes_on_before & silent[1:]) + _STAYS
        of = np.count_nonzero(after & goes_on_before) + 1
        return chance + (last - first) * min(float(np.log(stays / of)), -1e-9)
    width = max(1, period // 48)
    for at in range(first + 1, last + 1):
        phases = (at + np.arange(-width, width + 1)) % period
        near = np.isin(np.arange(silent.size) % period, phases) & others
        share = (np.count_nonzero(near & silent) + _PRIOR) / (np.count_nonzero(near) + 2 * _PRIOR)
        chance += float(np.log(share))
    return chance
