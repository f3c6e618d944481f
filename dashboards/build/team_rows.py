"""The row about agents that work together: who gives work to whom, how runs go, and what is wasted."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, series, table_of
from dashboards.build.promql import BAD, JUDGED, by_agent, by_target, mean, quantile, rate, share

__all__ = ["ROWS"]

_AGENT = "gen_ai_agent_name"
_LEGEND = "{{gen_ai_agent_name}}"
_WORKFLOW = "gen_ai_workflow_name"
_WORKFLOW_LEGEND = "{{gen_ai_workflow_name}}"
_RUN_TIME = "gen_ai_invoke_agent_duration_seconds_sum"
_SPENT = 'gen_ai_token_type=~"input|output"'  # the other types are parts of these
_NO_RUN = "no run"
_NO_WORKFLOW = "no workflow"


def _handoffs(matchers: str = "", window: str = "$__rate_interval") -> str:
    """The increase of handoffs that a chosen agent made or took."""
    sides = [by_target("agent_handoffs_total", f'{side}=~"$agent"{matchers}') for side in ("source", "target")]
    return " or ".join(f"increase({selector}[{window}])" for selector in sides)


def _of_a_run(histogram: str) -> tuple[Query, Query]:
    return (
        Query(mean(histogram, by_agent, _AGENT), _LEGEND + " mean"),
        Query(quantile(0.95, by_agent(histogram + "_bucket"), _AGENT), _LEGEND + " p95"),
    )


def _sum(metric: str, matchers: str = "") -> str:
    return f"sum by ({_AGENT}) ({rate(by_agent(metric, matchers))})"


def _in_range(metric: str) -> str:
    return f"increase({by_agent(metric)}[$__range])"


def together() -> list[Any]:
    """Every panel of the row."""
    return [*_delegation(), *_runs(), *_waste()]


def _delegation() -> list[Any]:
    runs = "gen_ai_invoke_workflow_duration_seconds"
    completed = share(rate(by_target(runs + "_count", 'error_type=""')), rate(by_target(runs + "_count")), _WORKFLOW)
    coordination = share(rate(by_target("agent_workflow_coordination_seconds_total")), rate(by_target(runs + "_sum")), _WORKFLOW)
    return [
        table_of(
            "Handoffs",
            "Which agent gave work to which in the time range, how often, and how did it end?",
            "short",
            f"sum by (source, target, outcome) ({_handoffs(window='$__range')}) > 0",
            ("source", "target", "outcome"),
            no_value="no handoff",
        ),
        series(
            "Failed handoffs",
            "Which share of the work that each agent gave to another ended in error or timeout?",
            "percentunit",
            Query(share(_handoffs("," + BAD), _handoffs("," + JUDGED), "source, target"), "{{source}} to {{target}}"),
            no_value="no handoff",
        ),
        series(
            "Delegation depth",
            "How many runs enclose the delegated runs of each agent, on average and among the deepest 5 %?",
            "short",
            *_of_a_run("agent_delegation_depth"),
            no_value="no handoff",
        ),
        series(
            "Completed workflow runs",
            "Which share of each workflow's runs succeeded? Cancelled ones did not complete.",
            "percentunit",
            Query(completed, _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
        ),
        series(
            "Coordination",
            "Which share of each workflow's time passed while none of its LM calls, tools and innermost tasks was at work?",
            "percentunit",
            Query(coordination, _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
        ),
    ]


def _runs() -> list[Any]:
    tool = "gen_ai_agent_name, gen_ai_tool_name"
    return [
        series(
            "Repeated tool calls",
            "Which agents call a tool again with the same arguments in the same run, as one does that turns in circles?",
            "ops",
            Query(
                f"sum by ({tool}) ({rate(by_agent('agent_repeated_tool_calls_total'))})",
                "{{gen_ai_agent_name}} {{gen_ai_tool_name}}",
            ),
            no_value="none",
        ),
        series(
            "LM calls of a run",
            "How many LM calls does a run of each agent make, on average and among the 5 % with most?",
            "short",
            *_of_a_run("gen_ai_invoke_agent_inference_calls"),
            no_value=_NO_RUN,
        ),
        series(
            "Tool calls of a run",
            "How many tools does a run of each agent call, on average and among the 5 % with most?",
            "short",
            *_of_a_run("gen_ai_invoke_agent_tool_calls"),
            no_value=_NO_RUN,
        ),
        series(
            "Steps of a run",
            "How many steps, such as predictors, nodes and turns, does a run of each agent take, on average and among the 5 %"
            " with most?",
            "short",
            *_of_a_run("agent_run_steps"),
            no_value=_NO_RUN,
        ),
    ]


def _waste() -> list[Any]:
    tokens, seconds = "agent_wasted_tokens_total", "agent_wasted_seconds_total"
    return [
        series(
            "Wasted tokens",
            "How many tokens a second go into runs that do not succeed, and how do those end?",
            "short",
            Query(f"sum by ({_AGENT}, outcome) ({rate(by_agent(tokens))})", _LEGEND + " {{outcome}}"),
            is_stacked=True,
            no_value="none",
        ),
        table_of(  # over the whole range: tokens are counted when they are used, and as waste when the run ends
            "Wasted share of tokens",
            "Which share of the tokens of each agent's runs, with those of the agents that it delegated to, was wasted?",
            "percentunit",
            share(_in_range(tokens), _in_range("agent_subtree_tokens_total"), _AGENT),
            (_AGENT,),
            no_value="no tokens are reported",
        ),
        series(
            "Wasted share of time",
            "Which share of the time of each agent's runs was wasted, since the run did not succeed?",
            "percentunit",
            Query(share(rate(by_agent(seconds)), rate(by_agent(_RUN_TIME)), _AGENT), _LEGEND),
            no_value=_NO_RUN,
        ),
        series(
            "Tokens, own and delegated",
            "How many tokens a second does each agent use itself, and how many with the agents that it delegates to?",
            "short",
            Query(_sum("agent_tokens_total", _SPENT), _LEGEND + " own"),
            Query(_sum("agent_subtree_tokens_total"), _LEGEND + " with delegated"),
            width=12,
            no_value="no tokens are reported",
        ),
        series(
            "Cost an hour, own and delegated",
            "How many dollars an hour does each agent cost itself, and how many with the agents that it delegates to?",
            "currencyUSD",
            Query(f"3600 * {_sum('agent_cost_usd_total')}", _LEGEND + " own"),
            Query(f"3600 * {_sum('agent_subtree_cost_usd_total')}", _LEGEND + " with delegated"),
            width=12,
            no_value="no cost is known",
        ),
    ]


ROWS = (("Agents together", together),)
