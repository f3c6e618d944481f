"""Reports: one document, as text for a terminal, JSON, Markdown, and one HTML page."""

from agentgauge.analytics.report.document import (
    Cell,
    Chart,
    Column,
    Document,
    Fact,
    Finding,
    Mark,
    Section,
    Series,
    Severity,
    Table,
    Unit,
)

__all__ = [
    "Cell",
    "Chart",
    "Column",
    "Document",
    "Fact",
    "Finding",
    "Mark",
    "Section",
    "Series",
    "Severity",
    "Table",
    "Unit",
]
