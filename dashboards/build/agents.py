"""The dashboard "Agents": what the agents do, how well, on which machine, and what watching them costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.build import agent_rows, lm_rows, machine_rows, team_rows
from dashboards.build.panels import DATASOURCE

__all__ = ["PATH", "build", "write"]

PATH = Path(__file__).parents[1] / "agents.json"
UID = "agentgauge-agents"
TAG = "agentgauge"


def build() -> str:
    """Return the dashboard as the JSON text that Grafana imports."""
    board = (
        dashboard.Dashboard("Agents")
        .uid(UID)
        .tags([TAG, "agents", "prometheus"])
        .description("What the agents do, how well, on which machine, and what watching them costs. Made by agentgauge.")
        .timezone("utc")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .annotation(_alerts())
    )
    for variable in _variables():
        board = board.with_variable(variable)
    panel_id = 0
    for title, panels in (*agent_rows.ROWS, *lm_rows.ROWS, *team_rows.ROWS, *machine_rows.ROWS):
        panel_id += 1
        board = board.with_row(dashboard.Row(title).id(panel_id))
        for panel in panels():
            panel_id += 1
            board = board.with_panel(panel.id(panel_id))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def write() -> Path:
    """Write the dashboard to the file that is committed, and return its path."""
    PATH.write_text(build(), encoding="utf-8")
    return PATH


def _variables() -> list[Any]:
    # An agent that is not known has no label, which only ".*" matches. Jobs and instances are always known, and Prometheus
    # refuses a selector of which every part matches the empty string.
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(_option("default")),
        _query("job", "Job", "label_values(agentgauge_build_info, job)", all_value=".+"),
        _query("instance", "Instance", 'label_values(agentgauge_build_info{job=~"$job"}, instance)', all_value=".+"),
        _query("agent", "Agent", 'label_values({job=~"$job",instance=~"$instance"}, gen_ai_agent_name)', all_value=".*"),
    ]


def _query(name: str, label: str, query: str, *, all_value: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).query(query).definition(query).datasource(DATASOURCE)
    variable = variable.multi(multi=True).include_all(include_all=True).all_value(all_value).current(_option("$__all", "All"))
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)


def _option(value: str, text: str | None = None) -> VariableOption:
    return VariableOption(selected=True, text=text or value, value=value)


def _alerts() -> dashboard.AnnotationQuery:
    """Mark when agentgauge's alerts fired; an alert about absence has no job, so the empty one is kept."""
    expression = 'ALERTS{alertname=~"Agentgauge.+",alertname!="AgentgaugeWatchdog",alertstate="firing",job=~"$job|"}'
    annotation = dashboard.AnnotationQuery().name("Alerts").datasource(DATASOURCE).enable(enable=True).icon_color("red")
    return (
        annotation.expr(expression).title_format("{{alertname}}").text_format("{{severity}} {{gen_ai_agent_name}} {{instance}}")
    )


def _links() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("agentgauge").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(as_dropdown=True)
    return link.include_vars(include_vars=True).keep_time(keep_time=True)
