"""Grafana's own libraries draw the dashboards before a real Prometheus: make test-grafana.

What no test in Python can tell: how Grafana fills in variables, what its data source makes of an answer, what transformations
leave of a table, which fields an override reaches, where a link leads, and which names Grafana knows.
"""

import copy
import json
import re
import subprocess
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

import test_mixin_data as data
from backfilled import backfilled
from expressions import load_dashboards

pytestmark = pytest.mark.servers

_HERE = Path(__file__).parent
_BOARDS = load_dashboards()
_NUMERIC = "2024"  # a name that could be taken for a number
_ODD = "wri.ter [v2] (a|b)* {c,d} ^1$ \\ ?"  # what patterns, strings and lists give a meaning to; Grafana itself fails at a quote
_ONE = {"job": ["bots"], "instance": ["b:1"], "agent": [_ODD], "model": ["small"], "tool": ["search"], "workflow": ["report"]}
_SEVERAL = {
    "job": ["agentgauge", "bots"],
    "instance": ["a:1", "b:1"],
    "agent": [_NUMERIC, _ODD],
    "model": ["large", "small"],
    "tool": ["search", "sum"],
    "workflow": ["report", "digest"],
}
_LEFT_OVER = re.compile(r"\$\{?[a-z_]\w*")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    lines = chain.from_iterable(data._samples(*series) for series in data._series())
    renamed = (line.replace('"writer"', json.dumps(_ODD)).replace('"researcher"', json.dumps(_NUMERIC)) for line in lines)
    with backfilled(tmp_path_factory.mktemp("prometheus"), renamed) as url:
        yield url


def _draw(url, *boards, **request):
    """Return what Grafana would draw of each of the boards, over 15 minutes."""
    facts = {"url": url, "from": data._END - 900, "to": data._END, "chosen": {}} | request
    requests = json.dumps([facts | {"board": board} for board in boards])
    drawn = subprocess.run(["node", _HERE / "draw.cjs"], input=requests, capture_output=True, text=True, timeout=300, check=False)
    assert drawn.returncode == 0, drawn.stderr
    return json.loads(drawn.stdout)


@cache
def _all_drawn(url):
    return dict(zip(_BOARDS, _draw(url, *_BOARDS.values()), strict=True))


def _board_problems(drawn):
    yield from (f"{variable['name']} has no values" for variable in drawn["variables"] if not variable["values"])
    yield from (f"{mark['name']} marks nothing" for mark in drawn["annotations"] if not mark["titles"])
    yield from (f"not filled in: {expr}" for expr in drawn["asked"] if _LEFT_OVER.search(expr))
    for panel in drawn["panels"]:
        yield from (f"{panel['title']}: {problem}" for problem in _panel_problems(panel))


def _panel_problems(panel):
    yield from (f"Grafana knows no {name}" for name in panel["unknown"])
    yield from (f"an override reaches nothing: {matcher['options']}" for matcher in panel["unmatched"])
    yield from panel["errors"]
    fields = [field for frame in panel["frames"] for field in frame]
    numbers = [field for field in fields if field["type"] == "number"]
    names = [field["name"] for field in numbers]
    if not numbers:
        yield "no numbers"
    yield from (f"{field['name']} has no finite value" for field in numbers if not field["finite"])
    yield from (f"{name} comes {count} times" for name, count in Counter(names).items() if count > 1)
    if panel["type"] == "stat" and len(numbers) != 1:
        yield f"{len(numbers)} numbers instead of one"
    if panel["type"] == "table":
        yield from _table_problems(panel)
    else:
        yield from (f"a series is called {name!r}" for name in names if not name.strip() or re.match(r'Value|.*{\w+="', name))
    for field in fields:
        yield from (
            f"{field['name']} shows {text!r} for {value!r}"
            for value, text in zip(field["values"], field["texts"], strict=True)
            if value != text
        )
        if field["type"] != "time":  # whose points Grafana offers no link for
            yield from _link_problems(field)


def _table_problems(panel):
    if len(panel["frames"]) != 1:
        yield f"{len(panel['frames'])} tables instead of one"
    columns = [field["name"] for frame in panel["frames"] for field in frame]
    yield from (f"the column {name} has no name of its own" for name in columns if name.startswith("Value #"))
    yield from (f"no column {name} to sort by" for name in panel["sorted"] if name not in columns)


def _link_problems(field):
    for link in field["links"]:
        path, _, query = link["href"].partition("?")
        if path.removeprefix("/d/") not in {board["uid"] for board in _BOARDS.values()}:
            yield f"{path} leads nowhere"
        wanted = field["values"][link["row"]] if field["values"] else next(iter(field["labels"].values()))
        if "${" in query or f"={wanted}&" not in query:
            yield f"the link of {wanted} is {query}"


