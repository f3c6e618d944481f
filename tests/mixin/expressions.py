"""Every PromQL expression that ships: of dashboards, rules and runbooks, with Grafana's variables substituted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"
DASHBOARD = DASHBOARDS / "agents.json"
RULES = ROOT / "alerts" / "rules"
RULE_TESTS = ROOT / "alerts" / "tests"
ALERTMANAGER = ROOT / "alerts" / "alertmanager.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"
RUNBOOK_URL = "https://github.com/agentgauge/agentgauge/blob/main/docs/runbooks/"

ALL = {
    "job": ".+",
    "instance": ".+",
    **dict.fromkeys(("agent", "model", "tool", "workflow", "component", "breaker"), ".*"),
    "__rate_interval": "1m",
    "__range": "15m",
}
"""The variables as Grafana fills them when "All" is chosen; several values are written ``(a|b)``."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression.

    Attributes:
        title: Where it stands: the panel, variable, annotation, rule or runbook.
        expr: PromQL that Prometheus evaluates.
        legend: Grafana's format of a series' name, with labels as ``{{label}}``; empty where there is none.
        kind: ``panel``, ``variable``, ``annotation``, ``alert``, ``record`` or ``runbook``.
        is_instant: Whether Grafana asks for one moment and not for a range.
    """

    title: str
    expr: str
    legend: str
    kind: str
    is_instant: bool = False

    @property
    def legend_labels(self) -> set[str]:
        """The labels that the legend names."""
        return set(re.findall(r"{{\s*(\w+)\s*}}", self.legend))


def read_yaml(text: str, loader: str = "SafeLoader") -> Any:
    """Read YAML by the loader of this name, in a tenth of the time where libyaml is found."""
    return yaml.load(text, getattr(yaml, f"C{loader}", getattr(yaml, loader)))


def load_dashboard(path: Path = DASHBOARD) -> dict[str, Any]:
    """Read a dashboard's JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def dashboard_uids() -> set[str]:
    """Return the identifiers under which the dashboards are known to Grafana."""
    return {json.loads(path.read_text(encoding="utf-8"))["uid"] for path in (ROOT / "dashboards").glob("*.json")}


def load_dashboards() -> dict[str, dict[str, Any]]:
    """Read every dashboard, by the name of its file."""
    return {path.stem: load_dashboard(path) for path in sorted(DASHBOARDS.glob("*.json"))}


def load_rules(path: Path = RULES) -> dict[str, Any]:
    """Read a rule file, or all those of a directory as if they were one."""
    return {"groups": _joined(path, "groups")}


def load_cases(path: Path = RULE_TESTS) -> dict[str, Any]:
    """Read the unit tests of a rule file, or all those of a directory as if they were one."""
    return {"tests": _joined(path, "tests")}


def _joined(path: Path, key: str) -> list[Any]:
    files = sorted(path.glob("*.yml")) if path.is_dir() else [path]
    return [item for file in files for item in read_yaml(file.read_text(encoding="utf-8"))[key]]


def substitute(expr: str, values: Mapping[str, str]) -> str:
    """Put values in the place of ``$name`` and ``${name}``; ``$1`` is what a pattern of PromQL caught."""

    def value(match: re.Match[str]) -> str:
        return values[match.group(1) or match.group(2)]

    return re.sub(r"\$(?:{([a-z_]\w*)}|([a-z_]\w*))", value, expr)


def dashboard_expressions(board: Mapping[str, Any], values: Mapping[str, str] = ALL) -> Iterator[Expression]:
    """Yield what a dashboard asks Prometheus; of ``label_values(selector, label)`` the series with that label."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            selector, label = found.groups()
            matchers = substitute(selector, values).removesuffix("}").replace("{", ",", 1)
            name, *others = matchers.split(",", 1)
            matchers = ",".join([*others, f'{label}!=""'])
            yield Expression(variable["name"], f"group by ({label}) ({name}{{{matchers}}})", f"{{{{{label}}}}}", "variable")
    for annotation in board["annotations"]["list"]:
        yield Expression(annotation["name"], substitute(annotation["expr"], values), annotation["titleFormat"], "annotation")
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expr = substitute(target["expr"], values)
            is_table = target.get("format") == "table"
            legend = "" if is_table else target["legendFormat"]
            if is_table:
                kept = next(each for each in panel["transformations"] if each["id"] == "filterFieldsByName")
                columns = kept["options"]["include"]["names"]
                legend = " ".join(f"{{{{{name}}}}}" for name in columns if not name.startswith("Value"))
            yield Expression(panel["title"], expr, legend, "panel", is_instant=target["instant"])


def rule_expressions(rules: Mapping[str, Any]) -> Iterator[Expression]:
    """Yield the expressions of alerts and recording rules."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            kind = "alert" if "alert" in rule else "record"
            yield Expression(rule[kind], rule["expr"], "", kind)


def runbook_expressions(directory: Path = RUNBOOKS) -> Iterator[Expression]:
    """Yield what the runbooks tell their readers to ask Prometheus."""
    for path in sorted(directory.glob("*.md")):
        for expr in re.findall(r"```promql\n(.+?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            yield Expression(path.stem, expr, "", "runbook")


def scaled_rules(rules: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the rules with every duration multiplied, so that what takes minutes is over in seconds.

    Args:
        rules: A rule file's content.
        factor: What ``for``, ``keep_firing_for``, ranges, and numbers that bear the comment ``# seconds`` are multiplied by.
    """
    return {"groups": [{**group, "rules": [_scaled(rule, factor) for rule in group["rules"]]} for group in rules["groups"]]}


def _scaled(rule: Mapping[str, Any], factor: float) -> dict[str, Any]:
    def duration(match: re.Match[str]) -> str:
        return f"{milliseconds(match.group()) * factor:.0f}ms"

    def brackets(match: re.Match[str]) -> str:
        return re.sub(r"(?:\d+[a-z]+)+", duration, match.group())

    expr = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", brackets, rule["expr"])
    expr = re.sub(r"\d+(?=\s*# seconds)", lambda match: f"{float(match.group()) * factor:g}", expr)
    durations = {key: f"{milliseconds(rule[key]) * factor:.0f}ms" for key in ("for", "keep_firing_for") if key in rule}
    return {**rule, "expr": expr, **durations}


def milliseconds(duration: str) -> float:
    """Return a duration, as Prometheus spells it, in milliseconds."""
    units = {"ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdw])", duration))
