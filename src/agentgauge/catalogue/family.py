"""What a metric family is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AGENT", "BREAKER", "COMPONENT", "REQUEST_MODEL", "WORKFLOW", "Family", "Kind", "Outcome", "doubling"]

AGENT = "gen_ai_agent_name"
WORKFLOW = "gen_ai_workflow_name"
REQUEST_MODEL = "gen_ai_request_model"
COMPONENT = "component"
BREAKER = "circuit_breaker"
_OPEN_LABELS = frozenset((AGENT, WORKFLOW, REQUEST_MODEL, COMPONENT, BREAKER, "source", "owner"))


class Kind(StrEnum):
    """How a family behaves over time (Prometheus and OpenMetrics metric types)."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    STATE_SET = "stateset"
    INFO = "info"


class Outcome(StrEnum):
    """How a call ended. For objectives error and timeout are bad; cancelled and abandoned count in neither part."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, eq=False)  # each is declared once: as keys, identity is all they need
class Family:
    """One metric family.

    Attributes:
        name: The family's name in Prometheus text, ``_total`` of a counter included.
        kind: Its type.
        help: One sentence, as scrapes show it.
        unit: The base unit that the name ends with, or an empty string.
        labels: The label names that its series may carry.
        buckets: The upper bounds of a histogram without ``+Inf``, in ``unit``.
        states: What a state set can be; the label of that name, the family's own, says which series is of which.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    states: tuple[str, ...] = ()

    @property
    def base_name(self) -> str:
        """The name as OpenMetrics and prometheus_client's ``Metric`` spell it: without ``_total`` or ``_info``."""
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        return self.name.removesuffix(suffix)

    @property
    def is_open(self) -> bool:
        """Whether programs make up values of its labels, so that its series must be limited."""
        return not _OPEN_LABELS.isdisjoint(self.labels)


def doubling(first: float, count: int) -> tuple[float, ...]:
    """Return bucket bounds, each twice the one before."""
    return tuple(round(first * 2**power, 10) for power in range(count))
