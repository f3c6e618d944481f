"""Panels about language models that more than one board shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.build.panels import Query, series
from dashboards.build.promql import by_agent, by_model, mean, quantile, rate

if TYPE_CHECKING:
    from dashboards.build.promql import Select

__all__ = [
    "MODEL",
    "MODEL_LEGEND",
    "NO_CALL",
    "NO_TOKENS",
    "calls_of_a_run",
    "parse_failures",
    "tokens",
    "tokens_by_agent",
    "unpriced",
]

MODEL = "gen_ai_request_model"
MODEL_LEGEND = "{{gen_ai_request_model}}"
NO_CALL = "no LM call"
NO_TOKENS = "no tokens are reported"


def tokens(*kinds: str) -> str:
    """Match tokens of these kinds; cache_read, cache_write and reasoning are parts of input and output."""
    return f'gen_ai_token_type=~"{"|".join(kinds)}"'


def tokens_by_agent(select: Select) -> Any:
    """The panel about who uses tokens, and whose."""
    spent = select("agent_tokens_total", tokens("input", "output"))
    return series(
        "Tokens by agent",
        "How many tokens a second does each agent use in its own LM calls, and of which model?",
        "short",
        Query(
            f"sum by (gen_ai_agent_name, {MODEL}, gen_ai_token_type) ({rate(spent)})",
            "{{gen_ai_agent_name}} {{gen_ai_request_model}} {{gen_ai_token_type}}",
        ),
        no_value=NO_TOKENS,
    )


def calls_of_a_run() -> Any:
    """The panel about how many LM calls a run takes."""
    calls, agent = "gen_ai_invoke_agent_inference_calls", "gen_ai_agent_name"
    return series(
        "LM calls of a run",
        "How many LM calls does a run of each agent make, on average and among the 5 % with most?",
        "short",
        Query(mean(calls, by_agent, agent), "{{gen_ai_agent_name}} mean"),
        Query(quantile(0.95, by_agent(calls + "_bucket"), agent), "{{gen_ai_agent_name}} p95"),
        no_value="no run",
    )


def parse_failures() -> Any:
    """The panel about answers that no adapter could read."""
    return series(
        "Answers in the wrong form",
        "Whose LM answers did not have the form that the program asked for, by the adapter that read them?",
        "ops",
        Query(
            f"sum by (gen_ai_agent_name, adapter) ({rate(by_agent('agent_output_parse_failures_total'))})",
            "{{gen_ai_agent_name}} {{adapter}}",
        ),
        no_value="none",
    )


def unpriced() -> Any:
    """The panel about models that no price table knows."""
    return series(
        "LM calls without a price",
        "Of which models is the cost missing, since no price table knows them?",
        "ops",
        Query(f"sum by ({MODEL}) ({rate(by_model('agent_lm_unpriced_calls_total'))})", MODEL_LEGEND),
        no_value="every cost is known",
    )
