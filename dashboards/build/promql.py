"""The pieces of PromQL that the panels share: selectors that obey the dashboard's variables, rates and quantiles."""

from __future__ import annotations

__all__ = ["by_agent", "by_target", "ours", "quantile", "rate"]

_TARGET = 'job=~"$job",instance=~"$instance"'
_AGENT = _TARGET + ',gen_ai_agent_name=~"$agent"'


def by_target(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs and instances."""
    return f"{metric}{{{_joined(_TARGET, matchers)}}}"


def by_agent(metric: str, matchers: str = "") -> str:
    """Select the series of ``metric`` from the chosen jobs, instances and agents."""
    return f"{metric}{{{_joined(_AGENT, matchers)}}}"


def ours(expression: str) -> str:
    """Keep what agentgauge's targets say: other exporters in the same Prometheus use these names too."""
    return f"{expression} and on (job, instance) agentgauge_build_info"


def rate(selector: str) -> str:
    """The increase a second, over the window that fits the scrape interval and the zoom."""
    return f"rate({selector}[$__rate_interval])"


def quantile(ratio: float, selector: str, labels: str) -> str:
    """The ``ratio`` quantile of a histogram's buckets, for each combination of ``labels``; nothing, not NaN, without calls."""
    return f"histogram_quantile({ratio}, sum by ({labels}, le) ({rate(selector)})) >= 0"


def _joined(first: str, second: str) -> str:
    return f"{first},{second}" if second else first
