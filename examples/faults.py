"""Which steps of an example go wrong on purpose."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger import Ledger

__all__ = ["LEVELS", "Faults"]

LEVELS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "normal": {
        "lm_error": 0.01,
        "lm_stall": 0.006,
        "tool_error": 0.05,
        "unsupported_claim": 0.02,
        "hang_up": 0.08,
        "early_close": 0.08,
    },
    "heavy": {
        "lm_error": 0.1,
        "lm_stall": 0.03,
        "tool_error": 0.2,
        "unsupported_claim": 0.1,
        "hang_up": 0.3,
        "early_close": 0.5,  # few questions come this far, and every outcome is to be seen within seconds
    },
}
"""The share of occasions on which each kind of fault happens, by the level that the user chooses."""


class Faults:
    """Decides by seed and occasion whether a fault happens, so that the order of concurrent work changes nothing.

    Args:
        ledger: Where each injected fault is counted.
        level: A key of ``LEVELS``.
        seed: What all draws derive from.
    """

    def __init__(self, ledger: Ledger, level: str = "none", *, seed: int = 0) -> None:
        self._ledger = ledger
        self._ratios = LEVELS[level]
        self._seed = seed

    def happens(self, kind: str, occasion: str) -> bool:
        """Tell whether ``kind`` of fault befalls ``occasion``, a text that identifies it."""
        draw = random.Random(f"{self._seed}/{kind}/{occasion}").random()
        if draw >= self._ratios.get(kind, 0.0):
            return False
        self._ledger.note_fault(kind)
        return True

    def stop(self) -> None:
        """Let nothing go wrong from now on."""
        self._ratios = LEVELS["none"]
