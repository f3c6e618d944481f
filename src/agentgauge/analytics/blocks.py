"""How far from independent what was observed in a window is, from blocks of its time.

Calls come in bursts and faults last, so that a thousand calls tell less than a thousand independent ones. The blocks of a window
show by how much (Rao and Scott, "A simple method for the analysis of clustered binary data", Biometrics 48, 1992), and quantiles
are resampled by whole blocks (Carlstein, Annals of Statistics 14, 1986).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MOST_BLOCKS",
    "blocks_of",
    "design_effect",
    "independent",
    "inflation",
    "known",
    "means_of",
    "memory",
    "residuals_of_ratio",
    "spread_of_sum",
]

MOST_BLOCKS = 20
_USUAL = 0.7  # how much samples remember of those before them, where too few are there to show it
_MOST_MEMORY = 0.95
_LOST = 4  # blocks that an autocorrelation costs


def known(values: Sequence[float]) -> list[float]:
    """Return what grew in each step, with nothing where nothing is known."""
    return [0.0 if math.isnan(value) else value for value in values]


def blocks_of(values: Sequence[float]) -> list[float]:
    """Add up what grew in each of at most 20 blocks of nearly equal length; the first step of a window has no growth."""
    own = known(values[1:])
    many = _many(len(own))
    return [math.fsum(own[len(own) * index // many : len(own) * (index + 1) // many]) for index in range(many)]


def _many(steps: int) -> int:
    """Return into how many blocks to cut: of 10 to 20 the most that are of equal length, or else nearly so."""
    if steps <= MOST_BLOCKS:
        return steps
    return max(range(MOST_BLOCKS // 2, MOST_BLOCKS + 1), key=lambda many: (-min(1, steps % many), many))


def means_of(values: Sequence[float]) -> list[float]:
    """Return the means of at most 20 blocks of the values that are known."""
    own = [value for value in values if not math.isnan(value)]
    many = _many(len(own))
    parts = [own[len(own) * index // many : len(own) * (index + 1) // many] for index in range(many)]
    return [math.fsum(part) / len(part) for part in parts]


def memory(*residuals: Sequence[float]) -> float:
    """Return by how much blocks resemble those before them: the first autocorrelation of all windows, between 0 and 0.95.

    It is freed of its bias in short series, and blocks that are missing to 20 are taken for ones that resemble: what is sampled
    each few seconds does remember, and few samples cannot show that it does not.

    Args:
        residuals: Of each window, how far its blocks are from its own mean; at least one is not 0.
    """
    many = sum(map(len, residuals)) / len(residuals)
    total = math.fsum(value * value for one in residuals for value in one)
    if total <= 0 or many <= _LOST:
        return _USUAL
    seen = math.fsum(a * b for one in residuals for a, b in pairwise(one)) / total
    freed = (many * seen + 1) / (many - _LOST)  # Marriott and Pope, "Bias in the estimation of autocorrelations", 1954
    missing = max(0.0, MOST_BLOCKS - many) / len(residuals)
    return min(_MOST_MEMORY, max(0.0, (freed * many + _USUAL * missing) / (many + missing)))


def independent(many: int, remembered: float) -> float:
    """Return as how many independent ones so many blocks count for their mean, that remember as an AR(1) does; 1 at the least."""
    lags = math.fsum((1 - lag / many) * remembered**lag for lag in range(1, many))
    return many / (1 + 2 * lags)


def inflation(many: int, remembered: float) -> float:
    """Return by how much the variance of a mean of so many blocks is greater than it seems, since they remember.

    They are nearer to their own mean than to the true one, which makes their variance seem less, too.
    """
    alone = independent(many, remembered)
    return (many - 1) / (alone - 1) if alone > 1 else math.inf


def residuals_of_ratio(parts: Sequence[float], whole: Sequence[float]) -> list[float]:
    """Return by how much each block makes the sum of some parts divided by that of their wholes greater (linearized)."""
    total = math.fsum(whole)
    share = math.fsum(parts) / total
    return [(part - share * of) / total for part, of in zip(parts, whole, strict=True)]


def spread_of_sum(residuals: Sequence[float], remembered: float) -> float:
    """Return the variance of a sum, by how far its blocks are from their mean."""
    many, squares = len(residuals), math.fsum(value * value for value in residuals)
    return inflation(many, remembered) * many / (many - 1) * squares if squares > 0 else 0.0


def design_effect(parts: Sequence[float], whole: Sequence[float]) -> float:
    """Return by how much less a share tells than one of as many independent observations would, from blocks; at least 1."""
    count = math.fsum(whole)
    share = min(1.0, math.fsum(parts) / count)
    simple = share * (1 - share) / count
    if simple <= 0 or len(whole) < 2:  # noqa: PLR2004 - one block has no spread
        return 1.0
    residuals = residuals_of_ratio(parts, whole)
    return max(1.0, spread_of_sum(residuals, memory(residuals)) / simple)
