"""What agents did together, as instrumentors report it, is what the boards show: number by number."""

import math
import subprocess

import pytest

from agentgauge.exposition.text import render
from agentgauge.testing import isolated, reraise_internal_errors
from backfilled import ask, backfilled, sample
from expressions import ALL, dashboard_expressions, load_dashboards, substitute
from team import BEGIN, COUNT, END, STEP, Team, scrapes

pytestmark = pytest.mark.servers

_ABOUT_THE_TEAM = ("team", "llm", "cost", "tools")
_NOT_OF_A_TEAM = {"Budgets"}  # a row of panels
_OF_SOMETHING_ELSE = {"Most of a budget", "Failed tool calls", "Errors of tools"}  # it has no budget, and its tools work
_RUNS = 2 / STEP  # of the workflow a second; half of them fail
_TEAM = {"job": "team", "instance": "a:1"}
_BARE = {"job": "bare", "instance": "b:1"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with isolated() as isolation, reraise_internal_errors():
        team = scrapes(isolation, _TEAM)
    bare = [sample("agentgauge_build_info", _BARE, 1, BEGIN + index * STEP) for index in range(COUNT)]
    with backfilled(tmp_path_factory.mktemp("prometheus"), [*team, *bare]) as url:
        yield url


def _panels():
    """Yield every panel of the boards about what a team does."""
    row = None
    for name in _ABOUT_THE_TEAM:
        for panel in load_dashboards()[name]["panels"]:
            if panel["type"] == "row":
                row = panel["title"]
            elif row not in _NOT_OF_A_TEAM and panel["title"] not in _OF_SOMETHING_ELSE:
                yield name, panel


def _shown(prometheus, title, kind="timeseries", **chosen):
    """Return what the panels of a title show at the end, the same on each board: by the legend, or by a table's columns."""
    shown = []
    for board in load_dashboards().values():
        panels = [panel for panel in board["panels"] if panel.get("title") == title and panel["type"] in {kind, "table"}]
        asked = dashboard_expressions({**board, "panels": panels}, ALL | _TEAM | {"__range": "10m"} | chosen)
        if panels:
            shown.append(_values(prometheus, [each for each in asked if each.kind == "panel"]))
    assert shown, f"no board has {title}"
    assert all(each == pytest.approx(shown[0], rel=1e-6) for each in shown[1:]), f"{title} is not the same on all boards"
    return shown[0]


def _values(prometheus, asked):
    values = {}
    for expression in asked:
        for series in ask(prometheus, "query", query=expression.expr, time=END):
            labels = dict.fromkeys(expression.legend_labels, "") | series["metric"]
            name = substitute(expression.legend.replace("{{", "${").replace("}}", "}"), labels)
            values[name] = float(series["value"][1])
    return values


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (
            "LM calls",
            {"chat openai large": _RUNS, "chat openai small": 2 * _RUNS, "chat newcomer unheard-of": _RUNS},
        ),
        ("Failed LM calls", {"unheard-of TimeoutError": _RUNS}),
        (
            "Tokens by agent",
            {
                "lead large input": 100 * _RUNS,
                "lead large output": 20 * _RUNS,
                "helper small input": 200 * _RUNS,
                "helper small output": 30 * _RUNS,
                "helper unheard-of input": 40 * _RUNS,
                "helper unheard-of output": 10 * _RUNS,
            },
        ),
        ("Cost an hour", {"lead": 0.01 * _RUNS * 3600, "helper": 0.002 * _RUNS * 3600}),
        ("Cost by agent and model", {"lead large": 0.01 * _RUNS * 600, "helper small": 0.002 * _RUNS * 600}),
        (
            "Program's cache, repeated prompts",
            {"small cached": 0.5, "small repeated": 0.5}
            | {f"{model} {what}": 0 for model in ("large", "unheard-of") for what in ("cached", "repeated")},
        ),
        (
            "Provider's cache and reasoning",
            {
                **{f"large {part}": value for part, value in (("read", 0.4), ("written", 0.1), ("reasoning", 0.25))},
                **{f"{model} {part}": 0 for model in ("small", "unheard-of") for part in ("read", "written", "reasoning")},
            },
        ),
        ("LM retries", {"small": _RUNS}),
        ("Finish reasons", {"large stop": _RUNS, "small length": _RUNS}),
        ("LM calls without a price", {"unheard-of": _RUNS}),
        ("Answers in the wrong form", {"helper JSONAdapter": _RUNS}),
        ("Handoffs", {"lead helper success": _RUNS / 2 * 600, "lead helper error": _RUNS / 2 * 600}),
        ("Failed handoffs", {"lead to helper": 0.5}),
        ("Completed workflow runs", {"report": 0.5}),
        ("Coordination", {"report": 1 / 6}),
        ("Repeated tool calls", {"helper search": _RUNS}),
        ("Wasted tokens", {"helper error": 280 * _RUNS / 2, "lead error": 120 * _RUNS / 2}),
        ("Wasted share of tokens", {"helper": 0.5, "lead": 120 / 400 / 2}),
        ("Wasted share of time", {"helper": 0.5, "lead": 3 / 6 / 2}),
        (
            "Tokens, own and delegated",
            {
                "lead own": 120 * _RUNS,
                "lead with delegated": 400 * _RUNS,
                "helper own": 280 * _RUNS,
                "helper with delegated": 280 * _RUNS,
            },
        ),
        (
            "Cost an hour, own and delegated",
            {
                "lead own": 0.01 * _RUNS * 3600,
                "lead with delegated": 0.012 * _RUNS * 3600,
                "helper own": 0.002 * _RUNS * 3600,
                "helper with delegated": 0.002 * _RUNS * 3600,
            },
        ),
        ("Calls by framework", {"a:1 dspy": 10 * _RUNS}),
        ("Calls left to another layer", {"genai-spans leaves lm to dspy": _RUNS}),
        ("Frameworks instrumented", {"a:1 dspy": 1, "a:1 langchain": 0}),
    ],
)
def test_a_panel_shows_what_the_team_did(prometheus, title, expected):
    assert _shown(prometheus, title) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Tokens of an LM call", {"large input": 100, "large output": 20, "unheard-of input": 40}),
        ("Delegation depth", {"helper": 1}),
        ("LM calls of a run", {"lead": 1, "helper": 3}),
        ("Tool calls of a run", {"helper": 2}),
        ("Steps of a run", {"helper": 1}),
    ],
)
def test_a_mean_is_exact(prometheus, title, expected):
    shown = _shown(prometheus, title)
    assert {name: shown[name + " mean"] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("title", "model", "bounds"),
    [("Duration of LM calls", "large", (1.28, 2.56)), ("Time to the first chunk", "large", (0.32, 0.64))],
)
def test_a_quantile_lies_in_the_bucket_of_what_was_measured(prometheus, title, model, bounds):
    shown = _shown(prometheus, title)
    for quantile in ("p50", "p95"):
        assert bounds[0] < shown[f"{model} {quantile}"] <= bounds[1]


