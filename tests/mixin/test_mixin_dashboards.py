"""The committed dashboards are the built ones, and Grafana can import and draw them."""

import copy
import json
import re

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.build import metrics_page
from dashboards.build.boards import BOARDS
from expressions import DASHBOARDS, ROOT, load_dashboard, load_dashboards, load_rules
from grafana_lint import lint_problems
from mixin_checks import layout_problems, panel_problems

_NAMES = ("fleet", "agents", "team", "llm", "tools", "cost", "slo", "reliability", "analytics", "machine")
_EXTRA = {"team": ["workflow"], "llm": ["model"], "cost": ["model"], "tools": ["tool"], "reliability": ["component", "breaker"]}
_REGISTERED = register_default_plugins()


@pytest.fixture(params=_NAMES)
def board(request):
    return load_dashboard(DASHBOARDS / f"{request.param}.json")


@pytest.fixture
def damaged():
    return copy.deepcopy(load_dashboard(DASHBOARDS / "agents.json"))


def test_ten_boards_ship():
    assert tuple(board.name for board in BOARDS) == _NAMES
    assert set(load_dashboards()) == set(_NAMES)


@pytest.mark.parametrize("built", BOARDS, ids=lambda built: built.name)
def test_the_committed_dashboard_is_the_one_that_the_build_makes(built):
    assert built.path.read_text(encoding="utf-8") == built.build(), "run: python -m dashboards.build"


def test_the_committed_metrics_page_is_the_one_that_the_catalogue_makes():
    assert metrics_page.PATH.read_text(encoding="utf-8") == metrics_page.build(), "run: python -m dashboards.build"


def test_grafanas_model_of_a_dashboard_knows_every_key(board):
    assert json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) == board


def test_panels_stand_beside_and_below_one_another(board):
    assert layout_problems(board) == []


def test_every_panel_says_what_it_answers_in_which_unit(board):
    assert panel_problems(board) == []


def test_grafanas_own_rules_for_dashboards_hold(board):
    assert lint_problems(board, yaml.safe_load((DASHBOARDS / ".lint").read_text(encoding="utf-8"))["exclusions"]) == []


def test_no_exception_from_grafanas_rules_is_left_over():
    boards = load_dashboards().values()
    exclusions = yaml.safe_load((DASHBOARDS / ".lint").read_text(encoding="utf-8"))["exclusions"]
    for rule, exclusion in exclusions.items():
        for entry in exclusion["entries"]:
            left = {name: facts for name, facts in exclusions.items() if name != rule}
            left[rule] = {"entries": [each for each in exclusion["entries"] if each != entry]}
            assert any(lint_problems(board, left) for board in boards), f"{rule} holds without {entry}"


def test_a_dashboard_is_found_by_its_uid_and_tag_and_tells_the_time_in_utc(board):
    assert board["uid"].startswith("agentgauge-")
    assert (board["timezone"], board["tags"][0]) == ("utc", "agentgauge")
    assert board["uid"] == f"agentgauge-{board['tags'][1]}"


def test_nothing_is_left_of_an_export_for_sharing(board):
    text = json.dumps(board)
    assert "${DS_" not in text
    assert not {"__inputs", "__requires"} & set(board)


def test_every_chosen_set_of_jobs_instances_and_agents_can_be_all(board):
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    extra = _EXTRA.get(board["tags"][1], [])
    assert list(variables) == ["datasource", "job", "instance", "agent", *extra]
    assert {name: variables[name]["allValue"] for name in variables if name != "datasource"} == {
        "job": ".+",
        "instance": ".+",
        **dict.fromkeys(["agent", *extra], ".*"),  # an agent without a name has no label
    }
    assert all(variable["multi"] and variable["includeAll"] for name, variable in variables.items() if name != "datasource")


