"""The row about language models: how they answer, what that uses and costs, and what goes wrong short of an error."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, latency, series, table_of
from dashboards.build.promql import FAILED, by_agent, by_target, mean, quantile, rate, share

__all__ = ["ROWS"]

_CALLS = "gen_ai_client_operation_duration_seconds"
_FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
_USAGE = "gen_ai_client_token_usage"
_MODEL = "gen_ai_request_model"
_MODEL_LEGEND = "{{gen_ai_request_model}}"
_NO_CALL = "no LM call"
_NO_STREAM = "no streamed answer"
_NO_TOKENS = "no tokens are reported"


def _tokens(*kinds: str) -> str:
    return f'gen_ai_token_type=~"{"|".join(kinds)}"'


def _token_share(part: str, whole: str) -> str:
    tokens = "agent_tokens_total"
    return share(rate(by_agent(tokens, _tokens(part))), rate(by_agent(tokens, _tokens(whole))), _MODEL)


def _by_model(metric: str) -> str:
    return f"sum by ({_MODEL}) ({rate(by_target(metric))})"


def models() -> list[Any]:
    """Every panel of the row."""
    return [*_calls(), *_usage(), *_troubles()]


def _calls() -> list[Any]:
    operation = "gen_ai_operation_name, gen_ai_provider_name, gen_ai_request_model"
    duration, first = by_target(_CALLS + "_bucket"), by_target(_FIRST_CHUNK + "_bucket")
    return [
        series(
            "LM calls",
            "How often is each model called, and for what? Answers from the program's own cache count too.",
            "ops",
            Query(
                f"sum by ({operation}) ({rate(by_target(_CALLS + '_count'))})",
                "{{gen_ai_operation_name}} {{gen_ai_provider_name}} {{gen_ai_request_model}}",
            ),
            no_value=_NO_CALL,
        ),
        series(
            "Failed LM calls",
            "How often do calls of each model fail, and with which type of error?",
            "ops",
            Query(
                f"sum by ({_MODEL}, error_type) ({rate(by_target(_CALLS + '_count', FAILED))})",
                _MODEL_LEGEND + " {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of LM calls",
            "How long do calls of each model take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, duration, _MODEL), _MODEL_LEGEND + " p50"),
            Query(quantile(0.95, duration, _MODEL), _MODEL_LEGEND + " p95"),
            no_value=_NO_CALL,
        ),
        latency(
            "Time to the first chunk",
            "How long does a streamed answer's first chunk take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, first, _MODEL), _MODEL_LEGEND + " p50"),
            Query(quantile(0.95, first, _MODEL), _MODEL_LEGEND + " p95"),
            no_value=_NO_STREAM,
        ),
    ]


def _usage() -> list[Any]:
    spent = by_agent("agent_tokens_total", _tokens("input", "output"))
    by_whom = "gen_ai_agent_name, gen_ai_request_model"
    by_type = f"{_MODEL}, gen_ai_token_type"
    type_legend = _MODEL_LEGEND + " {{gen_ai_token_type}}"
    return [
        series(
            "Tokens by agent",
            "How many tokens a second does each agent use in its own LM calls, and of which model?",
            "short",
            Query(
                f"sum by ({by_whom}, gen_ai_token_type) ({rate(spent)})",
                "{{gen_ai_agent_name}} {{gen_ai_request_model}} {{gen_ai_token_type}}",
            ),
            no_value=_NO_TOKENS,
        ),
        series(
            "Tokens of an LM call",
            "How many tokens go into one call of each model and come out of it, on average and among the largest 5 %?",
            "short",
            Query(mean(_USAGE, by_target, by_type), type_legend + " mean"),
            Query(quantile(0.95, by_target(_USAGE + "_bucket"), by_type), type_legend + " p95"),
            no_value=_NO_TOKENS,
        ),
        series(
            "Provider's cache and reasoning",
            "Which share of each model's input was read from and written to the provider's cache, and which of its output was"
            " reasoning?",
            "percentunit",
            Query(_token_share("cache_read", "input"), _MODEL_LEGEND + " read"),
            Query(_token_share("cache_write", "input"), _MODEL_LEGEND + " written"),
            Query(_token_share("reasoning", "output"), _MODEL_LEGEND + " reasoning"),
            no_value=_NO_TOKENS,
        ),
        series(
            "Cost an hour",
            "How many dollars an hour do each agent's own LM calls cost at the present pace?",
            "currencyUSD",
            Query(f"3600 * sum by (gen_ai_agent_name) ({rate(by_agent('agent_cost_usd_total'))})", "{{gen_ai_agent_name}}"),
            is_stacked=True,
            no_value="no cost is known",
        ),
        table_of(
            "Cost by agent and model",
            "How many dollars did each agent's own LM calls cost in the time range, and of which model?",
            "currencyUSD",
            f"sum by ({by_whom}) (increase({by_agent('agent_cost_usd_total')}[$__range])) > 0",
            ("gen_ai_agent_name", "gen_ai_request_model"),
            no_value="no cost is known",
        ),
    ]


def _troubles() -> list[Any]:
    reason = "gen_ai_response_finish_reason"
    cached = share(rate(by_target("agent_lm_cache_hits_total")), rate(by_target(_CALLS + "_count")), _MODEL)
    return [
        series(
            "Answers from the program's cache",
            "Which share of each model's calls did a cache of the program answer, so that no tokens were used?",
            "percentunit",
            Query(cached, _MODEL_LEGEND),
            no_value=_NO_CALL,
        ),
        series(
            "LM retries",
            "How often are calls of each model tried again?",
            "ops",
            Query(_by_model("agent_lm_retries_total"), _MODEL_LEGEND),
            no_value="no retry is reported",
        ),
        series(
            "Finish reasons",
            "Why do answers end: complete, cut off by a limit, for a tool call, filtered?",
            "ops",
            Query(
                f"sum by ({_MODEL}, {reason}) ({rate(by_target('agent_lm_finish_reasons_total'))})",
                _MODEL_LEGEND + " {{gen_ai_response_finish_reason}}",
            ),
            is_stacked=True,
            no_value="no reason is reported",
        ),
        series(
            "LM calls without a price",
            "Of which models is the cost missing, since no price table knows them?",
            "ops",
            Query(_by_model("agent_lm_unpriced_calls_total"), _MODEL_LEGEND),
            no_value="every cost is known",
        ),
        series(
            "Answers in the wrong form",
            "Whose LM answers did not have the form that the program asked for, by the adapter that read them?",
            "ops",
            Query(
                f"sum by (gen_ai_agent_name, adapter) ({rate(by_agent('agent_output_parse_failures_total'))})",
                "{{gen_ai_agent_name}} {{adapter}}",
            ),
            no_value="none",
        ),
    ]


ROWS = (("Language models", models),)
