"""A report as one JSON document, for scripts; its keys are described in docs/monitoring/reports.md."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.amounts import as_iso
from agentgauge.analytics.report.document import Unit
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.analytics.report.document import Cell, Chart, Document, Finding, Section, Table

__all__ = ["as_json"]

_FORMAT = 1


def as_json(document: Document, *, exit_code: int = 0) -> str:
    """Write it as JSON by RFC 8259: what is not finite is null, times in cells are ISO 8601, those of charts Unix seconds."""
    whole: dict[str, Any] = {
        "format": _FORMAT,
        "version": __version__,
        "command": document.command,
        "title": document.title,
        "exit_code": exit_code,
        "facts": {fact.name: _cell(fact.value, fact.unit) for fact in document.facts},
        "sections": {section.name: _section(section) for section in document.sections},
    }
    return json.dumps(whole, indent=2, allow_nan=False)


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "sentences": list(section.sentences),
        "findings": [_finding(one) for one in section.findings],
        "tables": {table.name: _table(table) for table in section.tables},
        "charts": {chart.name: _chart(chart) for chart in section.charts},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    texts = {name: getattr(finding, name) for name in ("title", "evidence", "fix", "query", "command")}
    return {"severity": finding.severity.value, **texts}


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": [{"name": column.name, "title": column.title, "unit": column.unit.value} for column in table.columns],
        "rows": [
            {column.name: _cell(cell, column.unit) for column, cell in zip(table.columns, row, strict=True)} for row in table.rows
        ],
    }


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "unit": chart.unit.value,
        "times": _numbers(chart.times),
        "series": [
            {
                "name": one.name,
                "values": _numbers(one.values),
                "low": _numbers(one.low) if one.low else None,
                "high": _numbers(one.high) if one.high else None,
            }
            for one in chart.series
        ],
        "marks": [{"start": mark.start, "end": mark.end, "title": mark.title} for mark in chart.marks],
    }


def _cell(value: Cell, unit: Unit) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if unit is Unit.TIME and isinstance(value, int | float) and not isinstance(value, bool):
        return as_iso(value)
    return value


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
