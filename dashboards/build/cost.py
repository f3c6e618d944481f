"""The board "Cost": what language models cost, whom, how that compares with the budgets, and what of it is wasted."""

from __future__ import annotations

from typing import Any

from dashboards.build import cost_rows, lm_rows
from dashboards.build.board import MODEL, Board
from dashboards.build.cost_rows import NO_COST
from dashboards.build.lm_rows import NO_TOKENS
from dashboards.build.panels import Column, Query, comparison, link_to, number, series, table_of
from dashboards.build.promql import GOOD, by_agent, by_agent_and_model, by_target, in_range, rate

__all__ = ["BOARD"]

_AGENT, _LEGEND = "gen_ai_agent_name", "{{gen_ai_agent_name}}"
_COST = by_agent_and_model("agent_cost_usd_total")
_TASKS = by_agent("agent_task_duration_seconds_count", GOOD)
_RUNS = by_agent("gen_ai_invoke_agent_duration_seconds_count")
_TO_AGENT = {_AGENT: link_to("agentgauge-agents", "Look at this agent", agent=_AGENT)}
_NO_BUDGET = "no budget is set"
_WHOLE = by_target("agent_budget_usd", 'gen_ai_agent_name=""')  # of whatever agent is chosen, it pays from this one


def _overview() -> list[Any]:
    subtree = by_agent("agent_subtree_tokens_total")
    wasted = f"{in_range(by_agent('agent_wasted_tokens_total'))} or 0 * {in_range(subtree)}"
    return [
        number("Cost", "How many dollars did LM calls cost in the time range?", "currencyUSD", in_range(_COST), no_value=NO_COST),
        number(
            "Cost an hour",
            "How many dollars an hour do LM calls cost at the present pace?",
            "currencyUSD",
            f"3600 * sum({rate(_COST)})",
            no_value=NO_COST,
        ),
        number(
            "Cost of a run",
            "How many dollars did one run of the chosen agents cost on average in the time range?",
            "currencyUSD",
            f"{in_range(_COST)} / ({in_range(_RUNS)} > 0)",
            no_value="no run",
        ),
        number(
            "Cost of a success",
            "How many dollars went into one task that succeeded, those that did not succeed paid with it?",
            "currencyUSD",
            f"{in_range(_COST)} / ({in_range(_TASKS)} > 0)",
            no_value="no success",
        ),
        number(
            "Tokens wasted",
            "How many tokens of the time range went into runs that did not succeed?",
            "short",
            wasted,
            no_value=NO_TOKENS,
            steps={1: "orange"},
        ),
        number(
            "Most of a budget",
            "Which share of the budget that is used up most was spent in the last 1 d or 30 d?",
            "percentunit",
            f"max(({_used('day', '1d')}) or ({_used('month', '30d')}))",
            no_value=_NO_BUDGET,
            steps={0.8: "orange", 1: "red"},
        ),
    ]


def _spending() -> list[Any]:
    return [
        cost_rows.an_hour_by_agent(by_agent_and_model),
        cost_rows.an_hour_by_model(),
        series(
            "Cost an hour by program",
            "How many dollars an hour does each program cost at the present pace?",
            "currencyUSD",
            Query(f"3600 * sum by (job, instance) ({rate(_COST)})", "{{job}} {{instance}}"),
            is_stacked=True,
            no_value=NO_COST,
        ),
        table_of(
            "Cost by agent and model",
            "How many dollars did each agent's own LM calls cost in the time range, and of which model?",
            "currencyUSD",
            f"{in_range(_COST, _AGENT + ', gen_ai_request_model')} > 0",
            (_AGENT, "gen_ai_request_model"),
            no_value=NO_COST,
            links=_TO_AGENT,
        ),
        series(
            "Cost an hour, own and delegated",
            "How many dollars an hour does each agent cost itself, and how many with the agents that it delegates to?",
            "currencyUSD",
            Query(f"3600 * sum by ({_AGENT}) ({rate(by_agent('agent_cost_usd_total'))})", _LEGEND + " own"),
            Query(f"3600 * sum by ({_AGENT}) ({rate(by_agent('agent_subtree_cost_usd_total'))})", _LEGEND + " with delegated"),
            no_value=NO_COST,
        ),
        comparison(
            "What an agent's work costs",
            "What does a run and what does a success of each agent cost, from its own LM calls in the time range?",
            (_AGENT,),
            (
                Column("Cost", "currencyUSD", in_range(_COST, _AGENT) + " > 0"),
                Column("A run", "currencyUSD", _per(_RUNS)),
                Column("A success", "currencyUSD", _per(_TASKS)),
            ),
            no_value=NO_COST,
            width=8,
            links=_TO_AGENT,
        ),
    ]


