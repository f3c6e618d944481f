"""Numbers so great that their differences, sums or squares would be infinite, made smaller."""

from __future__ import annotations

import math

__all__ = ["shrinking"]

_GREAT = 1e100
_MOST = 1023  # the greatest power of two that a float holds


def shrinking(greatest: float) -> float:
    """Return what to multiply values by, given the greatest of their sizes: 1 for all but absurd ones; a power of two."""
    return 2.0 ** -min(math.frexp(greatest)[1], _MOST) if greatest > _GREAT else 1.0
