"""Whether values go one way so steadily that no walk without a way would."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["chance_of_going_on"]

_BLOCKS = (1, 2, 4, 8)  # values; the median of more of them has less noise
_LEAST_BLOCKS = 16
_LEAST_NET = 0.5
_WALK = 2 / math.pi * math.asin(0.25)  # means of a walk remember: their moves correlate by a quarter, and the signs of these so


def chance_of_going_on(np: Any, seen: Any, way: float) -> float:
    """Return at most how probable it is that chance moves values the same way as often as these.

    A walk, or noise whatever it remembers, moves up as often as down; a curve that rises does not, however it bends. This counts
    how many of the moves from value to value, or between medians of 2, 4 or 8 of them, go the way of all (difference-sign test).
    The probability is Chernoff's bound of the binomial one, of fewer moves where their signs are autocorrelated, times the number
    of sizes that were tried. What saws, slowly up and fast down, gets nowhere: moves that end less than half as far away as they
    are long together have no way.

    Args:
        np: numpy.
        seen: Finite values, in order of time.
        way: Above 0 where they rise, below where they fall.

    Sources: G. H. Moore & W. A. Wallis, "Time series significance tests based on signs of differences", JASA 38, 1943.
        H. Chernoff, "A measure of asymptotic efficiency for tests of a hypothesis...", Annals of Math. Statistics 23, 1952.
    """
    sizes = [size for size in _BLOCKS if size == 1 or len(seen) >= size * _LEAST_BLOCKS]
    least = min(_chance(np, np.median(seen[len(seen) % size :].reshape(-1, size), axis=1), way) for size in sizes)
    return float(min(1.0, len(sizes) * least))


def _chance(np: Any, seen: Any, way: float) -> float:
    moves = math.copysign(1, way) * np.diff(seen)
    moves = moves[moves != 0]
    if not len(moves) or moves.sum() < _LEAST_NET * np.abs(moves).sum():
        return 1.0
    forth = (moves > 0).astype(float)
    share = float(forth.mean())
    if share <= 1 / 2:
        return 1.0
    against = 1 - share
    about = forth - share
    alike = max(float((about[1:] * about[:-1]).sum()) / (len(moves) * share * against) if against else 0.0, _WALK)
    bits = share * math.log(2 * share) + (against * math.log(2 * against) if against else 0.0)
    return 2 * math.exp(-len(moves) * (1 - alike) / (1 + alike) * bits)
