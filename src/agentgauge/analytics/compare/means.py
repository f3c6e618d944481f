"""What is compared beside the measures: mean durations, which are exact where a percentile is known to its bucket alone."""

from __future__ import annotations

from agentgauge.analytics.outcomes import ANSWERED, is_answered
from agentgauge.analytics.signals import Measure, Subject, Worse, ratio

__all__ = ["MEANS"]

_PROVIDER, _MODEL, _TOOL = "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_tool_name"


def _mean(name: str, subject: Subject, by: tuple[str, ...], histogram: str) -> Measure:
    """Make the mean of what succeeded: how long failures took says another thing."""
    parts = (f"sum by ({', '.join(by)}) (rate({histogram}_{part}{{{ANSWERED}}}[$window]))" for part in ("sum", "count"))
    values = ratio(f"{histogram}_sum", f"{histogram}_count", is_answered, is_answered)
    return Measure(name, "mean duration", "seconds", subject, by, Worse.UP, " / ".join(parts), values)


MEANS = (
    _mean("lm_duration_mean", Subject.MODEL, (_PROVIDER, _MODEL), "gen_ai_client_operation_duration_seconds"),
    _mean("tool_duration_mean", Subject.TOOL, (_TOOL,), "gen_ai_execute_tool_duration_seconds"),
)
"""The mean durations of models and tools; that of tasks is among the measures."""