@pytest.mark.parametrize("name", sorted(_BOARDS))
def test_grafana_draws_every_panel_with_all_chosen(prometheus, name):
    assert list(_board_problems(_all_drawn(prometheus)[name])) == []


@pytest.mark.parametrize("chosen", [_ONE, _SEVERAL], ids=["one", "several"])
def test_grafana_draws_every_panel_for_what_is_chosen_whatever_signs_its_name_has(prometheus, chosen):
    drawn = dict(zip(_BOARDS, _draw(prometheus, *_BOARDS.values(), chosen=chosen), strict=True))
    assert {name: problems for name, facts in drawn.items() if (problems := list(_board_problems(facts)))} == {}
    agents = {value for facts in drawn.values() for panel in facts["panels"] for value in _agents(panel)}
    assert agents - {""} == set(chosen["agent"])  # a budget may be no agent's


def _agents(panel):
    for frame in panel["frames"]:
        for field in frame:
            yield from field["values"] if field["name"] == "gen_ai_agent_name" else ()


def test_a_table_keeps_its_columns_and_rows_where_only_its_first_query_has_data(prometheus):
    for name, drawn in zip(_BOARDS, _draw(prometheus, *_BOARDS.values(), only="A"), strict=True):
        for whole, part in zip(_all_drawn(prometheus)[name]["panels"], drawn["panels"], strict=True):
            if whole["type"] == "table":
                assert [[field["name"] for field in frame] for frame in part["frames"]] == [
                    [field["name"] for field in frame] for frame in whole["frames"]
                ]
                assert any(field["finite"] for frame in part["frames"] for field in frame), whole["title"]
                assert list(_table_problems(part)) == []


# --- what the checks find -------------------------------------------------------------------------------------------------


def _panel(board, title, kind):
    return next(panel for panel in board["panels"] if (panel["title"], panel["type"]) == (title, kind))


def _override(panel, **changes):
    panel["fieldConfig"]["overrides"][0] |= changes


_TABLE = ("Agents", "table")
_LINES = ("Failed share by agent", "timeseries")
_NUMBER = ("Tasks ended", "stat")
_DAMAGES = [
    (_TABLE, lambda panel: panel["transformations"][0].update(id="merged"), "Grafana knows no merged"),
    (_TABLE, lambda panel: panel["transformations"][2]["options"]["renameByName"].popitem(), "has no name of its own"),
    (_TABLE, lambda panel: panel["transformations"].pop(0), "tables instead of one"),
    (_TABLE, lambda panel: panel["fieldConfig"]["overrides"].pop(0), "gen_ai_agent_name shows '2.02 K' for '2024'"),
    (_TABLE, lambda panel: _override(panel, matcher={"id": "byName", "options": "Task"}), "an override reaches nothing: Task"),
    (_TABLE, lambda panel: _override(panel, properties=[{"id": "units", "value": "s"}]), "Grafana knows no units"),
    (_TABLE, lambda panel: panel["options"]["sortBy"][0].update(displayName="Value #A"), "no column Value #A to sort by"),
    (_LINES, lambda panel: panel["fieldConfig"]["defaults"].update(unit="percentage"), "Grafana knows no percentage"),
    (_LINES, lambda panel: panel["targets"][0].update(legendFormat="agent"), "agent comes 2 times"),
    (_LINES, lambda panel: panel["targets"][0].update(legendFormat=""), "a series is called"),
    (
        _LINES,
        lambda panel: panel["fieldConfig"]["overrides"][-1]["properties"][0]["value"][0].update(
            url="/d/agentgauge-agents?var-agent=${__data.fields.gen_ai_agent_name}&x=1"
        ),
        "the link of 2024 is",
    ),
    (_NUMBER, lambda panel: panel["options"]["reduceOptions"].update(calcs=["latest"]), "Grafana knows no latest"),
    (_NUMBER, lambda panel: panel["targets"][0].update(expr="sum by (outcome) (agent_tasks_active)"), "instead of one"),
    (_NUMBER, lambda panel: panel["targets"][0].update(expr='up{job=~"$jobs"}'), "not filled in"),
    (_NUMBER, lambda panel: panel["targets"][0].update(expr="sum("), "parse error"),
]


def test_each_kind_of_fault_is_found(prometheus):
    boards = []
    for (title, kind), damage, _ in _DAMAGES:
        board = copy.deepcopy(_BOARDS["fleet"])
        board["panels"] = [_panel(board, title, kind)]
        damage(board["panels"][0])
        boards.append(board)
    for facts, (_, _, problem) in zip(_draw(prometheus, *boards), _DAMAGES, strict=True):
        found = list(_board_problems(facts))
        assert any(problem in each for each in found), f"{problem}: {found}"
