"""The circuit breaker: calls to what keeps failing are refused for a while."""

from agentgauge.breaker.breaker import CircuitBreaker, Permit
from agentgauge.breaker.settings import CountWindow, TimeWindow
from agentgauge.breaker.states import CircuitOpenError, CircuitState, Transition

__all__ = [
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "CountWindow",
    "Permit",
    "TimeWindow",
    "Transition",
]
