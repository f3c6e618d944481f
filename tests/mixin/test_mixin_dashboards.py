"""The committed dashboards are the built ones, and Grafana can import and draw them."""

import copy
import json

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.build import agents, metrics_page
from expressions import DASHBOARD, load_dashboard
from mixin_checks import layout_problems, panel_problems


@pytest.fixture
def board():
    return copy.deepcopy(load_dashboard())


def test_the_committed_dashboard_is_the_one_that_the_build_makes():
    assert DASHBOARD.read_text(encoding="utf-8") == agents.build(), "run: python -m dashboards.build"


def test_the_committed_metrics_page_is_the_one_that_the_catalogue_makes():
    assert metrics_page.PATH.read_text(encoding="utf-8") == metrics_page.build(), "run: python -m dashboards.build"


def test_grafanas_model_of_a_dashboard_knows_every_key(board):
    register_default_plugins()
    assert json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) == board


def test_panels_stand_beside_and_below_one_another(board):
    assert layout_problems(board) == []


def test_every_panel_says_what_it_answers_in_which_unit(board):
    assert panel_problems(board) == []


def test_a_dashboard_is_found_by_its_uid_and_tag_and_tells_the_time_in_utc(board):
    assert (board["uid"], board["timezone"]) == ("agentgauge-agents", "utc")
    assert "agentgauge" in board["tags"]


def test_nothing_is_left_of_an_export_for_sharing(board):
    text = json.dumps(board)
    assert "${DS_" not in text
    assert not {"__inputs", "__requires"} & set(board)


def test_every_chosen_set_of_jobs_instances_and_agents_can_be_all(board):
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "agent"]
    assert {name: variables[name]["allValue"] for name in ("job", "instance", "agent")} == {
        "job": ".+",
        "instance": ".+",
        "agent": ".*",  # an agent without a name has no label
    }
    assert all(variables[name]["multi"] and variables[name]["includeAll"] for name in ("job", "instance", "agent"))


def test_an_overlap_a_shared_id_and_a_panel_off_the_grid_are_found(board):
    first, second = board["panels"][1:3]
    second["gridPos"] |= {"x": first["gridPos"]["x"] + 1, "w": 24}
    second["id"] = first["id"]
    assert layout_problems(board)[:3] == [
        f"the id {first['id']} comes twice",
        f"{second['title']}: leaves the grid",
        f"{first['title']} overlaps {second['title']}",
    ]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda panel: panel.pop("description"), "a question"),
        (lambda panel: panel["fieldConfig"]["defaults"].pop("unit"), "a unit"),
        (lambda panel: panel["fieldConfig"]["defaults"].pop("thresholds"), "thresholds"),
        (lambda panel: panel["targets"][0].update(expr="rate(x[5m])"), "a window is fixed"),
        (lambda panel: panel["targets"][0].update(exemplar=False), "shows no exemplars"),
        (lambda panel: panel["targets"][0].update(legendFormat=""), "no legend"),
        (lambda panel: panel["targets"][1].update(refId="A"), "a refId comes twice"),
        (lambda panel: panel["datasource"].update(uid="prometheus-1"), "the data source is fixed: prometheus-1"),
    ],
)
def test_a_panel_that_lacks_something_is_found(board, damage, problem):
    panel = next(panel for panel in board["panels"] if panel["title"] == "Duration of agent runs")
    damage(panel)
    (found,) = panel_problems(board)
    assert problem in found
