"""The board "Agents together": who gives work to whom, how workflows and runs go, and what is wasted."""

from __future__ import annotations

from typing import Any

from dashboards.build import lm_rows, tool_rows
from dashboards.build.board import WORKFLOW, Board
from dashboards.build.panels import Column, Query, comparison, latency, number, series, table_of
from dashboards.build.promql import BAD, FAILED, JUDGED, by_agent, by_target, by_workflow, in_range, mean, quantile, rate, share

__all__ = ["BOARD"]

_AGENT = "gen_ai_agent_name"
_LEGEND = "{{gen_ai_agent_name}}"
_WORKFLOW = "gen_ai_workflow_name"
_WORKFLOW_LEGEND = "{{gen_ai_workflow_name}}"
_WORKFLOWS = "gen_ai_invoke_workflow_duration_seconds"
_UNFAILED = 'error_type=""'
_RUN_TIME = "gen_ai_invoke_agent_duration_seconds_sum"
_SPENT = 'gen_ai_token_type=~"input|output"'  # the other types are parts of these
_NO_RUN = "no run"
_NO_WORKFLOW = "no workflow"


def _handoffs(matchers: str = "", window: str = "$__rate_interval") -> str:
    """The increase of handoffs that a chosen agent made or took."""
    sides = [by_target("agent_handoffs_total", f'{side}=~"$agent"{matchers}') for side in ("source", "target")]
    return " or ".join(f"increase({selector}[{window}])" for selector in sides)


def _side(label: str) -> str:
    """How often each chosen agent was on one side of a handoff in the time range."""
    handoffs = by_target("agent_handoffs_total", f'{label}=~"$agent"')
    return f'sum by ({_AGENT}) (label_replace(increase({handoffs}[$__range]), "{_AGENT}", "$1", "{label}", "(.+)")) > 0'


def _of_a_run(histogram: str) -> tuple[Query, Query]:
    return (
        Query(mean(histogram, by_agent, _AGENT), _LEGEND + " mean"),
        Query(quantile(0.95, by_agent(histogram + "_bucket"), _AGENT), _LEGEND + " p95"),
    )


def _sum(metric: str, matchers: str = "") -> str:
    return f"sum by ({_AGENT}) ({rate(by_agent(metric, matchers))})"


def _in_range(metric: str) -> str:
    return f"increase({by_agent(metric)}[$__range])"


def _overview() -> list[Any]:
    workflows = by_workflow(_WORKFLOWS + "_count")
    return [
        number(
            "Handoffs",
            "How often did one of the chosen agents give work to another, or take it, in the time range?",
            "short",
            f"sum({_handoffs(window='$__range')})",
            no_value="none",
            width=6,
        ),
        number(
            "Handoffs failed",
            "How many of these handoffs ended in error or timeout?",
            "short",
            f"sum({_handoffs(',' + BAD, '$__range')}) or 0 * sum({_handoffs(window='$__range')})",
            no_value="no handoff",
            steps={1: "orange"},
            width=6,
        ),
        number("Workflow runs", "How many workflows ended?", "short", in_range(workflows), no_value=_NO_WORKFLOW, width=6),
        number(
            "Workflow runs completed",
            "Which share of the workflow runs of the time range succeeded?",
            "percentunit",
            f"({in_range(by_workflow(_WORKFLOWS + '_count', _UNFAILED))} or 0 * {in_range(workflows)})"
            f" / ({in_range(workflows)} > 0)",
            no_value=_NO_WORKFLOW,
            width=6,
        ),
    ]


def _delegation() -> list[Any]:
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
    ]


def _workflows() -> list[Any]:
    runs = by_workflow(_WORKFLOWS + "_count")
    completed = share(rate(by_workflow(_WORKFLOWS + "_count", _UNFAILED)), rate(runs), _WORKFLOW)
    at_rest = by_workflow("agent_workflow_coordination_seconds_total")
    coordination = share(rate(at_rest), rate(by_workflow(_WORKFLOWS + "_sum")), _WORKFLOW)
    return [
        series(
            "Workflow runs",
            "How often does each workflow run?",
            "ops",
            Query(f"sum by ({_WORKFLOW}) ({rate(runs)})", _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
        ),
        series(
            "Failed workflow runs",
            "Which workflows fail, how often, and with which type of error?",
            "ops",
            Query(
                f"sum by ({_WORKFLOW}, error_type) ({rate(by_workflow(_WORKFLOWS + '_count', FAILED))})",
                "{{gen_ai_workflow_name}} {{error_type}}",
            ),
            no_value="none failed",
        ),
        latency(
            "Duration of workflow runs (p95)",
            "How long do the slowest 5 % of each workflow's runs take at least?",
            Query(quantile(0.95, by_workflow(_WORKFLOWS + "_bucket"), _WORKFLOW), _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
        ),
        series(
            "Completed workflow runs",
            "Which share of each workflow's runs succeeded? Cancelled ones did not complete.",
            "percentunit",
            Query(completed, _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
            width=12,
        ),
        series(
            "Coordination",
            "Which share of each workflow's time passed while none of its LM calls, tools and innermost tasks was at work?",
            "percentunit",
            Query(coordination, _WORKFLOW_LEGEND),
            no_value=_NO_WORKFLOW,
            width=12,
        ),
    ]


def _runs() -> list[Any]:
    return [
        tool_rows.repeated(by_agent),
        lm_rows.calls_of_a_run(),
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
            width=12,
            no_value=_NO_RUN,
        ),
        comparison(
            "Agents at work",
            "Which agent runs most, gives and takes most work?",
            (_AGENT,),
            (
                Column("Runs", "short", in_range(by_agent(_RUN_TIME.replace("_sum", "_count")), _AGENT) + " > 0"),
                Column("Given", "short", _side("source")),
                Column("Taken", "short", _side("target")),
            ),
            width=12,
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


BOARD = Board(
    "team",
    "Agents together",
    "Who gives work to whom, how workflows and runs go, and what is wasted.",
    (
        ("Overview", _overview),
        ("Handoffs", _delegation),
        ("Workflows", _workflows),
        ("Runs", _runs),
        ("Waste", _waste),
    ),
    (WORKFLOW,),
)
