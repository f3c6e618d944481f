"""How a request ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from agentgauge.processing.errors import Category

if TYPE_CHECKING:
    from agentgauge.processing.errors import ProcessingError

__all__ = ["ProcessResult", "ProcessStatus", "ResultMetadata", "failed"]

U = TypeVar("U")


class ProcessStatus(StrEnum):
    """How a request ended: refused means that its work never began, cancelled that it was broken off."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class ResultMetadata(TypedDict):
    """What is known of a request that ended.

    Attributes:
        request_id: The context's.
        attempts: How often the work began.
        queued_seconds: How long the request waited for its turn.
        seconds: How long all of it took, waiting included.
    """

    request_id: str
    attempts: int
    queued_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ProcessResult(Generic[U]):
    """How a request ended.

    Attributes:
        status: How it ended.
        data: What the work returned; None unless it completed.
        error: What went wrong; None where it completed.
        metadata: Its id, attempts and times.
    """

    status: ProcessStatus
    data: U | None
    error: ProcessingError | None
    metadata: ResultMetadata

    @property
    def is_success(self) -> bool:
        """Whether it completed."""
        return self.error is None

    def unwrap(self) -> U:
        """Return the data.

        Raises:
            ProcessingError: The request did not complete.
        """
        if self.error is not None:
            raise self.error
        return self.data  # type: ignore[return-value]  # what completed has data, which may be None itself


_STATUS_BY_CATEGORY = {
    Category.TIMEOUT: ProcessStatus.TIMED_OUT,
    Category.DEADLINE: ProcessStatus.TIMED_OUT,
    Category.OVERLOAD: ProcessStatus.REFUSED,
    Category.CIRCUIT_OPEN: ProcessStatus.REFUSED,
    Category.SHUTDOWN: ProcessStatus.REFUSED,
    Category.CANCELLED: ProcessStatus.CANCELLED,
}


def failed(error: ProcessingError, metadata: ResultMetadata) -> ProcessResult[U]:
    """Return the result of a request that ended in ``error``."""
    status = _STATUS_BY_CATEGORY.get(error.category, ProcessStatus.FAILED)
    if status is ProcessStatus.REFUSED and metadata["attempts"]:  # its work had begun
        status = ProcessStatus.CANCELLED if error.category is Category.SHUTDOWN else ProcessStatus.FAILED
    return ProcessResult(status, None, error, metadata)
