"""Names that nothing here goes by: each is told of once, since it may be misspelt."""

from __future__ import annotations

import logging

from agentgauge.notification.text import one_line

__all__ = ["Strangers"]

_logger = logging.getLogger("agentgauge.recovery")
_MOST_TOLD = 100
_LONGEST_NAME = 200


class Strangers:
    """Logs a line for each unknown name, and for the first hundred of them at most."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, name: str, before: str, after: str) -> None:
        """Log the name between two parts of a sentence, unless it was told of before."""
        if name in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(name)
        _logger.warning("%s %r %s", before, one_line(name, _LONGEST_NAME), after)