@pytest.mark.parametrize(("agent", "seen"), [("lead", 2), ("helper", 2), ("somebody", 0)])
def test_a_chosen_agents_handoffs_are_those_that_it_made_and_took(prometheus, agent, seen):
    assert len(_shown(prometheus, "Handoffs", agent=agent)) == seen


def test_a_program_without_models_leaves_the_panels_empty_with_a_reason(prometheus):
    panels = list(_panels())
    assert len(panels) > 60
    for name, panel in panels:
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        asked = dashboard_expressions({**load_dashboards()[name], "panels": [panel]}, ALL | _BARE)
        for each in (each for each in asked if each.kind == "panel"):
            assert ask(prometheus, "query", query=each.expr, time=END) == [], each


def test_no_panel_shows_a_number_that_is_none(prometheus):
    for _, panel in _panels():
        shown = _shown(prometheus, panel["title"], panel["type"])
        assert shown, panel["title"]
        assert all(map(math.isfinite, shown.values())), panel["title"]


def test_promtool_finds_nothing_to_say_about_what_a_team_leaves_on_the_page():
    with isolated() as isolation, reraise_internal_errors():
        Team(isolation).work()
        page = b"".join(render(isolation.registry, openmetrics=False))
    assert b'agent_handoffs_total{source="lead",target="helper",outcome="error"} 1' in page
    assert b"gen_ai_client_token_usage_bucket" in page
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
