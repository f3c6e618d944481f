"""What the server of ``start()`` shows and takes beside the series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.fork_gate import LOADING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.exposition.health_pages import HealthPages, HealthSource
    from agentgauge.exposition.receivers import Receiver, Receivers

__all__ = ["Pages"]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one server; none where None."""

    health: HealthPages | None = None
    receivers: Receivers | None = None

    @classmethod
    def of(cls, health: HealthSource | None, receivers: Iterable[Receiver] | None) -> Pages:
        """Check what ``start()`` was given for them.

        Raises:
            ConfigurationError: It is not what it should be.
        """
        if health is None and receivers is None:
            return cls()
        with LOADING.lock:  # a program without them does not pay for it
            from agentgauge.exposition.health_pages import HealthPages  # noqa: PLC0415 - see above
            from agentgauge.exposition.receivers import Receivers  # noqa: PLC0415 - see above
        return cls(None if health is None else HealthPages(health), None if receivers is None else Receivers(receivers))

    @property
    def given(self) -> dict[str, object]:
        """What was given for them, by its name in ``start()``."""
        return {"health": self.source, "receivers": None if self.receivers is None else self.receivers.all}

    @property
    def source(self) -> Any:
        """What knows how the components are; None where nothing was given."""
        return None if self.health is None else self.health.source
