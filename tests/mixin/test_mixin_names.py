"""Dashboards, rules and runbooks speak of series and labels that exist, and every family is on a panel."""

from dataclasses import replace

import pytest

from agentgauge.catalogue import FAMILIES
from expressions import (
    dashboard_expressions,
    load_dashboard,
    load_rules,
    rule_expressions,
    runbook_expressions,
)
from mixin_checks import coverage_problems, known_series, name_problems


@pytest.fixture(scope="module")
def panels():
    return list(dashboard_expressions(load_dashboard()))


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
def test_a_renamed_family_is_missed_on_the_dashboard_both_ways(panels, known, family):
    renamed = [replace(panel, expr=panel.expr.replace(family.name, family.name + "_renamed")) for panel in panels]
    assert any(family.name in problem for problem in coverage_problems(renamed))
    assert any(f"nothing exports {family.name}_renamed" in problem for problem in name_problems(renamed, known))


def test_a_label_that_no_series_has_is_found_in_matchers_groupings_and_legends(panels, known):
    panel = next(panel for panel in panels if panel.title == "Failed tool calls")
    for old, new in (("error_type!~", "error!~"), ("(gen_ai_tool_name, error_type)", "(tool)")):
        assert old in panel.expr
        assert name_problems([replace(panel, expr=panel.expr.replace(old, new))], known)
    assert name_problems([replace(panel, legend="{{tool}}")], known) == ["Failed tool calls: no series has the label tool"]


def test_a_renamed_series_and_broken_promql_are_found_in_rules(rules, known):
    renamed = [replace(rule, expr=rule.expr.replace("agentgauge_build_info", "build_info")) for rule in rules]
    assert "AgentgaugeTargetDown: nothing exports build_info" in name_problems(renamed, known)
    (problem,) = name_problems([replace(rules[0], expr="sum(")], known)
    assert problem.startswith("AgentgaugeWatchdog: ")
