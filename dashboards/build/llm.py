"""The board "LLM calls": how language models answer, what that uses, and what goes wrong short of an error."""

from __future__ import annotations

from typing import Any

from dashboards.build import cost_rows, lm_rows
from dashboards.build.board import MODEL as MODEL_VARIABLE
from dashboards.build.board import Board
from dashboards.build.lm_rows import MODEL, MODEL_LEGEND, NO_CALL, NO_TOKENS, tokens
from dashboards.build.panels import Column, Query, comparison, latency, number, series
from dashboards.build.promql import FAILED, JUDGED_CALLS, by_agent_and_model, by_model, in_range, mean, quantile, rate, share

__all__ = ["BOARD"]

_CALLS = "gen_ai_client_operation_duration_seconds"
_ALL = by_model(_CALLS + "_count")
_JUDGED = by_model(_CALLS + "_count", JUDGED_CALLS)
_FAILED = by_model(_CALLS + "_count", FAILED)
_FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
_USAGE = "gen_ai_client_token_usage"
_SPENT = by_agent_and_model("agent_tokens_total", tokens("input", "output"))


def _ranged(selector: str) -> str:
    return f"increase({selector}[$__range])"


def _overview() -> list[Any]:
    slowest = f"histogram_quantile(0.95, sum by (le) ({_ranged(by_model(_CALLS + '_bucket'))})) >= 0"
    return [
        number("LM calls", "How many LM calls ended in the time range?", "short", in_range(_ALL), no_value="none"),
        number(
            "LM calls failed",
            "How many LM calls failed in the time range, those that were cancelled left out?",
            "short",
            f"{in_range(_FAILED)} or 0 * {in_range(_ALL)}",
            no_value=NO_CALL,
            steps={1: "orange"},
        ),
        number(
            "Failed share",
            "Which share of the LM calls of the time range failed, those that were cancelled left out?",
            "percentunit",
            f"({in_range(_FAILED)} or 0 * {in_range(_JUDGED)}) / ({in_range(_JUDGED)} > 0)",
            no_value=NO_CALL,
            steps={0.01: "orange", 0.05: "red"},
        ),
        number("Slowest calls", "How long did the slowest 5 % of all LM calls take at least?", "s", slowest, no_value=NO_CALL),
        number("Tokens", "How many tokens went in and out in the time range?", "short", in_range(_SPENT), no_value="none"),
        number(
            "Cost",
            "How many dollars did the LM calls of the chosen agents and models cost in the time range?",
            "currencyUSD",
            in_range(by_agent_and_model("agent_cost_usd_total")),
            no_value="no cost is known",
        ),
    ]


def _calls() -> list[Any]:
    operation = f"gen_ai_operation_name, gen_ai_provider_name, {MODEL}"
    both = f"{MODEL}, gen_ai_response_model"
    duration, first = by_model(_CALLS + "_bucket"), by_model(_FIRST_CHUNK + "_bucket")
    return [
        series(
            "LM calls",
            "How often is each model called, and for what? Answers from the program's own cache count too.",
            "ops",
            Query(
                f"sum by ({operation}) ({rate(_ALL)})",
                "{{gen_ai_operation_name}} {{gen_ai_provider_name}} {{gen_ai_request_model}}",
            ),
            no_value=NO_CALL,
        ),
        series(
            "Failed LM calls",
            "How often do calls of each model fail, and with which type of error?",
            "ops",
            Query(f"sum by ({MODEL}, error_type) ({rate(_FAILED)})", MODEL_LEGEND + " {{error_type}}"),
            no_value="none failed",
        ),
        series(
            "Failed share of LM calls",
            "Which share of each model's calls fails, those that were cancelled left out?",
            "percentunit",
            Query(share(rate(_FAILED), rate(_JUDGED), MODEL), MODEL_LEGEND),
            no_value=NO_CALL,
        ),
        latency(
            "Duration of LM calls",
            "How long do calls of each model take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, duration, MODEL), MODEL_LEGEND + " p50"),
            Query(quantile(0.95, duration, MODEL), MODEL_LEGEND + " p95"),
            no_value=NO_CALL,
        ),
        latency(
            "Time to the first chunk",
            "How long does a streamed answer's first chunk take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, first, MODEL), MODEL_LEGEND + " p50"),
            Query(quantile(0.95, first, MODEL), MODEL_LEGEND + " p95"),
            no_value="no streamed answer",
        ),
        comparison(
            "Models that answer",
            "Which model answers where another was asked for, how often, and how fast on average?",
            (MODEL, "gen_ai_response_model"),
            (
                Column("Calls", "short", in_range(_ALL, both) + " > 0"),
                Column("Duration (mean)", "s", _mean_in_range(both)),
            ),
            no_value=NO_CALL,
            width=8,
        ),
    ]


