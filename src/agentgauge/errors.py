"""The exception tree, and the containment that keeps our own faults away from the host program."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from agentgauge.fork_gate import ForkGate, ForkOrder

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeGuard

__all__ = [
    "PROGRAM_HOOKS",
    "AgentgaugeError",
    "ConfigurationError",
    "HistoryError",
    "SourceError",
    "contain_internal_errors",
    "contained_errors",
    "is_fault_of_ours",
    "report_internal_error",
]

_logger = logging.getLogger("agentgauge")

PROGRAM_HOOKS = {
    "agent_metrics": "could not take what the program reported by AgentMetricsCollector",
    "alert_handler": "contained the failure of an alert handler of the program's",
    "content": "kept content out, which the program's content_redactor or agentgauge could not handle",
    "set_outcome": "could not take the outcome that the program stated",
}
"""The hooks in which most faults are the program's, by what the log says of them."""

_LOG_INTERVAL_SECONDS = 60.0
_LOG_WAIT_SECONDS = 1.0


class AgentgaugeError(Exception):
    """The root of every exception that agentgauge raises on purpose."""


class ConfigurationError(AgentgaugeError, ValueError):
    """A setting has a value that cannot work; the message names the setting and the fix."""


class HistoryError(AgentgaugeError):
    """A file of the local history, or one that was saved from it, cannot be read or written; the message says which and why."""


class SourceError(AgentgaugeError):
    """What analysis was pointed at cannot be asked: a history that is no history, a Prometheus that does not answer."""


class _ContainedErrors:
    """How many faults were contained, by the hook in which they happened: our own, or the program's in what it gives us."""

    def __init__(self) -> None:
        self.count_by_hook: dict[str, int] = {}
        self.is_reraising = False
        self._counting = threading.RLock()
        self._logging = ForkGate(order=ForkOrder.LOGGING)  # the child could never take the lock of the log's file
        self._next_log_by_hook: dict[str, float] = {}

    def forget(self) -> None:
        """Start from zero, as a forked child must."""
        self._counting = threading.RLock()
        self.count_by_hook.clear()

    def note(self, hook: str, error: Exception, what: str | None = None) -> None:
        with self._counting:
            self.count_by_hook[hook] = self.count_by_hook.get(hook, 0) + 1
        now = time.monotonic()
        if now >= self._next_log_by_hook.get(hook, 0.0):
            self._next_log_by_hook[hook] = now + _LOG_INTERVAL_SECONDS
            try:
                if self._logging.acquire(_LOG_WAIT_SECONDS):
                    self._log(hook, error, what)
            finally:
                self._logging.release()

    @staticmethod
    def _log(hook: str, error: Exception, what: str | None) -> None:
        what = what or PROGRAM_HOOKS.get(hook)
        if what is None and isinstance(error, ConfigurationError):
            what = "could not take what the program gave it"
        if what is None:
            _logger.error("agentgauge contained an internal error in %s; the host is not affected", hook, exc_info=error)
        else:
            _logger.error("agentgauge %s (%s); the program goes on", what, hook, exc_info=error)


contained_errors = _ContainedErrors()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=contained_errors.forget)


def is_fault_of_ours(error: BaseException) -> TypeGuard[Exception]:
    """Tell a fault to contain from what a signal handler of the host raised while we were at work (a deadline by ``alarm()``).

    Such a handler is the one function that was given the very frame that it interrupted.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        interrupted, trace = trace.tb_frame, trace.tb_next
        for value in trace.tb_frame.f_locals.values():
            if value is interrupted or (type(value) is tuple and any(item is interrupted for item in value)):
                return False
    return isinstance(error, Exception)


def report_internal_error(hook: str, error: Exception, what: str | None = None) -> None:
    """Count a fault of ours, or one in what the program gave us, under ``hook`` and log it, at most once a minute for each hook.

    Args:
        hook: The place in agentgauge where the fault happened; becomes the label ``hook`` of
            ``agentgauge_internal_errors_total``.
        error: The exception that was caught.
        what: What agentgauge did, for the log, where the fault is the program's; by ``PROGRAM_HOOKS`` unless given.

    Raises:
        Exception: ``error`` itself, where a signal handler of the host raised it, or while
            ``agentgauge.testing.reraise_internal_errors()`` is active.
    """
    if contained_errors.is_reraising or not is_fault_of_ours(error):
        raise error
    with contextlib.suppress(Exception):  # a logging handler of the host's that raises must not reach its calls through us
        contained_errors.note(hook, error, what)


class contain_internal_errors:  # noqa: N801 - reads as a verb in `with contain_internal_errors("scrape"):`
    """A context manager that swallows and reports every ``Exception`` of its block; for paths that are not hot."""

    __slots__ = ("_hook",)

    def __init__(self, hook: str) -> None:
        self._hook = hook

    def __enter__(self) -> None:
        """Begin the contained block."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Report and swallow an ``Exception``; let anything else (cancellation, exit) pass."""
        if isinstance(error, Exception):
            report_internal_error(self._hook, error)
            return True
        return False
