"""Dashboards, rules and runbooks speak of series and labels that exist, and every family is on a panel."""

import json
from dataclasses import replace

import pytest

from agentgauge.catalogue import FAMILIES
from expressions import (
    dashboard_expressions,
    load_dashboards,
    load_rules,
    rule_expressions,
    runbook_expressions,
)
from mixin_checks import coverage_problems, known_series, name_problems, panel_problems

_LABELS = sorted({label for family in FAMILIES for label in family.labels})
_SHOWN_NOWHERE = {"system_filesystem_type"}  # a mount point and its device say enough


@pytest.fixture(scope="module")
def panels():
    return [expression for board in load_dashboards().values() for expression in dashboard_expressions(board)]


@pytest.fixture(scope="module")
def rules():
    return list(rule_expressions(load_rules()))


@pytest.fixture(scope="module")
def known(rules):
    return known_series(rule for rule in rules if rule.kind == "record")


def test_every_family_of_the_catalogue_is_on_a_panel(panels):
    assert coverage_problems(expression for expression in panels if expression.kind == "panel") == []


def test_dashboards_name_only_series_and_labels_that_exist(panels, known):
    assert name_problems(panels, known) == []


def test_rules_name_only_series_and_labels_that_exist(rules, known):
    assert name_problems(rules, known) == []


def test_runbooks_name_only_series_and_labels_that_exist(known):
    runbooks = list(runbook_expressions())
    assert len(runbooks) > 10
    assert name_problems(runbooks, known) == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_renamed_family_is_missed_on_the_dashboards_both_ways(panels, known, family):
    renamed = [replace(panel, expr=panel.expr.replace(family.name, family.name + "_renamed")) for panel in panels]
    assert any(family.name in problem for problem in coverage_problems(renamed))
    assert any(f"nothing exports {family.name}_renamed" in problem for problem in name_problems(renamed, known))


@pytest.mark.parametrize("label", [label for label in _LABELS if label not in _SHOWN_NOWHERE])
def test_a_label_that_the_program_drops_is_missed_on_the_dashboards(panels, known, label):
    without = {name: labels - {label} for name, labels in known.items()}
    assert any(problem.endswith(f"label {label}") for problem in name_problems(panels, without))


def test_what_no_panel_shows_is_a_label_that_exists():
    assert set(_LABELS) >= _SHOWN_NOWHERE


@pytest.mark.parametrize("name", sorted(load_dashboards()))
def test_a_data_source_that_is_fixed_is_found_wherever_it_stands(name):
    board = load_dashboards()[name]
    text = json.dumps(board)
    whole = '"uid": "${datasource}"'
    for index in range(text.count(whole)):
        before, *rest = text.split(whole)
        head, tail = whole.join([before, *rest[:index]]), whole.join(rest[index:])
        assert panel_problems(json.loads(f'{head}"uid": "prometheus-1"{tail}')) == ["the data source is fixed: prometheus-1"]


def test_a_label_that_no_series_has_is_found_in_matchers_groupings_and_legends(panels, known):
    panel = next(panel for panel in panels if panel.title == "Failed tool calls")
    for old, new in (("error_type!~", "error!~"), ("(gen_ai_tool_name, error_type)", "(tool)")):
        assert old in panel.expr
        assert name_problems([replace(panel, expr=panel.expr.replace(old, new))], known)
    assert name_problems([replace(panel, legend="{{tool}}")], known) == ["Failed tool calls: no series has the label tool"]


def test_a_renamed_series_and_broken_promql_are_found_in_rules(rules, known):
    renamed = [replace(rule, expr=rule.expr.replace("agentgauge_build_info", "build_info")) for rule in rules]
    assert "AgentgaugeTargetDown: nothing exports build_info" in name_problems(renamed, known)
    broken = next(rule for rule in rules if rule.title == "AgentgaugeWatchdog")
    (problem,) = name_problems([replace(broken, expr="sum(")], known)
    assert problem.startswith("AgentgaugeWatchdog: ")
