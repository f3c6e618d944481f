"""The template for an agent's own work: its life, its queue, its limits, its retries."""

from __future__ import annotations

from agentgauge.processing.breakers import Breaker, Permit
from agentgauge.processing.context import Priority, ProcessingContext, remaining_seconds, report_progress
from agentgauge.processing.errors import (
    Category,
    CircuitRefusedError,
    DeadlineExceededError,
    DependencyError,
    IncompleteClassError,
    InitializationError,
    InvalidInputError,
    InvalidOutputError,
    OverloadedError,
    ProcessingCancelledError,
    ProcessingError,
    ProcessingTimeoutError,
    Severity,
    ShuttingDownError,
    ValidationError,
    WorkFailedError,
    WrongLoopError,
)
from agentgauge.processing.interface import EnhancedProcessingInterface, RunningRequest
from agentgauge.processing.progress import Progress
from agentgauge.processing.result import ProcessResult, ProcessStatus, ResultMetadata
from agentgauge.processing.retrying import RetryPolicy
from agentgauge.processing.settings import ProcessingSettings

__all__ = [
    "Breaker",
    "Category",
    "CircuitRefusedError",
    "DeadlineExceededError",
    "DependencyError",
    "EnhancedProcessingInterface",
    "IncompleteClassError",
    "InitializationError",
    "InvalidInputError",
    "InvalidOutputError",
    "OverloadedError",
    "Permit",
    "Priority",
    "ProcessResult",
    "ProcessStatus",
    "ProcessingCancelledError",
    "ProcessingContext",
    "ProcessingError",
    "ProcessingSettings",
    "ProcessingTimeoutError",
    "Progress",
    "ResultMetadata",
    "RetryPolicy",
    "RunningRequest",
    "Severity",
    "ShuttingDownError",
    "ValidationError",
    "WorkFailedError",
    "WrongLoopError",
    "remaining_seconds",
    "report_progress",
]
