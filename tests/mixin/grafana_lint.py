"""The rules of Grafana's dashboard-linter, as it documents them; ``dashboards/.lint`` has the exceptions, with reasons."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import promql_parser

from expressions import ALL, substitute
from mixin_checks import nodes_of, selectors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RATE_INTERVAL = "11277s"  # a window that nobody would write
_WINDOWS = {"__rate_interval": _RATE_INTERVAL, "__range": "867s"}
_UNITS = frozenset(
    {
        *("short", "none", "percentunit", "s", "bytes", "binBps", "ops", "iops", "pps"),
        *("currencyUSD", "celsius", "watt", "dateTimeAsIso", "string"),
    }
)
"""Those of Grafana's units that the boards use; a typing mistake is none of them."""


def lint_problems(board: Mapping[str, Any], exclusions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find breaks of the linter's rules, each as ``rule: what``, those that are excluded left out.

    Args:
        board: A dashboard.
        exclusions: The linter's own format: by rule, ``entries`` with ``dashboard`` and ``panel``.
    """
    return [
        f"{rule}: {panel}: {text}"
        for rule, panel, text in _found(board)
        if {"dashboard": board["title"], "panel": panel} not in exclusions.get(rule, {}).get("entries", ())
    ]


def _found(board: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if board["editable"]:
        yield "uneditable-dashboard", "", "it can be edited in place"
    yield from _of_variables({variable["name"]: variable for variable in board["templating"]["list"]})
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield from _of_panel(panel)
            for target in panel["targets"]:
                yield from ((rule, panel["title"], text) for rule, text in _of_target(target["expr"]))


def _of_variables(variables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    source = variables.get("datasource", {})
    if (source.get("type"), source.get("label"), source.get("query")) != ("datasource", "Data source", "prometheus"):
        yield "template-datasource-rule", "", "there is no choice of a data source"
    for name, label in (("job", "Job"), ("instance", "Instance")):
        variable = variables.get(name, {})
        facts = (variable.get("type"), variable.get("label"), variable.get("multi"), variable.get("allValue"))
        if facts != ("query", label, True, ".+") or variable["datasource"]["uid"] != "${datasource}":
            yield f"template-{name}-rule", "", f"{name} is not as it should be: {facts}"
    for name, variable in variables.items():
        if variable["type"] != "query":
            continue
        query = variable["query"]
        selector = query.removeprefix("label_values(").rpartition(",")[0]
        if not query.startswith("label_values(") or _parse_error(selector):
            yield "template-label-promql-rule", "", f"{name}: {query}"
        if variable["refresh"] != 2:  # on every change of the time range
            yield "template-on-time-change-reload-rule", "", name


def _of_panel(panel: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    title = panel.get("title", "")
    if not title or not panel.get("description"):
        yield "panel-title-description-rule", title, "title or description are missing"
    if panel["datasource"]["uid"] != "${datasource}":
        yield "panel-datasource-rule", title, str(panel["datasource"])
    if not panel["targets"]:
        yield "panel-no-targets-rule", title, "it asks nothing"
    overrides = [each for one in panel["fieldConfig"].get("overrides", ()) for each in one["properties"]]
    units = {panel["fieldConfig"]["defaults"].get("unit"), *(each["value"] for each in overrides if each["id"] == "unit")}
    if units - _UNITS:
        yield "panel-units-rule", title, str(units - _UNITS)


def _of_target(expr: str) -> Iterator[tuple[str, str]]:
    text = _with_windows(expr)
    if error := _parse_error(text):
        yield "target-promql-rule", error
        return
    for name in ("job", "instance"):
        for selector in selectors_of(text):
            if f'{name}=~"${name}"' not in map(str, selector.matchers.matchers):
                yield f"target-{name}-rule", f"{selector.name} in {expr}"
    ranged = [node for node in nodes_of(text) if isinstance(node, promql_parser.MatrixSelector)]
    bare = Counter(node.name for node in nodes_of(text) if isinstance(node, promql_parser.VectorSelector))
    bare -= Counter(node.vector_selector.name for node in ranged)  # whose own selector is a node, too
    if any((name or "").endswith("_total") for name in bare):
        yield "target-counter-agg-rule", expr
    for node in nodes_of(text):
        if isinstance(node, promql_parser.Call):
            windows = [argument for argument in node.args if isinstance(argument, promql_parser.MatrixSelector)]
            yield from ((rule, expr) for argument in windows for rule in _of_window(node.func.name, argument))


def _of_window(function: str, argument: promql_parser.MatrixSelector) -> Iterator[str]:
    if (argument.vector_selector.name or "").endswith("_total") and function not in {"rate", "irate", "increase"}:
        yield "target-counter-agg-rule"
    if function in {"rate", "irate"} and f"{argument.range.total_seconds():.0f}s" != _RATE_INTERVAL:
        yield "target-rate-interval-rule"


def _with_windows(expr: str) -> str:
    return substitute(expr, _WINDOWS | {name: f"${name}" for name in ALL if name not in _WINDOWS})


def _parse_error(text: str) -> str:
    try:
        promql_parser.parse(_with_windows(text))
    except ValueError as error:
        return f"{text}: {error}"
    return ""
