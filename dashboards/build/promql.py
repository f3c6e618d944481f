"""The pieces of PromQL that the panels share: selectors that obey the dashboard's variables, rates and quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BAD", "FAILED", "GOOD", "JUDGED", "by_agent", "by_target", "mean", "ours", "quantile", "rate", "share"]

# Cancelled and abandoned calls say nothing about the agent.
GOOD = 'outcome="success"'
BAD = 'outcome=~"error|timeout"'
JUDGED = 'outcome=~"success|error|timeout"'
# Families without an outcome tell them by the type of what ended the call.
FAILED = 'error_type!~"|GeneratorExit|KeyboardInterrupt|SystemExit|abandoned|cancelled|dropped|evicted|.*CancelledError"'

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


def mean(histogram: str, selectors: Callable[[str], str], labels: str) -> str:
    """The mean of a histogram's values for each combination of ``labels``: exact, where a quantile of whole numbers is not."""
    return share(rate(selectors(histogram + "_sum")), rate(selectors(histogram + "_count")), labels)


def share(part: str, whole: str, labels: str) -> str:
    """``part`` of ``whole`` for each combination of ``labels``; 0 where there is no part, nothing where there is no whole."""
    sums = f"sum by ({labels}) ({whole})"
    return f"(sum by ({labels}) ({part}) or 0 * {sums}) / ({sums} > 0)"


def _joined(first: str, second: str) -> str:
    return f"{first},{second}" if second else first
