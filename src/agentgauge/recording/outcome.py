"""How a call ended: the outcome and the error type that metrics and spans share."""

from __future__ import annotations

import sys
from typing import NamedTuple

from agentgauge.catalogue import Outcome
from agentgauge.recording.points import clean_label

__all__ = ["OTHER_ERROR", "UNTOLD", "Failure", "failure_of"]

OTHER_ERROR = "_OTHER"
"""The error type that stands for those past the limit (semantic conventions, ``error.type``)."""


class Failure(NamedTuple):
    """An outcome other than success."""

    outcome: Outcome
    error_type: str


UNTOLD = Failure(Outcome.ERROR, OTHER_ERROR)
"""The end of a call that failed while there was no way to tell how."""


def failure_of(error: BaseException) -> Failure:
    """Classify the exception that left a call.

    A ``TimeoutError`` is a timeout. An exception that is no ``Exception`` is no fault of the call: ``GeneratorExit`` means
    that its consumer abandoned it, anything else (cancellation, interrupt, exit) that it was cancelled.
    """
    kind = type(error)
    error_type = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, TimeoutError):
        outcome = Outcome.TIMEOUT
    elif isinstance(error, GeneratorExit):
        outcome = Outcome.ABANDONED
    elif _is_cancelled_future(error) or not isinstance(error, Exception):
        outcome = Outcome.CANCELLED
    else:
        outcome = Outcome.ERROR
    return Failure(outcome, clean_label(error_type))


def _is_cancelled_future(error: BaseException) -> bool:
    futures = sys.modules.get("concurrent.futures._base")  # not loaded means: nobody waits for a future
    return futures is not None and isinstance(error, futures.CancelledError)
