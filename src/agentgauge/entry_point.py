"""How OpenTelemetry's auto-instrumentation loads agentgauge: ``opentelemetry-instrument python app.py`` finds this entry point.

The class answers to what ``opentelemetry.instrumentation.instrumentor.BaseInstrumentor`` is asked for, without the package of
that, which only those who use it have.
"""

from __future__ import annotations

import logging
from typing import Any, Self

from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.fork_gate import load
from agentgauge.launcher import start_for_program

__all__ = ["AgentgaugeInstrumentor"]

_logger = logging.getLogger("agentgauge")


class AgentgaugeInstrumentor:
    """Starts and stops agentgauge; every instance is the same one."""

    _only: Any = None

    def __new__(cls) -> Self:
        """Return the one there is."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        only: Self = cls._only
        return only

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Name the packages that must be there: none, since frameworks are instrumented when the program imports them."""
        return ()

    def instrument(self, **_options: Any) -> None:
        """Start as ``agentgauge run`` does, with the settings of the environment; one that cannot work is logged.

        Args:
            _options: What the auto-instrumentation tells every instrumentor, such as ``skip_dep_check``; none of it matters here.
        """
        try:
            start_for_program()
        except ConfigurationError as error:
            _logger.error("agentgauge is not started: %s", error)  # noqa: TRY400 - the message says all, a traceback nothing

    def uninstrument(self, **_options: Any) -> None:
        """Stop, and give back every patched attribute."""
        try:
            load("agentgauge.monitor").stop()
        except Exception as fault:  # noqa: BLE001 - the program has done nothing wrong
            report_internal_error("uninstrument", fault)
