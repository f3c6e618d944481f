"""What can be wrong with dashboards and rules: each function returns one line for each problem, and nothing when all is well."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import promql_parser

from agentgauge.catalogue import FAMILIES, Family, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from expressions import Expression

_TARGET_LABELS = frozenset({"job", "instance"})
_SCRAPE_NAMES = ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling")


def known_series(recorded: Iterable[Expression] = ()) -> dict[str, frozenset[str]]:
    """Map every name of a series that may exist to its labels, those of the target included.

    Args:
        recorded: Recording rules, whose labels are those of the expressions.
    """
    known = {name: frozenset() for name in _SCRAPE_NAMES}
    known["ALERTS"] = frozenset({"alertname", "alertstate", "severity", "gen_ai_agent_name"})
    for family in FAMILIES:
        known |= dict.fromkeys(series_names(family), frozenset(family.labels))
        if family.kind is Kind.HISTOGRAM:
            known[f"{family.name}_bucket"] |= {"le"}
    known["target_info"] |= {"service_name"}
    known = {name: labels | _TARGET_LABELS for name, labels in known.items()}
    for expression in recorded:
        labels = [known[selector.name] for selector in _selectors(expression.expr) if selector.name in known]
        known[expression.title] = frozenset().union(*labels)
    return known


def series_names(family: Family) -> list[str]:
    """Spell the names of a family's series as Prometheus stores them."""
    if family.kind is Kind.HISTOGRAM:
        return [f"{family.name}_{suffix}" for suffix in ("bucket", "count", "sum")]
    return [family.name]


def name_problems(expressions: Iterable[Expression], known: Mapping[str, frozenset[str]]) -> list[str]:
    """Find names of series and labels that nothing exports, and PromQL that does not parse."""
    problems = []
    for expression in expressions:
        try:
            selectors = list(_selectors(expression.expr))
        except ValueError as error:
            problems.append(f"{expression.title}: {error}")
            continue
        available = set()
        for selector in selectors:
            if selector.name is not None and selector.name not in known:
                problems.append(f"{expression.title}: nothing exports {selector.name}")
                continue
            labels = known[selector.name] if selector.name else frozenset().union(*known.values())
            available |= labels
            problems += [
                f"{expression.title}: {selector.name} has no label {matcher.name}"
                for matcher in selector.matchers.matchers
                if matcher.name not in labels
            ]
        wanted = _grouping_labels(expression.expr) | expression.legend_labels
        problems += [f"{expression.title}: no series has the label {label}" for label in sorted(wanted - available)]
    return problems


def coverage_problems(expressions: Iterable[Expression]) -> list[str]:
    """Find families of the catalogue that no expression shows."""
    shown = {selector.name for expression in expressions for selector in _selectors(expression.expr)}
    return [f"no panel shows {family.name}" for family in FAMILIES if shown.isdisjoint(series_names(family))]


def panel_problems(board: Mapping[str, Any]) -> list[str]:
    """Find panels that lack what a reader needs, and windows and data sources that are fixed."""
    problems = []
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        name = panel.get("title") or f"panel {panel['id']}"
        defaults = panel["fieldConfig"]["defaults"]
        needed = {
            "a title": panel.get("title"),
            "a question": panel.get("description", "").count("?"),
            "a unit": defaults.get("unit"),
            "thresholds": defaults.get("thresholds", {}).get("steps"),
            "targets": panel.get("targets"),
        }
        problems += [f"{name}: has not got {what}" for what, value in needed.items() if not value]
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) < len(refs):
            problems.append(f"{name}: a refId comes twice")
        for target in panel["targets"]:
            if any(not window.startswith("$__") for window in re.findall(r"\[([^\]]*)\]", target["expr"])):
                problems.append(f"{name}: a window is fixed in {target['expr']}")
            if target["legendFormat"] == "" and target.get("format") != "table":
                problems.append(f"{name}: a series has no legend")
        if "Duration of" in name and any(
            "_bucket" in target["expr"] and not target.get("exemplar") for target in panel["targets"]
        ):
            problems.append(f"{name}: shows no exemplars")
    used = set(_values(board, "datasource"))
    problems += [f"the data source is fixed: {source}" for source in used - {"${datasource}"}]
    return problems


def layout_problems(board: Mapping[str, Any]) -> list[str]:
    """Find panels that overlap, leave the grid of 24 columns, or share an id."""
    problems = []
    ids = [panel["id"] for panel in board["panels"]]
    problems += [f"the id {number} comes twice" for number in sorted({number for number in ids if ids.count(number) > 1})]
    for panel in board["panels"]:
        if not 0 < panel["gridPos"]["w"] <= 24 - panel["gridPos"]["x"]:
            problems.append(f"{panel['title']}: leaves the grid")
    for one, other in itertools.combinations(board["panels"], 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            problems.append(f"{one['title']} overlaps {other['title']}")
    return problems


def rule_problems(rules: Mapping[str, Any], tests: Mapping[str, Any], runbooks: set[str]) -> list[str]:
    """Find alerts without what their receiver needs, and without a case that fires and one that stays silent.

    Args:
        rules: A rule file's content.
        tests: The content of the file of its unit tests.
        runbooks: The names of the runbooks that there are.
    """
    cases = [case for test in tests["tests"] for case in test.get("alert_rule_test", ())]
    fired = {(case["alertname"], alert["exp_labels"]["severity"]) for case in cases for alert in case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]} | {"AgentgaugeWatchdog"}  # it is never silent
    problems = []
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
        name, annotations = rule["alert"], rule["annotations"]
        severity = rule["labels"].get("severity")
        facts = {
            "its name starts with Agentgauge": re.fullmatch("Agentgauge([A-Z][a-z]+)+", name),
            "its severity is known": severity in {"critical", "warning", "info"},
            "its labels have no value in them": "$value" not in str(rule["labels"]),
            "its summary is static": annotations.get("summary") and "{{" not in annotations["summary"],
            "it has a description": annotations.get("description"),
            "it leads to its runbook": annotations.get("runbook_url", "").endswith(f"/blob/main/docs/runbooks/{name}.md"),
            "its runbook exists": name in runbooks,
            "it leads to the dashboard": annotations.get("dashboard_url", "").startswith("/d/agentgauge-agents"),
            "a case makes it fire": (name, severity) in fired,
            "a case keeps it silent": name in silent,
        }
        problems += [f"{name}: it is not so that {fact}" for fact, is_true in facts.items() if not is_true]
    return problems


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (is_beside or is_below)


@lru_cache(maxsize=4096)  # one renamed family leaves most expressions as they are
def _nodes(expr: str) -> list[Any]:
    nodes: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), lambda node: nodes.append(node) is None)
    return nodes


def _selectors(expr: str) -> Iterator[promql_parser.VectorSelector]:
    for node in _nodes(expr):
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        elif isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector


def _grouping_labels(expr: str) -> set[str]:
    labels: set[str] = set()
    for node in _nodes(expr):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels |= set(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            labels |= set(node.modifier.matching.labels if node.modifier.matching else ())
            labels |= set(node.modifier.group_labels or ())
    return labels


def _values(node: object, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, dict):
                yield value["uid"]
            else:
                yield from _values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)
