"""What a processing interface is held to."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentgauge.errors import ConfigurationError
from agentgauge.processing.breakers import Breaker
from agentgauge.processing.retrying import RetryPolicy
from agentgauge.requirements import require_count, require_name, require_seconds
from agentgauge.targets import Objective

__all__ = ["ProcessingSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingSettings:
    """What a processing interface is held to.

    Attributes:
        agent: The agent's name in series and spans; by default that of ``@agent`` on the class, else the class's own.
        task: What a request is called in series and spans, and the queue.
        objective: What requests promise; exported as series that the shipped rules obey.
        max_concurrency: How many requests are worked on at once.
        queue_limit: How many more may wait; further ones are shed.
        queue_timeout_seconds: How long one may wait before it is shed; None for as long as its own time allows.
        timeout_seconds: How long a request may take, waiting and retries included; None for no limit. A context may say
            otherwise.
        attempt_timeout_seconds: How long one attempt may take; None for no limit of its own.
        retry: Which failures are tried again.
        breaker: A circuit breaker that every attempt goes through, such as ``agentgauge.breaker.CircuitBreaker``.
        raises: Whether a request that does not succeed raises its error, rather than returning a result that has it; a call may
            say otherwise.
        drain_seconds: How long a shutdown waits for what is running before it cancels it.
        cancel_seconds: How long it then waits for what it cancelled.
        initialize_timeout_seconds: How long ``_initialize`` may take.
        initialize_retry_seconds: How long after a failed ``_initialize`` requests are refused before one tries it again.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    agent: str | None = None
    task: str = "process"
    objective: Objective | None = None
    max_concurrency: int = 100
    queue_limit: int = 1000
    queue_timeout_seconds: float | None = 30.0
    timeout_seconds: float | None = 300.0
    attempt_timeout_seconds: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: Breaker | None = None
    raises: bool = False
    drain_seconds: float = 30.0
    cancel_seconds: float = 5.0
    initialize_timeout_seconds: float = 60.0
    initialize_retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.agent is not None:
            require_name("agent", self.agent, "summariser")
        require_name("task", self.task, "process")
        require_count("max_concurrency", self.max_concurrency, "100")
        require_count("queue_limit", self.queue_limit, "1000", least=0)
        for name in ("queue_timeout_seconds", "timeout_seconds", "attempt_timeout_seconds"):
            if getattr(self, name) is not None:
                require_seconds(name, getattr(self, name), "30, or None for no limit")
        require_seconds("drain_seconds", self.drain_seconds, "30", may_be_zero=True)
        require_seconds("cancel_seconds", self.cancel_seconds, "5", may_be_zero=True)
        require_seconds("initialize_timeout_seconds", self.initialize_timeout_seconds, "60")
        require_seconds("initialize_retry_seconds", self.initialize_retry_seconds, "1", may_be_zero=True)
        for name, kind, example in (
            ("objective", Objective, "Objective(success_ratio=0.99)"),
            ("breaker", Breaker, "CircuitBreaker('model')"),
        ):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, type)):
                raise ConfigurationError(f"{name}={value!r}: give one such as {example}, or leave it out")
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(f"retry={self.retry!r}: give one such as RetryPolicy(retries=2)")
        if not isinstance(self.raises, bool):
            raise ConfigurationError(f"raises={self.raises!r}: give True or False")
