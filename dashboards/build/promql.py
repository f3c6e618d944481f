"""The pieces of PromQL that the panels share: selectors that obey the dashboard's variables, rates and quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agentgauge.analytics import outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ALERTS_FIRING",
    "BAD",
    "FAILED",
    "GOOD",
    "JUDGED",
    "JUDGED_CALLS",
    "Select",
    "by_agent",
    "by_agent_and_model",
    "by_agent_and_tool",
    "by_breaker",
    "by_component",
    "by_model",
    "by_target",
    "by_workflow",
    "in_range",
    "mean",
    "ours",
    "quantile",
    "rate",
    "share",
]

# Cancelled and abandoned calls say nothing about the agent.
GOOD = 'outcome="success"'
BAD = 'outcome=~"error|timeout"'
JUDGED = 'outcome=~"success|error|timeout"'
# Families without an outcome tell them by the type of what ended the call.
FAILED, JUDGED_CALLS = outcomes.FAILED, outcomes.JUDGED

# An alert about absence has no job, so the empty one is kept.
ALERTS_FIRING = 'ALERTS{alertname=~"Agentgauge.+",alertname!="AgentgaugeWatchdog",alertstate="firing",job=~"$job|"}'

_TARGET = 'job=~"$job",instance=~"$instance"'
_AGENT = _TARGET + ',gen_ai_agent_name=~"$agent"'
_MODEL = ',gen_ai_request_model=~"$model"'
_TOOL = ',gen_ai_tool_name=~"$tool"'
_WORKFLOW = ',gen_ai_workflow_name=~"$workflow"'
_COMPONENT = ',component=~"$component"'
_BREAKER = ',circuit_breaker=~"$breaker"'

Select: TypeAlias = "Callable[..., str]"
"""Any of the functions ``by_...``: metric and further matchers in, selector out."""


def by_target(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs and instances."""
    return f"{metric}{{{_joined(_TARGET, matchers)}}}"


def by_agent(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and agents."""
    return f"{metric}{{{_joined(_AGENT, matchers)}}}"


def by_model(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and models."""
    return f"{metric}{{{_joined(_TARGET + _MODEL, matchers)}}}"


def by_agent_and_model(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances, agents and models."""
    return f"{metric}{{{_joined(_AGENT + _MODEL, matchers)}}}"


def by_agent_and_tool(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances, agents and tools."""
    return f"{metric}{{{_joined(_AGENT + _TOOL, matchers)}}}"


def by_workflow(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and workflows."""
    return f"{metric}{{{_joined(_TARGET + _WORKFLOW, matchers)}}}"


def by_component(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and components."""
    return f"{metric}{{{_joined(_TARGET + _COMPONENT, matchers)}}}"


def by_breaker(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and circuit breakers."""
    return f"{metric}{{{_joined(_TARGET + _BREAKER, matchers)}}}"


def ours(expression: str) -> str:
    """Keep what agentgauge's targets say: other exporters in the same Prometheus use these names too."""
    return f"{expression} and on (job, instance) {by_target('agentgauge_build_info')}"


def rate(selector: str) -> str:
    """The increase a second, over the window that fits the scrape interval and the zoom."""
    return f"rate({selector}[$__rate_interval])"


def in_range(selector: str, labels: str = "") -> str:
    """The increase over the time range that is shown, in one sum or for each combination of ``labels``."""
    return f"sum{f' by ({labels}) ' if labels else ''}(increase({selector}[$__range]))"


def quantile(ratio: float, selector: str, labels: str) -> str:
    """The ``ratio`` quantile of a histogram's buckets, for each combination of ``labels``; nothing, not NaN, without calls."""
    return f"histogram_quantile({ratio}, sum by ({labels}, le) ({rate(selector)})) >= 0"


def mean(histogram: str, selectors: Callable[[str], str], labels: str) -> str:
    """The mean of a histogram's values for each combination of ``labels``: exact, where a quantile of whole numbers is not."""
    return share(rate(selectors(histogram + "_sum")), rate(selectors(histogram + "_count")), labels)


def share(part: str, whole: str, labels: str) -> str:
    """``part`` of ``whole`` for each combination of ``labels``; 0 where there is no part, nothing where there is no whole."""
    sums = f"sum by ({labels}) ({whole})"
    return f"(sum by ({labels}) ({part}) or 0 * {sums}) / ({sums} > 0)"


def _joined(first: str, second: str) -> str:
    return f"{first},{second}" if second else first
