"""The row about circuit breakers: in which state each was, what it let through and what it refused."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, states
from dashboards.build.promql import by_breaker, rate

__all__ = ["NO_BREAKER", "breakers"]

NO_BREAKER = "no circuit breaker is used"

_STATE = "agent_circuit_breaker_state"
_LEGEND = "{{instance}} {{circuit_breaker}}"


def breakers() -> list[Any]:
    """In which state each breaker was, what it let through and what it refused."""
    of_kind = "instance, circuit_breaker, kind"
    calls, slow = (rate(by_breaker(f"agent_circuit_breaker_{what}_total")) for what in ("calls", "slow_calls"))
    refused = rate(by_breaker("agent_circuit_breaker_not_permitted_calls_total"))
    return [
        states(
            "States of circuit breakers",
            "In which state was each circuit breaker, and when?",
            Query(f"max by (instance, circuit_breaker, {_STATE}) ({by_breaker(_STATE)}) > 0", f"{_LEGEND} {{{{{_STATE}}}}}"),
            width=24,
            no_value=NO_BREAKER,
        ),
        series(
            "Calls through circuit breakers",
            "How many calls does each circuit breaker let through, and how do they end?",
            "ops",
            Query(f"sum by ({of_kind}) ({calls})", _LEGEND + " {{kind}}"),
            is_stacked=True,
            no_value="no call",
        ),
        series(
            "Calls refused",
            "How many calls does each circuit breaker refuse?",
            "ops",
            Query(f"sum by (instance, circuit_breaker) ({refused})", _LEGEND),
            no_value=NO_BREAKER,
        ),
        series(
            "Failed and slow share of the window",
            "Which share of the calls that a circuit breaker judges by failed or was slow? Absent below its minimum of calls.",
            "percentunit",
            Query(by_breaker("agent_circuit_breaker_failure_ratio"), _LEGEND + " failed"),
            Query(by_breaker("agent_circuit_breaker_slow_call_ratio"), _LEGEND + " slow"),
            no_value="too few calls to judge by",
        ),
        series(
            "Slow calls",
            "How many calls take longer than their circuit breaker allows, and how do they end?",
            "ops",
            Query(f"sum by ({of_kind}) ({slow})", _LEGEND + " {{kind}}"),
            no_value="none is slow",
        ),
        series(
            "Calls in the window",
            "By how many calls does each circuit breaker judge, and how did they end?",
            "short",
            Query(by_breaker("agent_circuit_breaker_buffered_calls"), _LEGEND + " {{kind}}"),
            no_value=NO_BREAKER,
        ),
        series(
            "Changes of state",
            "Which circuit breakers open and close, and how often?",
            "ops",
            Query(
                f"sum by (instance, circuit_breaker, state) ({rate(by_breaker('agent_circuit_breaker_transitions_total'))})",
                _LEGEND + " {{state}}",
            ),
            no_value="none has changed",
        ),
    ]
