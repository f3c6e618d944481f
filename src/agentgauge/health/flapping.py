"""Whether a component goes to and fro.

After Nagios ("Detection and Handling of State Flapping"): of the last 21 findings, the share of the 20 pairs of
neighbours that differ, with a limit to begin at and a lower one to end at, so that flapping itself does not flap. Nagios lets
recent changes weigh more; here all weigh the same, so that a person can count them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgauge.health.status import Status

__all__ = ["WINDOW", "Flapping"]

WINDOW = 20
_BEGINS_ABOVE = 0.5
_GOES_ON_ABOVE = 0.25


class Flapping:
    """Counts changes; those that are not seen yet count as none, so that nothing flaps after a few findings.

    Attributes:
        is_on: Whether it flaps.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._changes: deque[bool] = deque(maxlen=WINDOW)
        self._last: Status | None = None

    @property
    def changes(self) -> int:
        """How often the finding changed in the last 20 checks."""
        return sum(self._changes)

    def take(self, found: Status) -> None:
        """Take in a finding that is known; one that is ``unknown`` is left out."""
        if self._last is not None:
            self._changes.append(found is not self._last)
        self._last = found
        self.is_on = self.changes / WINDOW > (_GOES_ON_ABOVE if self.is_on else _BEGINS_ABOVE)
