"""What a caller says of a request, and what the work can ask of it: how long it still has, and to be told of its progress."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from agentgauge.chance import CHANCE
from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.requirements import require_count, require_name, require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.processing.progress import Progress
    from agentgauge.processing.run import Run

__all__ = ["Priority", "ProcessingContext", "current_run", "remaining_seconds", "report_progress", "require_context"]

current_run: ContextVar[Run | None] = ContextVar("agentgauge_processing_run", default=None)
"""The request inside whose work this is."""

_getrandbits = CHANCE.getrandbits


def _new_id() -> str:
    return f"{_getrandbits(128):032x}"


class Priority(IntEnum):
    """Which of those that wait comes first: the higher; any whole number will do."""

    LOW = -10
    NORMAL = 0
    HIGH = 10
    CRITICAL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingContext:
    """What a caller says of one request.

    Attributes:
        request_id: Names the request; drawn at random unless given. Never a label.
        user: On whose behalf it is. Never a label.
        priority: Of those that wait, the highest comes first, and of equal ones the oldest.
        timeout_seconds: How long the request may take from the call on, waiting and retries included; None for the interface's
            own setting.
        deadline: The moment after which no answer is of use, with a time zone.
        retries: How often the work may be tried again; None for the interface's own setting.
        tags: Words of the caller's own.
        metadata: Values of the caller's own.
        on_progress: Called with each progress that the work reports, where it reports it; what it raises is contained.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    request_id: str = field(default_factory=_new_id)
    user: str | None = None
    priority: int = 0
    timeout_seconds: float | None = None
    deadline: datetime | None = None
    retries: int | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    on_progress: Callable[[Progress], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        require_name("request_id", self.request_id, "order-17")
        if not isinstance(self.priority, int) or isinstance(self.priority, bool):
            raise ConfigurationError(f"priority={self.priority!r}: give a whole number, such as Priority.HIGH")
        if self.timeout_seconds is not None:
            require_seconds("timeout_seconds", self.timeout_seconds, "30")
        if self.deadline is not None and (not isinstance(self.deadline, datetime) or self.deadline.utcoffset() is None):
            raise ConfigurationError(
                f"deadline={self.deadline!r}: give a moment with a time zone, such as datetime.now(UTC) + timedelta(seconds=30)"
            )
        if self.retries is not None:
            require_count("retries", self.retries, "2", least=0)
        if self.tags != () and not (isinstance(self.tags, tuple) and all(isinstance(tag, str) for tag in self.tags)):
            raise ConfigurationError(f"tags={self.tags!r}: give a tuple of texts, such as ('nightly',)")
        if self.user is not None and not isinstance(self.user, str):
            raise ConfigurationError(f"user={self.user!r}: give a text, such as 'ann'")
        if not isinstance(self.metadata, Mapping):
            raise ConfigurationError(f"metadata={self.metadata!r}: give a mapping, such as {{'shard': 3}}")
        if self.on_progress is not None and not callable(self.on_progress):
            raise ConfigurationError(f"on_progress={self.on_progress!r}: give a function that takes a Progress")

    def report_progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the work is, as the function ``report_progress`` does."""
        report_progress(done, total, message)

    def remaining_seconds(self) -> float | None:
        """Return how long the work still has, as the function ``remaining_seconds`` does."""
        return remaining_seconds()


def require_context(given: object) -> ProcessingContext:
    """Return what was given as a context, or refuse what is not one; its value is not told: it may hold secrets."""
    if not isinstance(given, ProcessingContext):
        kind = type(given).__name__
        raise ConfigurationError(f"context is of type {kind}: give a ProcessingContext, such as ProcessingContext(user='ann')")
    return given


def remaining_seconds() -> float | None:
    """Return how long the request inside whose work this is still has, 0 where its time is up; None without a limit.

    Threads that have the context (``asyncio.to_thread``) may ask, too.
    """
    run = current_run.get()
    return None if run is None else run.remaining_seconds()


def report_progress(done: float, total: float | None = None, message: str = "") -> None:
    """Say how far the work is of the request inside which this is; outside of one nothing happens. It never raises.

    Args:
        done: How much is done, in any unit.
        total: How much there is to do, in the same unit, where that is known.
        message: What to tell people.
    """
    run = current_run.get()
    if run is None or run.is_over:
        return
    with contain_internal_errors("progress"):
        run.note_progress(done, total, message)
