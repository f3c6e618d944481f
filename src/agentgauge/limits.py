"""Which limits the shipped rules obey, and what is wrong with one that they do not."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING

from agentgauge.catalogue import FAMILIES
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.targets import Severity, Threshold

__all__ = ["OBEYED", "OBEYED_OPERATOR", "log_unobeyed", "meant", "refuse_misspelt", "unobeyed"]

_WARNING: tuple[Severity, ...] = ("warning",)
_BOTH: tuple[Severity, ...] = ("warning", "critical")
_LIKENESS = 0.9
_PARTS = ("_bucket", "_count", "_sum")

OBEYED_OPERATOR = ">"
OBEYED: Mapping[str, tuple[Severity, ...]] = MappingProxyType(
    {
        "system_cpu_utilization_ratio": _BOTH,
        "system_memory_utilization_ratio": _BOTH,
        "system_filesystem_utilization_ratio": _BOTH,
        "system_filesystem_inodes_utilization_ratio": _BOTH,
        "container_cpu_utilization_ratio": _WARNING,
        "container_memory_utilization_ratio": _BOTH,
        "hw_gpu_utilization_ratio": _WARNING,
        "hw_gpu_memory_utilization_ratio": _WARNING,
        "hw_temperature_celsius": _BOTH,
        "process_open_fds": _BOTH,
        "python_event_loop_stall_seconds": _BOTH,
        "agent_queue_depth": _WARNING,
        "gen_ai_invoke_agent_inference_calls": _WARNING,
        "gen_ai_execute_tool_duration_seconds": _WARNING,
        "gen_ai_client_operation_time_to_first_chunk_seconds": _WARNING,
        "agentgauge_scrape_duration_seconds": _WARNING,
    }
)
"""The severities of the limits that the shipped rules obey, with ``OBEYED_OPERATOR``, by their metric; no others are."""


def unobeyed(metric: str, severity: str, operator: str) -> str:
    """Return how the rules would obey a limit on a metric that they know, where they do not; an empty text else."""
    severities = OBEYED.get(metric, ())
    if not severities or (severity in severities and operator == OBEYED_OPERATOR):
        return ""
    return f"severity {' or '.join(severities)} and operator {OBEYED_OPERATOR} only"


def meant(metric: str) -> str:
    """Return the metric of ``OBEYED`` that a name is a misspelling of; an empty text where it is none.

    A name is taken for one where it is close to the other, and a word of it is in no family's name: metrics of the user's own,
    such as ``system_gpu_utilization_ratio``, may be close as well.
    """
    names = {family.name for family in FAMILIES}
    if metric in names or any(metric.removesuffix(part) in names for part in _PARTS):
        return ""
    if {word for name in names for word in name.split("_")}.issuperset(metric.split("_")):
        return ""
    import difflib  # noqa: PLC0415 - a program without a metric of its own does not pay for it

    for close in difflib.get_close_matches(metric, OBEYED, n=1, cutoff=_LIKENESS):
        if metric.partition("_")[0] == close.partition("_")[0] and not metric.startswith(f"{close}_"):
            return close
    return ""


def refuse_misspelt(limits: Iterable[Threshold]) -> None:
    """Refuse limits on metrics that there are not, where the rules obey those on one of nearly that name.

    Raises:
        ConfigurationError: There is one; the message names both.
    """
    for limit in limits:
        if close := meant(limit.metric):
            raise ConfigurationError(
                f"thresholds: there is no metric {limit.metric!r}, so that nothing would obey the limit; did you mean {close!r}?"
            )


def log_unobeyed(limits: Iterable[Threshold]) -> None:
    """Warn of limits that look as if the shipped rules obeyed them: they may be for rules of the user's own, and are exported."""
    for limit in limits:
        if how := unobeyed(limit.metric, limit.severity, limit.operator):
            logging.getLogger("agentgauge").warning(
                "thresholds: no shipped rule obeys Threshold(%r, %g, %r, %r): they obey this metric's with %s; the limit is "
                "exported for rules of your own, so change it or leave it out where you have none",
                limit.metric,
                limit.value,
                limit.severity,
                limit.operator,
                how,
            )