def _budgets() -> list[Any]:
    forecast = _by_jobs("job_agent_period:agent_cost_usd:forecast")
    budget = _by_jobs("job_agent_period:agent_budget_usd:max")
    of_whom = "{{job}} {{gen_ai_agent_name}}"
    return [
        table_of(
            "Budgets",
            "What may the LM calls of each agent, or of all of a program where no agent is named, cost in which period?",
            "currencyUSD",
            f"max by (job, {_AGENT}, period) ({by_agent('agent_budget_usd')} or {_WHOLE})",
            ("job", _AGENT, "period"),
            no_value=_NO_BUDGET,
            links=_TO_AGENT,
        ),
        series(
            "Used of the day's budgets",
            "Which share of each budget of a day was spent in the last 1 d, whatever the hour?",
            "percentunit",
            Query(_used("day", "1d"), of_whom),
            limit=1,
            no_value=_NO_BUDGET,
        ),
        series(
            "Used of the month's budgets",
            "Which share of each budget of a month was spent in the last 30 d?",
            "percentunit",
            Query(_used("month", "30d"), of_whom),
            limit=1,
            no_value=_NO_BUDGET,
        ),
        series(
            "Where the budgets will end",
            "Which share of each budget will its calendar day or month (UTC) have used, if spending goes on as lately? Needs the"
            " shipped rules in this Prometheus.",
            "percentunit",
            Query(f"{forecast} / {budget}", of_whom + " {{period}}"),
            limit=1,
            width=24,
            no_value="no budget is set, or the rules are not loaded",
        ),
    ]


def _waste() -> list[Any]:
    tokens = in_range(by_agent("agent_subtree_tokens_total"), _AGENT)
    return [
        series(
            "Wasted tokens",
            "How many tokens a second go into runs that do not succeed, and how do those end?",
            "short",
            Query(f"sum by ({_AGENT}, outcome) ({rate(by_agent('agent_wasted_tokens_total'))})", _LEGEND + " {{outcome}}"),
            is_stacked=True,
            no_value="none",
        ),
        table_of(  # over the whole range: tokens are counted when they are used, and as waste when the run ends
            "Wasted share of tokens",
            "Which share of the tokens of each agent's runs, with those of the agents that it delegated to, was wasted?",
            "percentunit",
            f"({in_range(by_agent('agent_wasted_tokens_total'), _AGENT)} or 0 * {tokens}) / ({tokens} > 0)",
            (_AGENT,),
            no_value=NO_TOKENS,
            links=_TO_AGENT,
        ),
        lm_rows.unpriced(),
    ]


def _by_jobs(record: str) -> str:
    """Select what the shipped rules recorded for the chosen jobs: it has no instance."""
    return f'{record}{{job=~"$job",gen_ai_agent_name=~"$agent|"}}'


def _per(counted: str) -> str:
    """Dollars for each of what is counted; an agent without LM calls of its own has no row."""
    return f"({in_range(_COST, _AGENT)} > 0) / ({in_range(counted, _AGENT)} > 0)"


def _used(period: str, window: str) -> str:
    """The share that was spent of each budget of a period: of an agent's own, and of the one for all of a job's agents."""
    own = by_agent("agent_budget_usd", f'gen_ai_agent_name!="",period="{period}"')
    whole = by_target("agent_budget_usd", f'gen_ai_agent_name="",period="{period}"')
    by_own = f"job, {_AGENT}"
    spent_own = f"sum by ({by_own}) (increase({by_agent('agent_cost_usd_total')}[{window}]))"
    spent = f"sum by (job) (increase({by_target('agent_cost_usd_total')}[{window}]))"
    return f"{spent_own} / max by ({by_own}) ({own}) or {spent} / max by (job) ({whole})"


BOARD = Board(
    "cost",
    "Cost",
    "What language models cost, whom, how that compares with the budgets, and what of it is wasted.",
    (("Overview", _overview), ("Spending", _spending), ("Budgets", _budgets), ("Waste", _waste)),
    (MODEL,),
)
