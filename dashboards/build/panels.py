"""The kinds of panels that the dashboards are made of: each has a title, a question, a unit, thresholds and named series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build.promql import by_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DATASOURCE",
    "Column",
    "Query",
    "comparison",
    "latency",
    "link_to",
    "number",
    "series",
    "states",
    "table_of",
    "threshold",
]

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

_HEIGHT = 8
_STAT_HEIGHT = 4
_WHOLE_WIDTH = 24
_LINES = "/(limit|objective)$/"
_CELLS = {
    # a label is no number, whatever it looks like; where there is none, a link would carry on the table's text for no rows
    "string": [DynamicConfigValue("unit", "string"), DynamicConfigValue("noValue", "")],
    "number": [DynamicConfigValue("noValue", "-")],
}
_LINE_STYLE = [
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
    DynamicConfigValue("custom.fillOpacity", 0),
]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expression: PromQL, with the dashboard's variables.
        legend: What a series is called, by its labels; a legend that ends in ``limit`` or ``objective`` is drawn as a line
            that other series are read against.
    """

    expression: str
    legend: str

    @property
    def is_line(self) -> bool:
        """Whether the series is what others are read against."""
        return self.legend.endswith(("limit", "objective"))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers in a table that compares things.

    Attributes:
        title: What stands at its head.
        unit: Grafana's name of the unit.
        expression: PromQL with one element for each row that has a number here.
    """

    title: str
    unit: str
    expression: str


def threshold(metric: str) -> Query:
    """The limits that the program exports for a reading, as dashed lines."""
    limits = by_target("agentgauge_threshold", f'metric="{metric}"')
    return Query(f"max by (severity) ({limits})", "{{severity}} limit")


def link_to(uid: str, title: str, **variables: str) -> dict[str, Any]:
    """Make a link from a row or a series to another board, which keeps the time range and what else is chosen.

    Args:
        uid: The other board.
        title: What the link is called.
        variables: What is chosen there instead, by variable: a label's name.
    """
    kept = [name for name in ("datasource", "job", "instance", "agent") if name not in variables]
    parts = [f"${{{name}:queryparam}}" for name in kept]
    parts += [f"var-{name}=${{__data.fields.{label}:percentencode}}" for name, label in variables.items()]
    return {"title": title, "url": f"/d/{uid}?{'&'.join(parts)}&${{__url_time_range}}"}


def series(
    title: str,
    question: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    no_value: str = "not reported here",
    is_stacked: bool = False,
    limit: float | None = None,
    has_exemplars: bool = False,
    link: Mapping[str, Any] | None = None,
) -> timeseries.Panel:
    """Draw queries over time.

    Args:
        title: The panel's title.
        question: The question that the panel answers.
        unit: Grafana's name of the unit.
        queries: What is drawn.
        width: Columns out of 24.
        no_value: What stands there when there are no series.
        is_stacked: Pile the series up, for parts of a whole.
        limit: A fixed limit to draw, in ``unit``.
        has_exemplars: Mark single measured calls that lead to their traces.
        link: Where a series leads.
    """
    style = GraphThresholdsStyleMode.OFF if limit is None else GraphThresholdsStyleMode.DASHED
    panel = timeseries.Panel().thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    panel = _common(panel, title, question, unit, no_value=no_value, width=width).thresholds(_thresholds(limit))
    panel = panel.line_width(1).fill_opacity(30 if is_stacked else 10).show_points(VisibilityMode.AUTO).axis_soft_min(0)
    panel = panel.legend(_legend()).tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if is_stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if any(query.is_line for query in queries):
        panel = panel.override_by_regexp(_LINES, _LINE_STYLE)
    if link is not None:
        panel = panel.override_by_regexp("/.*/", [DynamicConfigValue("links", [dict(link)])])
    for index, query in enumerate(queries):
        target = _target(query, chr(ord("A") + index)).range()
        panel = panel.with_target(target.exemplar(exemplar=True) if has_exemplars and not query.is_line else target)
    return panel


def latency(title: str, question: str, *queries: Query, width: int = 8, no_value: str = "no call") -> timeseries.Panel:
    """Draw durations over time, with exemplars that lead from a slow call to its trace."""
    return series(title, question, "s", *queries, width=width, no_value=no_value, has_exemplars=True)


def number(
    title: str,
    question: str,
    unit: str,
    expression: str,
    *,
    no_value: str,
    steps: Mapping[float, str] | None = None,
    width: int = 4,
) -> stat.Panel:
    """Show one number for the chosen time range.

    Args:
        title: The panel's title.
        question: The question that the panel answers.
        unit: Grafana's name of the unit.
        expression: PromQL with one element as its result.
        no_value: What stands there when there is no element.
        steps: Colours by the value from which they hold; below the first one it is green.
        width: Columns out of 24.
    """
    panel = _common(stat.Panel(), title, question, unit, no_value=no_value, width=width, height=_STAT_HEIGHT)
    return panel.thresholds(_steps(steps or {})).with_target(_target(Query(expression, title)).instant())


def table_of(
    title: str,
    question: str,
    unit: str,
    expression: str,
    columns: Sequence[str],
    *,
    width: int = 8,
    no_value: str,
    links: Mapping[str, Mapping[str, Any]] | None = None,
) -> table.Panel:
    """List the elements that an expression has now, the largest first.

    Args:
        title: The panel's title.
        question: The question that the panel answers.
        unit: Grafana's name of the value's unit.
        expression: PromQL, evaluated at the end of the time range.
        columns: The labels to show, in their order, before the value.
        width: Columns out of 24.
        no_value: What stands there when there are no rows.
        links: Where the values of a column lead, by column.
    """
    order = {name: index for index, name in enumerate((*columns, "Value"))}
    keep = DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(order)}})
    sort = DataTransformerConfig(id_val="organize", options={"indexByName": order, "excludeByName": {}, "renameByName": {}})
    panel = _table(title, question, unit, no_value=no_value, width=width)
    target = _target(Query(expression, "")).instant().format(PromQueryFormat.TABLE)
    by_value = common.TableSortByFieldState().display_name("Value").desc(True)
    panel = _linked(panel, links)
    return panel.with_target(target).with_transformation(keep).with_transformation(sort).sort_by([by_value])


def comparison(
    title: str,
    question: str,
    keys: Sequence[str],
    columns: Sequence[Column],
    *,
    no_value: str,
    width: int = 24,
    links: Mapping[str, Mapping[str, Any]] | None = None,
) -> table.Panel:
    """Compare things in several numbers: a row each, the one with the largest first number first.

    Args:
        title: The panel's title.
        question: The question that the panel answers.
        keys: The labels that tell the things apart; those of every column's elements.
        columns: The numbers.
        no_value: What stands there when there are no rows.
        width: Columns of the grid, out of 24.
        links: Where the values of a column lead, by column.
    """
    height = _HEIGHT if width < _WHOLE_WIDTH else _HEIGHT + 2
    names = {f"Value #{chr(ord('A') + index)}": column.title for index, column in enumerate(columns)}
    order = {name: index for index, name in enumerate((*keys, *names))}
    panel = _table(title, question, "short", no_value=no_value, width=width, height=height)
    for index, column in enumerate(columns):
        target = _target(Query(column.expression, ""), chr(ord("A") + index)).instant().format(PromQueryFormat.TABLE)
        panel = panel.with_target(target).override_by_name(column.title, [DynamicConfigValue("unit", column.unit)])
    for kind, options in (
        ("merge", {}),
        ("filterFieldsByName", {"include": {"names": list(order)}}),
        ("organize", {"indexByName": order, "excludeByName": {}, "renameByName": names}),
    ):
        panel = panel.with_transformation(DataTransformerConfig(id_val=kind, options=options))
    first = common.TableSortByFieldState().display_name(columns[0].title).desc(True)
    return _linked(panel, links).sort_by([first])


def states(title: str, question: str, query: Query, *, width: int, no_value: str) -> statetimeline.Panel:
    """Draw which of several states held when: one lane a series, coloured while its value is 1."""
    panel = _common(statetimeline.Panel(), title, question, "short", no_value=no_value, width=width)
    panel = panel.thresholds(_steps({1: "blue"}, base="transparent")).show_value(VisibilityMode.NEVER).legend(_legend())
    return panel.with_target(_target(query).range())


def _table(title: str, question: str, unit: str, *, no_value: str, width: int, height: int = _HEIGHT) -> table.Panel:
    panel = _common(table.Panel(), title, question, unit, no_value=no_value, width=width, height=height)
    for kind, properties in _CELLS.items():
        panel = panel.override_by_field_type(kind, properties)
    return panel.thresholds(_thresholds(None))


def _linked(panel: Any, links: Mapping[str, Mapping[str, Any]] | None) -> Any:
    for column, link in (links or {}).items():
        panel = panel.override_by_name(column, [DynamicConfigValue("links", [dict(link)])])
    return panel


def _common(panel: Any, title: str, question: str, unit: str, *, no_value: str, width: int, height: int = _HEIGHT) -> Any:
    panel = panel.title(title).description(question).unit(unit).datasource(DATASOURCE)
    return panel.span(width).height(height).no_value(no_value)


def _target(query: Query, ref_id: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(ref_id).datasource(DATASOURCE).expr(query.expression).legend_format(query.legend)


def _thresholds(limit: float | None) -> dashboard.ThresholdsConfig:
    return _steps({} if limit is None else {limit: "red"})


def _steps(steps: Mapping[float, str], base: str = "green") -> dashboard.ThresholdsConfig:
    colours = [Threshold(value=None, color=base), *(Threshold(value=value, color=colour) for value, colour in steps.items())]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colours)


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return legend.show_legend(True).calcs([])
