"""``FunctionCheck``: what a function of the user's says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agentgauge.health.checks.both_ways import take
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.redaction import redact
from agentgauge.health.checks.settings import NamedCheck, require_callable
from agentgauge.health.status import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentgauge.health.checks.both_ways import Steps

__all__ = ["FunctionCheck"]

_PAIR = 2
_LOOK = ("Look at what the function of this check asks.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCheck(NamedCheck):
    """What a function, or coroutine function, says.

    True, or None, is healthy; False, and anything raised, is down; a ``Status``, a pair of a ``Status`` and a message, and a
    ``Finding`` stand for themselves. Anything else is unknown, with a message that says so.

    Attributes:
        function: Called without arguments: a function in a thread, a coroutine function on the monitor's event loop.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    function: Callable[[], Any]

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_callable("function", self.function, "lambda: queue.qsize() < 100")

    def check(self) -> Finding | Awaitable[Finding]:
        """Call it once."""
        return take(self._steps(), self.patience_seconds, self._explain)

    def _steps(self) -> Steps:
        said = yield self.function()
        return self._finding(said)

    def _explain(self, error: Exception) -> Finding:
        found = explain(error, self.name)
        return replace(found, status=Status.DOWN)

    def _finding(self, said: Any) -> Finding:
        if isinstance(said, Finding):
            return said
        message = ""
        if isinstance(said, tuple) and len(said) == _PAIR and isinstance(said[1], str):
            said, message = said[0], redact(said[1])
        if said is None or said is True:
            return Finding(status=Status.HEALTHY, message=message)
        if said is False:
            text = message or f"{self.name}: its function returned False"
            return Finding(status=Status.DOWN, message=text, condition="failed", suggestions=_LOOK)
        if isinstance(said, str) and said in set(Status):
            status = Status(said)
            condition = "failed" if status.is_bad else ""
            return Finding(status=status, message=message, condition=condition, suggestions=_LOOK if status.is_bad else ())
        return Finding(
            status=Status.UNKNOWN,
            message=f"{self.name}: its function returned a {type(said).__name__}, which says nothing",
            condition="error",
            suggestions=("Return True, False, None, a Status, (Status, message) or a Finding.",),
        )
