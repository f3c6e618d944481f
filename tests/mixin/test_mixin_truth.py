"""What stat panels and tables say is what was counted: through a restart, without traffic, without errors, after an end."""

import math

import pytest

from backfilled import BEGIN, ask, backfilled, sample
from expressions import ALL, dashboard_expressions, load_dashboards

pytestmark = pytest.mark.servers

_STEP = 15
_COUNT = 61
_END = BEGIN + (_COUNT - 1) * _STEP
_RANGE_STEPS = 40  # 10 minutes
_RESTART = 45  # the first sample of the program's second life, within the range
_LAST_SIGN = 33  # of the agent that ended: more than five minutes before the end
_TARGET = {"job": "truth", "instance": "a:1"}
_TOOL, _LM = "gen_ai_execute_tool_duration_seconds_count", "gen_ai_client_operation_duration_seconds_count"
_TASKS = "agent_task_duration_seconds_count"


def _counter(a_step, index, *, restarts):
    return a_step * (index - _RESTART + 1 if restarts and index >= _RESTART else index)


def _agent(name, *, success, error, cancelled=0, usd=0.0, restarts=False, count=_COUNT):
    """Yield the lines of an agent's series; so many calls end every 15 seconds."""
    agent = _TARGET | {"gen_ai_agent_name": name, "agent_task": "work"}
    model = {"gen_ai_request_model": f"model of {name}", "gen_ai_operation_name": "chat"}
    tool = {"gen_ai_agent_name": name, "gen_ai_tool_name": f"tool of {name}"}
    counters = [
        (_TASKS, agent | {"outcome": "success"}, success),
        (_TASKS, agent | {"outcome": "error"}, error),
        (_TASKS, agent | {"outcome": "timeout"}, 0),
        (_TASKS, agent | {"outcome": "cancelled"}, cancelled),
        (_TOOL, _TARGET | tool, success),
        (_LM, _TARGET | model, success),
        ("agent_cost_usd_total", _TARGET | {"gen_ai_agent_name": name} | model, usd),
    ]
    if error:  # a success has no error_type, and a family without errors has no series with one
        counters += [(_TOOL, _TARGET | tool | {"error_type": "ValueError"}, error)]
        counters += [(_LM, _TARGET | model | {"error_type": "TimeoutError"}, error)]
        counters += [(_LM, _TARGET | model | {"error_type": "cancelled"}, cancelled)]
    for family, labels, a_step in counters:
        for index in range(count):
            yield sample(family, labels, _counter(a_step, index, restarts=restarts), BEGIN + index * _STEP)
    for index in range(count):
        yield sample("agent_tasks_in_progress", agent, 2, BEGIN + index * _STEP)
    for index in range(count):
        yield sample("agent_objective_success_ratio", agent, 0.9, BEGIN + index * _STEP)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    lines = [
        *_agent("restarted", success=3, error=1, cancelled=2, usd=0.5, restarts=True),
        *_agent("clean", success=4, error=0, usd=0.25),
        *_agent("idle", success=0, error=0),
        *_agent("ended", success=6, error=2, usd=1.0, count=_LAST_SIGN + 1),
        *(sample("agentgauge_build_info", _TARGET, 1, BEGIN + index * _STEP) for index in range(_COUNT)),
    ]
    with backfilled(tmp_path_factory.mktemp("prometheus"), _one_family_after_another(lines)) as url:
        yield url


def _one_family_after_another(lines):
    return sorted(lines, key=lambda line: line.split("{")[0])  # stable: the samples of a series stay in their order


def _shown(url, name, title, agent):
    """Return the one number of a stat panel, None where it shows its text for no value."""
    chosen = {"agent": agent, "model": f"model of {agent}", "tool": f"tool of {agent}", "__range": "10m"}
    board = load_dashboards()[name]
    panels = [panel for panel in board["panels"] if panel.get("title") == title and panel["type"] == "stat"]
    (asked,) = [each for each in dashboard_expressions({**board, "panels": panels}, ALL | chosen) if each.kind == "panel"]
    found = ask(url, "query", query=asked.expr, time=_END)
    return float(found[0]["value"][1]) if found else None


