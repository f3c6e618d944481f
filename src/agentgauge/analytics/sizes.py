"""How great a change is in practice, whatever its unit and however certain it is."""

from __future__ import annotations

import math

__all__ = ["LEAST_EFFECT", "is_felt", "size_of"]

LEAST_EFFECT = 0.1
# an error ratio that rises from 0.1 % to 0.2 % doubles, and is no news; nor is a tenth of a millisecond
_LEAST = {"ratio": 0.01, "seconds": 0.001, "bytes": float(1 << 20), "bytes_per_second": 1024.0, "cores": 0.01, "tokens": 1.0}


def is_felt(before: float, after: float, unit: str, least_effect: float = LEAST_EFFECT) -> bool:
    """Tell whether anybody feels a change: one as great as a share of the level before, and as its unit asks for.

    Args:
        before: The level before.
        after: The level after.
        unit: Of both, as in ``Measure.unit``.
        least_effect: The share of the level before.
    """
    change = abs(after - before)
    return change > 0 and change >= max(_LEAST.get(unit, 0.0), least_effect * abs(before))


def size_of(before: float, after: float, unit: str, sway: float = 0.0) -> float:
    """Return how great a change is, from 0 to 1: half for what doubles or halves without a sway; of ratios Cohen's h.

    Args:
        before: The level before.
        after: The level after.
        unit: Of both, as in ``Measure.unit``.
        sway: How far values lie from their level in the mean.

    Source: J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988.
    """
    if unit == "ratio" and max(before, after) <= 1:
        from_, to = (math.asin(math.sqrt(max(share, 0.0))) for share in (before, after))
        return min(1.0, 2 * abs(to - from_))  # of h 0.2 is small and 0.8 great
    whole = max(abs(before), abs(after)) + sway
    size = abs(after - before) / whole if whole else 0.0
    return min(1.0, size) if math.isfinite(size) else 1.0
