"""What every board shares: its frame, its variables, its links to the others and the marks where alerts fired."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.build.panels import DATASOURCE
from dashboards.build.promql import ALERTS_FIRING, by_agent, by_target

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BREAKER", "COMPONENT", "DIRECTORY", "MODEL", "TAG", "TOOL", "WORKFLOW", "Board", "Variable"]

DIRECTORY = Path(__file__).parents[1]
TAG = "agentgauge"


@dataclass(frozen=True, slots=True)
class Variable:
    """What a reader chooses, beside data source, job, instance and agent.

    Attributes:
        name: The variable's name.
        label: What stands before the choice.
        query: Grafana's query for the values.
    """

    name: str
    label: str
    query: str


MODEL = Variable(
    "model", "Model", f"label_values({by_target('gen_ai_client_operation_duration_seconds_count')}, gen_ai_request_model)"
)
TOOL = Variable("tool", "Tool", f"label_values({by_agent('gen_ai_execute_tool_duration_seconds_count')}, gen_ai_tool_name)")
WORKFLOW = Variable(
    "workflow", "Workflow", f"label_values({by_target('gen_ai_invoke_workflow_duration_seconds_count')}, gen_ai_workflow_name)"
)
COMPONENT = Variable("component", "Component", 'label_values({job=~"$job",instance=~"$instance"}, component)')
BREAKER = Variable("breaker", "Circuit breaker", f"label_values({by_target('agent_circuit_breaker_state')}, circuit_breaker)")


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        name: Its file's name, and with a prefix its uid, both of which stay for ever.
        title: Its title.
        description: What it is for.
        rows: Titles of rows, and what makes their panels.
        variables: What a reader chooses beside the usual.
    """

    name: str
    title: str
    description: str
    rows: tuple[tuple[str, Callable[[], list[Any]]], ...]
    variables: tuple[Variable, ...] = ()

    @property
    def path(self) -> Path:
        """The file that is committed."""
        return DIRECTORY / f"{self.name}.json"

    @property
    def uid(self) -> str:
        """What alerts and other boards lead here by."""
        return f"agentgauge-{self.name}"

    def build(self) -> str:
        """Return the dashboard as the JSON text that Grafana imports."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .tags([TAG, self.name, "prometheus"])
            .description(f"{self.description} Made by agentgauge.")
            .readonly()
            .timezone("utc")
            .time("now-1h", "now")
            .refresh("30s")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(_links())
            .annotation(_alerts())
        )
        for variable in (*_variables(), *(_query(extra, all_value=".*") for extra in self.variables)):
            board = board.with_variable(variable)
        panel_id = 0
        for title, panels in self.rows:
            panel_id += 1
            board = board.with_row(dashboard.Row(title).id(panel_id))
            for panel in panels():
                panel_id += 1
                board = board.with_panel(panel.id(panel_id))
        return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"

    def write(self) -> Path:
        """Write the dashboard to the file that is committed, and return its path."""
        self.path.write_text(self.build(), encoding="utf-8")
        return self.path


def _variables() -> list[Any]:
    # An agent that is not known has no label, which only ".*" matches. Jobs and instances are always known, and Prometheus
    # refuses a selector of which every part matches the empty string.
    job = Variable("job", "Job", "label_values(agentgauge_build_info, job)")
    instance = Variable("instance", "Instance", 'label_values(agentgauge_build_info{job=~"$job"}, instance)')
    agent = Variable("agent", "Agent", 'label_values({job=~"$job",instance=~"$instance"}, gen_ai_agent_name)')
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(_option("default")),
        _query(job, all_value=".+"),
        _query(instance, all_value=".+"),
        _query(agent, all_value=".*"),
    ]


def _query(chosen: Variable, *, all_value: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(chosen.name).label(chosen.label).query(chosen.query).definition(chosen.query)
    variable = variable.datasource(DATASOURCE).multi(multi=True).include_all(include_all=True).all_value(all_value)
    variable = variable.current(_option("$__all", "All"))
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)


def _option(value: str, text: str | None = None) -> VariableOption:
    return VariableOption(selected=True, text=text or value, value=value)


def _alerts() -> dashboard.AnnotationQuery:
    """Mark when agentgauge's alerts fired."""
    annotation = dashboard.AnnotationQuery().name("Alerts").datasource(DATASOURCE).enable(enable=True).icon_color("red")
    return (
        annotation.expr(ALERTS_FIRING)
        .title_format("{{alertname}}")
        .text_format("{{severity}} {{gen_ai_agent_name}} {{instance}}")
    )


def _links() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("agentgauge").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(as_dropdown=True)
    return link.include_vars(include_vars=True).keep_time(keep_time=True)
