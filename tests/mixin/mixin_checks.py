"""What can be wrong with dashboards and rules: each function returns one line for each problem, and nothing when all is well."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import promql_parser

from agentgauge.catalogue import FAMILIES, Family, Kind
from expressions import RUNBOOK_URL, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from expressions import Expression

_MOST_LEVELS = 4
_NEVER_SILENT = {"AgentgaugeWatchdog"}
_COLUMNS = 24
_RUNBOOK_PARTS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]
_TRACED = re.compile(r"(?:gen_ai|agent)_\w+_seconds_bucket")  # of calls, which have traces; the reader wants the slow ones
_TARGET_LABELS = frozenset({"job", "instance"})
_SCRAPE_NAMES = ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling")
SERVER_SERIES = {
    "prometheus_rule_evaluation_failures_total": {"rule_group"},
    "prometheus_notifications_errors_total": {"alertmanager"},
    "prometheus_notifications_dropped_total": set(),
    "alertmanager_notifications_failed_total": {"integration"},
}
"""What Prometheus and Alertmanager say of themselves and rules ask for, with the labels that every release has."""


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
    known |= {name: frozenset(labels) for name, labels in SERVER_SERIES.items()}
    known = {name: labels | _TARGET_LABELS for name, labels in known.items()}
    recorded = list(recorded)
    for _ in range(_MOST_LEVELS):  # one may be made of others, which stand in later files
        for expression in recorded:
            labels = [known[selector.name] for selector in selectors_of(expression.expr) if selector.name in known]
            made = re.findall(r'label_replace\(.*?, "(\w+)", "[^"]*", "\w*", "[^"]*"\s*\)', expression.expr, re.DOTALL)
            known[expression.title] = frozenset(made).union(*labels)
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
            selectors = list(selectors_of(expression.expr))
        except ValueError as error:
            problems.append(f"{expression.title}: {error}")
            continue
        available = _made_labels(expression.expr)
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
    shown = {selector.name for expression in expressions for selector in selectors_of(expression.expr)}
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
            "a text for no value": defaults.get("noValue"),
            "thresholds": defaults.get("thresholds", {}).get("steps"),
            "targets": panel.get("targets"),
        }
        problems += [f"{name}: has not got {what}" for what, value in needed.items() if not value]
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) < len(refs):
            problems.append(f"{name}: a refId comes twice")
        told = f"{panel.get('description', '')} {' '.join(target['legendFormat'] for target in panel['targets'])}"
        for target in panel["targets"]:
            fixed = [window for window in re.findall(r"\[([^\]]*)\]", target["expr"]) if not window.startswith("$__")]
            problems += [
                f"{name}: the window {window} is fixed, and no reader is told" for window in fixed if _spelled(window) not in told
            ]
            if target["legendFormat"] == "" and target.get("format") != "table":
                problems.append(f"{name}: a series has no legend")
        problems += [
            f"{name}: shows no exemplars"
            for target in panel["targets"]
            if panel["type"] == "timeseries" and _TRACED.search(target["expr"]) and not target.get("exemplar")
        ]
    used = set(_values(board, "datasource"))
    problems += [f"the data source is fixed: {source}" for source in used - {"${datasource}"}]
    return problems


def layout_problems(board: Mapping[str, Any]) -> list[str]:
    """Find panels that overlap, leave the grid of 24 columns, leave a part of it empty, or share an id."""
    problems = []
    ids = [panel["id"] for panel in board["panels"]]
    problems += [f"the id {number} comes twice" for number in sorted({number for number in ids if ids.count(number) > 1})]
    for panel in board["panels"]:
        if not 0 < panel["gridPos"]["w"] <= _COLUMNS - panel["gridPos"]["x"]:
            problems.append(f"{panel['title']}: leaves the grid")
    lines = Counter[int]()
    for panel in board["panels"]:
        lines.update(
            dict.fromkeys(range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"]), panel["gridPos"]["w"])
        )
    problems += [f"line {line} is not full" for line, width in sorted(lines.items()) if width < _COLUMNS]
    for one, other in itertools.combinations(board["panels"], 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            problems.append(f"{one['title']} overlaps {other['title']}")
    return problems


def rule_problems(rules: Mapping[str, Any], tests: Mapping[str, Any], runbooks: set[str], boards: set[str]) -> list[str]:
    """Find alerts without what their receiver needs, and without cases that fire, stay silent and resolve.

    Args:
        rules: The content of the rule files.
        tests: The content of the files of their unit tests.
        runbooks: The names of the runbooks that there are.
        boards: The identifiers of the dashboards that there are.
    """
    cases = [case for test in tests["tests"] for case in test.get("alert_rule_test", ())]
    fired = {(case["alertname"], alert["exp_labels"]["severity"]) for case in cases for alert in case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]} | _NEVER_SILENT
    resolved = {name for test in tests["tests"] for name in _resolved(test.get("alert_rule_test", ()))} | _NEVER_SILENT
    problems = []
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
        name, annotations = rule["alert"], rule["annotations"]
        severity = rule["labels"].get("severity")
        board = re.match(r"/d/([\w-]+)(\?|$)", annotations.get("dashboard_url", ""))
        facts = {
            "its name starts with Agentgauge": re.fullmatch("Agentgauge([A-Z][a-z]+)+", name),
            "its severity is known": severity in {"critical", "warning", "info"},
            "its labels have no value in them": "$value" not in str(rule["labels"]),
            "it waits before it fires": "for" in rule or name in _NEVER_SILENT,
            "its summary is static": annotations.get("summary") and "{{" not in annotations["summary"],
            "it has a description": annotations.get("description"),
            "it leads to its runbook": annotations.get("runbook_url") == f"{RUNBOOK_URL}{name}.md",
            "its runbook exists": name in runbooks,
            "it leads to a dashboard that exists": board and board[1] in boards,
            "a case makes it fire": (name, severity) in fired,
            "a case keeps it silent": name in silent,
            "a case resolves it": name in resolved,
        }
        problems += [f"{name}: it is not so that {fact}" for fact, is_true in facts.items() if not is_true]
    return problems


def runbook_problems(runbooks: Mapping[str, str]) -> list[str]:
    """Find runbooks, given by name and text, that leave open what it means, whom it hurts, what to ask or what to do.

    Who is woken at night reads them all alike: the same parts, by the same names, in the same order.
    """
    problems = []
    for name, text in runbooks.items():
        parts = re.findall(r"^## (.+)$\n\n[^#\n]", text, re.MULTILINE)  # that say something
        facts = {
            "its title is the alert's name": text.startswith(f"# {name}\n"),
            "it says what it means": "Meaning" in parts,
            "it says what the impact is": "Impact" in parts,
            "it says what to look at": "Diagnosis" in parts,
            "it has a query to run": "```promql\n" in text,
            "it says what to do": "Mitigation" in parts,
            "its parts stand in order, and there are no others": re.findall(r"^##.*", text, re.MULTILINE) == _RUNBOOK_PARTS,
            "it has no two blank lines in a row": "\n\n\n" not in text,
        }
        problems += [f"{name}: it is not so that {fact}" for fact, is_true in facts.items() if not is_true]
    return problems


def _resolved(cases: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the alerts that one test sees fire and later sees silent."""
    fired = set()
    for case in sorted(cases, key=lambda case: milliseconds(case["eval_time"])):
        if case["exp_alerts"]:
            fired.add(case["alertname"])
        elif case["alertname"] in fired:
            yield case["alertname"]


def _spelled(window: str) -> str:
    return re.sub(r"(\d+)m$", r"\1 min", re.sub(r"(\d+)([hd])$", r"\1 \2", window))


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (is_beside or is_below)


@lru_cache(maxsize=4096)  # one renamed family leaves most expressions as they are
def nodes_of(expr: str) -> list[Any]:
    """Parse PromQL and list the nodes of its tree."""
    nodes: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), lambda node: nodes.append(node) is None)
    return nodes


def selectors_of(expr: str) -> Iterator[promql_parser.VectorSelector]:
    """Yield what an expression selects, each at least once."""
    for node in nodes_of(expr):
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        elif isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector


def _grouping_labels(expr: str) -> set[str]:
    labels: set[str] = set()
    for node in nodes_of(expr):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels |= set(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            labels |= set(node.modifier.matching.labels if node.modifier.matching else ())
            labels |= set(node.modifier.group_labels or ())
    return labels


def _made_labels(expr: str) -> set[str]:
    calls = (node for node in nodes_of(expr) if isinstance(node, promql_parser.Call) and node.func.name == "label_replace")
    return {list(call.args)[1].val for call in calls}


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
