"""A metric over time, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from agentgauge.analytics.points import Points

__all__ = ["plot"]

_MARKED_POINTS = 200  # of more, a line alone is seen


def plot(points: Points, name: str) -> Any:
    """Draw points.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        ConfigurationError: plotly is not installed.
    """
    graph = load_extra("plotly.graph_objects", "charts", "generate_metric_plot()")
    times = [at for at, _ in points]
    mode = "lines+markers" if len(times) <= _MARKED_POINTS else "lines"
    figure = graph.Figure(graph.Scatter(x=times, y=list(points.values), mode=mode, name=points.metric))
    title = f"{points.metric} ({name})" if times else f"{points.metric} ({name}): no points"
    # as text: plotly shows some tags of HTML, and a name is whatever a program makes of it
    figure.update_layout(title={"text": _as_text(title)}, xaxis={"title": {"text": "time (UTC)"}}, yaxis={"title": {"text": ""}})
    return figure


def _as_text(title: str) -> str:
    return title.replace("&", "&amp;").replace("<", "&lt;")