def _mean_in_range(labels: str) -> str:
    return f"{in_range(by_model(_CALLS + '_sum'), labels)} / ({in_range(_ALL, labels)} > 0)"


def _usage() -> list[Any]:
    by_type = f"{MODEL}, gen_ai_token_type"
    type_legend = MODEL_LEGEND + " {{gen_ai_token_type}}"

    def part(kind: str, whole: str) -> str:
        use = "agent_tokens_total"
        return share(rate(by_agent_and_model(use, tokens(kind))), rate(by_agent_and_model(use, tokens(whole))), MODEL)

    return [
        lm_rows.tokens_by_agent(by_agent_and_model),
        series(
            "Tokens of an LM call",
            "How many tokens go into one call of each model and come out of it, on average and among the largest 5 %?",
            "short",
            Query(mean(_USAGE, by_model, by_type), type_legend + " mean"),
            Query(quantile(0.95, by_model(_USAGE + "_bucket"), by_type), type_legend + " p95"),
            no_value=NO_TOKENS,
        ),
        series(
            "Provider's cache and reasoning",
            "Which share of each model's input was read from and written to the provider's cache, and which of its output was"
            " reasoning?",
            "percentunit",
            Query(part("cache_read", "input"), MODEL_LEGEND + " read"),
            Query(part("cache_write", "input"), MODEL_LEGEND + " written"),
            Query(part("reasoning", "output"), MODEL_LEGEND + " reasoning"),
            no_value=NO_TOKENS,
        ),
        lm_rows.calls_of_a_run(),
        cost_rows.an_hour_by_model(),
        series(
            "Program's cache, repeated prompts",
            "Which share of each model's calls did a cache of the program answer, so that no tokens were used, and which sent"
            " what the same process had sent before, so that one could have answered?",
            "percentunit",
            Query(share(rate(by_model("agent_lm_cache_hits_total")), rate(_ALL), MODEL), MODEL_LEGEND + " cached"),
            Query(share(rate(by_model("agent_lm_repeated_prompts_total")), rate(_ALL), MODEL), MODEL_LEGEND + " repeated"),
            no_value=NO_CALL,
        ),
    ]


def _troubles() -> list[Any]:
    reason = "gen_ai_response_finish_reason"
    return [
        series(
            "LM retries",
            "How often are calls of each model tried again?",
            "ops",
            Query(f"sum by ({MODEL}) ({rate(by_model('agent_lm_retries_total'))})", MODEL_LEGEND),
            width=6,
            no_value="no retry is reported",
        ),
        series(
            "Finish reasons",
            "Why do answers end: complete, cut off by a limit, for a tool call, filtered?",
            "ops",
            Query(
                f"sum by ({MODEL}, {reason}) ({rate(by_model('agent_lm_finish_reasons_total'))})",
                MODEL_LEGEND + " {{gen_ai_response_finish_reason}}",
            ),
            width=6,
            is_stacked=True,
            no_value="no reason is reported",
        ),
        lm_rows.unpriced().span(6),
        lm_rows.parse_failures().span(6),
    ]


BOARD = Board(
    "llm",
    "LLM calls",
    "How language models answer, what that uses, and what goes wrong short of an error.",
    (("Overview", _overview), ("Calls", _calls), ("Use", _usage), ("Troubles", _troubles)),
    (MODEL_VARIABLE,),
)
