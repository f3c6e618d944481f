"""Who is told when recovery gives up, and that it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agentgauge.errors import report_internal_error
from agentgauge.notification import Alert, AlertBook, Notifier
from agentgauge.recovery.calling import call_within

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from agentgauge.recovery.failure import Result, Signature

__all__ = ["SOURCE", "Escalations"]

SOURCE = "recovery"
_CALLBACK_SECONDS = 10.0
_WHY = {
    "budget": "its budget of attempts is spent",
    "breaker": "its circuit breaker is open",
    "no_action": "every action that may be taken still hangs",
}


class Escalations:
    """Failures that were given up on and go on: alerts of this process, each told when it starts and when it ends."""

    def __init__(self, callback: Callable[[Result], object] | None) -> None:
        self.notifier = Notifier()
        self._callback = callback
        self._book = AlertBook()
        self._open: dict[Signature, Alert] = {}
        self.renew()

    def renew(self) -> None:
        """Get a new lock, as a forked child must."""
        self._changing = threading.Lock()

    def add(
        self, result: Result, at: float, own: Callable[[Result], object] | None, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        """Tell of a failure that was given up on: the recovery's own callback, or that for all, and every handler."""
        signature = result.failure.signature
        tried = ", ".join(f"{attempt.action} ({attempt.outcome})" for attempt in result.attempts) or "nothing"
        alert = Alert(
            source=SOURCE,
            subject=signature.component,
            severity="critical",
            summary=f"Recovery of {signature.component} from {signature} gave up: {_WHY[result.reason]}; tried: {tried}.",
            started_at=at,
            condition=result.reason,
            error_type=signature.error_type,
            suggestions=("Look at the audit log of recovery for what was done, and at the component itself.",),
            identity=str(signature),
        )
        with self._changing:
            self._open[signature] = alert
            self.notifier.tell(self._book.update(self._open.values(), at))
        callback = own or self._callback
        if callback is None:
            return
        ending = call_within(callback, result, timeout_seconds=_CALLBACK_SECONDS, loop=loop, name="agentgauge-recovery-escalate")
        if ending.kind == "timed_out":
            report_internal_error("alert_handler", TimeoutError(f"escalate did not return within {_CALLBACK_SECONDS} seconds"))
        elif isinstance(ending.error, Exception):
            report_internal_error("alert_handler", ending.error)

    def end(self, signatures: Iterable[Signature], at: float, reason: str) -> None:
        """Tell that failures are over; nothing to do for those that were not given up on."""
        with self._changing:
            over = [alert for signature in signatures if (alert := self._open.pop(signature, None)) is not None]
            if over:
                self.notifier.tell(self._book.update(self._open.values(), at, {alert.key: reason for alert in over}))
