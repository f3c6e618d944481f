"""What waits for a handler: what every queue does, and the plain one, which tells everything that happened."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.notification.alerts import Notification

__all__ = ["Line", "Queue"]

_MOST_WAITING = 100


class Queue(Protocol):
    """What there is to tell a handler, and when; asked under the lane's lock, with the time of the lane's clock."""

    tally: Counter[str]
    """What became of those that the handler is not told of, since the lane last took note."""

    def put(self, notifications: Sequence[Notification], now: float) -> None:
        """Take in what happened."""
        ...

    def take(self, now: float) -> tuple[Notification, ...]:
        """Return the message that is due; empty where none is. ``settle`` must follow."""
        ...

    def settle(self, now: float, *, is_delivered: bool, retry_after_seconds: float | None = None) -> None:
        """Take note of what became of it."""
        ...

    def arrive(self, message: Sequence[Notification], now: float) -> None:
        """Take note that a message which was taken for lost was taken after all."""
        ...

    def seconds_until_due(self, now: float) -> float | None:
        """Return how long it is until something is to be told; None where nothing will be."""
        ...

    def owes(self, now: float) -> bool:
        """Tell whether the handler lacks something that it may be told now."""
        ...

    def refuse(self) -> None:
        """Tell nothing: the handler hangs."""
        ...

    def hurry(self) -> None:
        """Let be due what waits for anything but the handler."""
        ...

    def retire(self) -> None:
        """Tell what is left: nobody will put anything in any more."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class Line:
    """Everything that happened, one after another; what is too much is dropped."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self._waiting: deque[Notification] = deque()

    def put(self, notifications: Sequence[Notification], now: float) -> None:  # noqa: ARG002 - at any time
        """Let them wait, as long as there is room."""
        for notification in notifications:
            if len(self._waiting) >= _MOST_WAITING:
                self.tally["dropped"] += 1
            else:
                self._waiting.append(notification)

    def take(self, now: float) -> tuple[Notification, ...]:  # noqa: ARG002 - at any time
        """Return the first that waits."""
        return (self._waiting.popleft(),) if self._waiting else ()

    def settle(self, now: float, *, is_delivered: bool, retry_after_seconds: float | None = None) -> None:
        """Nothing is tried again."""

    def arrive(self, message: Sequence[Notification], now: float) -> None:
        """Nothing was going to be."""

    def seconds_until_due(self, now: float) -> float | None:  # noqa: ARG002 - at any time
        """Return 0 where anything waits."""
        return 0.0 if self._waiting else None

    def owes(self, now: float) -> bool:  # noqa: ARG002 - at any time
        """Tell whether anything waits."""
        return bool(self._waiting)

    def refuse(self) -> None:
        """Drop what waits for a handler that hangs."""
        self.tally["dropped"] += len(self._waiting)
        self._waiting.clear()

    def hurry(self) -> None:
        """Nothing waits but for the handler."""

    def retire(self) -> None:
        """What waits is told."""

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