def test_every_variable_that_can_be_chosen_changes_a_panel(board):
    targets = " ".join(target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))
    names = [variable["name"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    assert [name for name in names if f"${name}" not in targets] == []


def test_a_dashboard_leads_to_the_others_and_marks_where_alerts_fired(board):
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == ("dashboards", ["agentgauge"], True, True)
    (annotation,) = board["annotations"]["list"]
    assert annotation["expr"].startswith("ALERTS{")
    assert annotation["enable"]


def _links(board):
    """Yield the name of the panel and the link of every value that leads somewhere, with the columns of its table."""
    for panel in board["panels"]:
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            for each in override["properties"]:
                if each["id"] == "links":
                    yield from ((panel, link) for link in each["value"])


def test_links_from_values_lead_to_boards_that_exist_and_keep_what_was_chosen(board):
    uids = {each["uid"] for each in load_dashboards().values()}
    for panel, link in _links(board):
        path, _, query = link["url"].partition("?")
        assert path.removeprefix("/d/") in uids
        assert "${__url_time_range}" in query
        assert set(re.findall(r"\$\{(\w+):queryparam\}", query)) >= {"datasource", "job"}
        for label in re.findall(r"\$\{__(?:data\.fields|field\.labels)\.(\w+):", query):
            assert any(f"{label}" in target["expr"] for target in panel["targets"]), f"{panel['title']} has no {label}"


def test_a_table_shows_a_label_as_it_is_and_an_unknown_one_as_nothing(board):
    # or Grafana writes an agent called 2024 as "2.02 K", and one without a name as the text for no rows, and links carry that on
    as_it_is = {"matcher": {"id": "byType", "options": "string"}, "properties": [{"id": "unit", "value": "string"}]}
    as_it_is["properties"].append({"id": "noValue", "value": ""})
    tables = [panel for panel in board["panels"] if panel["type"] == "table"]
    assert [panel["title"] for panel in tables if panel["fieldConfig"]["overrides"][0] != as_it_is] == []


def test_the_table_of_the_fleet_leads_to_the_agent_of_the_row():
    fleet = load_dashboard(DASHBOARDS / "fleet.json")
    urls = [link["url"] for panel, link in _links(fleet) if panel["title"] == "Agents"]
    agent = "var-agent=${__data.fields.gen_ai_agent_name:percentencode}"
    chosen = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    assert urls == [f"/d/agentgauge-agents?{chosen}&{agent}&${{__url_time_range}}"]


def test_every_alert_leads_to_a_dashboard_that_ships():
    uids = {board["uid"] for board in load_dashboards().values()}
    alerts = [rule for group in load_rules()["groups"] for rule in group["rules"] if "alert" in rule]
    missing = {
        rule["alert"]: rule["annotations"]["dashboard_url"]
        for rule in alerts
        if re.match(r"/d/([\w-]+)", rule["annotations"]["dashboard_url"])[1] not in uids
    }
    assert missing == {}


# --- provisioning ---------------------------------------------------------------------------------------------------------


def test_provisioning_finds_the_boards_and_lets_grafana_choose_the_data_source():
    (provider,) = yaml.safe_load((DASHBOARDS / "provisioning/dashboards/agentgauge.yaml").read_text())["providers"]
    assert (provider["type"], provider["folder"], provider["allowUiUpdates"]) == ("file", "agentgauge", False)
    (source,) = yaml.safe_load((DASHBOARDS / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    (destination,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == "trace_id"  # as the pages write it


def test_the_page_about_dashboards_names_each_of_them():
    page = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    assert [name for name in _NAMES if f"agentgauge-{name}" not in page] == []


# --- what the checks find -------------------------------------------------------------------------------------------------


def test_an_overlap_a_shared_id_and_a_panel_off_the_grid_are_found(damaged):
    first, second = damaged["panels"][1:3]
    second["gridPos"] |= {"x": first["gridPos"]["x"] + 1, "w": 24}
    second["id"] = first["id"]
    assert layout_problems(damaged)[:3] == [
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
        (lambda panel: panel["fieldConfig"]["defaults"].pop("noValue"), "a text for no value"),
        (lambda panel: panel["targets"][0].update(expr="rate(x[5m])"), "the window 5m is fixed"),
        (lambda panel: panel["targets"][0].update(exemplar=False), "shows no exemplars"),
        (lambda panel: panel["targets"][0].update(legendFormat=""), "no legend"),
        (lambda panel: panel["targets"][1].update(refId="A"), "a refId comes twice"),
        (lambda panel: panel["datasource"].update(uid="prometheus-1"), "the data source is fixed: prometheus-1"),
    ],
)
def test_a_panel_that_lacks_something_is_found(damaged, damage, problem):
    panel = next(panel for panel in damaged["panels"] if panel["title"] == "Duration of agent runs")
    damage(panel)
    (found,) = panel_problems(damaged)
    assert problem in found


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda board: board["templating"]["list"][0].update(name="source"), "template-datasource-rule"),
        (lambda board: board["templating"]["list"][1].update(multi=False), "template-job-rule"),
        (lambda board: board["templating"]["list"][2].update(allValue=".*"), "template-instance-rule"),
        (lambda board: board["templating"]["list"][3].update(query="agents"), "template-label-promql-rule"),
        (lambda board: board["templating"]["list"][3].update(refresh=1), "template-on-time-change-reload-rule"),
        (lambda board: board.update(editable=True), "uneditable-dashboard"),
        (lambda board: board["panels"][1]["datasource"].update(uid="abc"), "panel-datasource-rule"),
        (lambda board: board["panels"][1].pop("description"), "panel-title-description-rule"),
        (lambda board: board["panels"][1]["fieldConfig"]["defaults"].update(unit="apples"), "panel-units-rule"),
        (lambda board: board["panels"][1].update(targets=[]), "panel-no-targets-rule"),
        (lambda board: board["panels"][1]["targets"][0].update(expr="sum("), "target-promql-rule"),
        (lambda board: _alter(board, "$__range", "5m", "increase", "rate"), "target-rate-interval-rule"),
        (lambda board: _alter(board, 'job=~"$job"', 'job="a"'), "target-job-rule"),
        (lambda board: _alter(board, 'instance=~"$instance",', ""), "target-instance-rule"),
        (lambda board: board["panels"][1]["targets"][0].update(expr=_COUNTER), "target-counter-agg-rule"),
    ],
)
def test_a_break_of_one_of_grafanas_rules_is_found(damaged, damage, rule):
    exclusions = yaml.safe_load((DASHBOARDS / ".lint").read_text(encoding="utf-8"))["exclusions"]
    damage(damaged)
    assert {problem.split(":")[0] for problem in lint_problems(damaged, exclusions)} == {rule}


_COUNTER = 'agent_cost_usd_total{job=~"$job",instance=~"$instance"}'


def _alter(board, *changes):
    target = board["panels"][1]["targets"][0]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)