@pytest.mark.parametrize(
    ("name", "title", "expected"),
    [
        ("agents", "Tasks ended", {"restarted": 6 * _RANGE_STEPS, "clean": 4 * _RANGE_STEPS, "idle": 0}),
        ("agents", "Tasks failed", {"restarted": _RANGE_STEPS, "clean": 0, "idle": 0}),
        ("agents", "Success", {"restarted": 0.75, "clean": 1, "idle": None}),
        ("agents", "Tasks in progress", {"restarted": 2, "clean": 2, "idle": 2, "ended": None}),
        ("agents", "Cost", {"restarted": 0.5 * _RANGE_STEPS, "clean": 0.25 * _RANGE_STEPS, "idle": 0}),
        ("cost", "Cost of a success", {"restarted": 0.5 / 3, "clean": 0.0625, "idle": None}),
        ("tools", "Tool calls", {"restarted": 4 * _RANGE_STEPS, "clean": 4 * _RANGE_STEPS, "idle": 0}),
        ("tools", "Tool calls failed", {"restarted": _RANGE_STEPS, "clean": 0, "idle": 0}),
        ("llm", "LM calls failed", {"restarted": _RANGE_STEPS, "clean": 0, "idle": 0}),
        ("llm", "Failed share", {"restarted": 0.25, "clean": 0, "idle": None}),
        ("slo", "Broken: success", {"restarted": 1, "clean": 0, "idle": 0, "ended": None}),
    ],
)
def test_a_number_is_what_was_counted(prometheus, name, title, expected):
    shown = {agent: _shown(prometheus, name, title, agent) for agent in expected}
    assert shown == {agent: None if value is None else pytest.approx(value) for agent, value in expected.items()}


def test_a_restart_takes_nothing_away_and_adds_nothing(prometheus):
    found = ask(prometheus, "query", query=f'sum({_TASKS}{{gen_ai_agent_name="restarted"}})', time=_END)
    assert float(found[0]["value"][1]) < 6 * _RANGE_STEPS  # the counters themselves went down
    assert _shown(prometheus, "agents", "Tasks ended", "restarted") == pytest.approx(6 * _RANGE_STEPS)


def test_an_agent_that_ended_is_counted_for_as_long_as_it_was_there(prometheus):
    seen = 8 * (_LAST_SIGN - (_COUNT - 1 - _RANGE_STEPS))
    assert seen <= _shown(prometheus, "agents", "Tasks ended", "ended") <= seen + 8  # Prometheus guesses half a step at each end
    assert _shown(prometheus, "agents", "Success", "ended") == pytest.approx(0.75)


def test_the_sum_over_all_agents_is_the_sum_of_theirs(prometheus):
    agents = ("restarted", "clean", "idle", "ended")
    each = [_shown(prometheus, "agents", "Tasks ended", agent) for agent in agents]
    assert _shown(prometheus, "agents", "Tasks ended", f"({'|'.join(agents)})") == pytest.approx(sum(each))


def test_the_table_of_the_fleet_has_a_row_for_each_agent_that_did_something(prometheus):
    board = load_dashboards()["fleet"]
    panels = [panel for panel in board["panels"] if panel.get("title") == "Agents" and panel["type"] == "table"]
    columns = {}
    for column, asked in zip(
        ("tasks", "failed", "p95", "in progress"),
        [each for each in dashboard_expressions({**board, "panels": panels}, ALL | {"__range": "10m"}) if each.kind == "panel"],
        strict=False,
    ):
        found = ask(prometheus, "query", query=asked.expr, time=_END)
        columns[column] = {each["metric"]["gen_ai_agent_name"]: float(each["value"][1]) for each in found}
    assert set(columns["tasks"]) == {"restarted", "clean", "ended"}
    assert columns["failed"] == pytest.approx({"restarted": 0.25, "clean": 0, "ended": 0.25})
    assert columns["in progress"] == {"restarted": 2, "clean": 2, "idle": 2}


def test_a_burn_rate_is_the_failed_share_by_what_is_allowed(prometheus):
    board = load_dashboards()["slo"]
    panels = [panel for panel in board["panels"] if panel.get("title") == "Burn rate: 5 min and 1 h"]
    short, long = (
        {
            each["metric"]["gen_ai_agent_name"]: float(each["value"][1])
            for each in ask(prometheus, "query", query=asked.expr, time=_END)
        }
        for asked in dashboard_expressions({**board, "panels": panels}, ALL)
        if asked.kind == "panel"
    )
    assert short == pytest.approx({"restarted": 2.5, "clean": 0})  # a quarter fails where a tenth may; idle is no NaN
    assert long == pytest.approx({"restarted": 2.5, "clean": 0})
    assert all(map(math.isfinite, [*short.values(), *long.values()]))
