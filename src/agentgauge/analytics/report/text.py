"""A report as plain text, for pipes, files and terminals without rich."""

from __future__ import annotations

import textwrap
import unicodedata
from typing import TYPE_CHECKING

from agentgauge.analytics.report.document import Unit
from agentgauge.analytics.report.numbers import as_read, left_out, plain, shown, tables_of
from agentgauge.analytics.report.sparkline import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.report.document import Column, Document, Finding, Section, Table

__all__ = ["as_text", "cell_width", "is_left", "spark_width"]

_GAP = "  "
_INDENT = "  "
_LEAST_WIDTH, _MOST_WIDTH = 40, 120


def as_text(document: Document, *, width: int = _MOST_WIDTH, is_ascii: bool = False) -> str:
    """Write it for people.

    Args:
        document: The report.
        width: Where sentences wrap, in characters; tables keep their width, for those who search them.
        is_ascii: Whether the output knows no other characters.
    """
    width = max(_LEAST_WIDTH, min(width, _MOST_WIDTH))
    lines = [plain(document.title), "=" * cell_width(plain(document.title))]
    pad = max((len(fact.title) for fact in document.facts), default=0) + 1
    lines += [f"{fact.title + ':':<{pad}} {shown(fact.value, fact.unit)}" for fact in document.facts]
    for section in document.sections:
        lines += ["", *_section(section, width, is_ascii=is_ascii)]
    text = "\n".join(line.rstrip() for line in lines)
    return text.encode("ascii", "replace").decode() if is_ascii else text


def is_left(column: Column) -> bool:
    """Tell whether a column's cells stand at its left."""
    return column.unit in {Unit.TEXT, Unit.TIME}


def spark_width(width: int) -> int:
    """Return how long a line of blocks may be."""
    return max(12, min(48, width // 3 - 4))


def _section(section: Section, width: int, *, is_ascii: bool) -> list[str]:
    lines = [plain(section.title), "-" * cell_width(plain(section.title))]
    for sentence in section.sentences:
        lines += textwrap.wrap(plain(sentence), width, break_long_words=False, break_on_hyphens=False)
    for finding in section.findings[: section.most]:
        lines += _finding(finding, width)
    lines += [f"{_INDENT}{more}" for more in (left_out(section),) if more]
    tables = [
        *tables_of(section),
        *(summary(chart, spark_width=spark_width(width), is_ascii=is_ascii) for chart in section.charts),
    ]
    for table in tables:
        lines += ["", *_table(table)]
    return lines


def _finding(finding: Finding, width: int) -> list[str]:
    lines = _wrapped(f"{finding.severity.value:<9}{plain(finding.title)}", width, _INDENT, " " * 11)
    for text in (finding.evidence, f"fix: {finding.fix}" if finding.fix else ""):
        lines += _wrapped(plain(text), width, " " * 11, " " * 11)
    lines += [
        f"{' ' * 11}{plain(one)}" for one in (finding.query, finding.command) if one
    ]  # each on a line of its own, to be copied
    return lines


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def _table(table: Table) -> list[str]:
    lines = [plain(table.title)] if table.title else []
    if not table.rows:
        return [*lines, f"{_INDENT}nothing"]
    columns, rows = as_read(table)
    cells = [[column.title for column in columns], *rows]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        lines.append(_INDENT + _GAP.join(_row(columns, row, widths)))
        if not number:
            lines.append(_INDENT + _GAP.join("-" * one for one in widths))
    return [*lines, *(f"{_INDENT}{more}" for more in (left_out(table),) if more)]


def _row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> list[str]:
    padded = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        blanks = " " * (width - cell_width(cell))
        padded.append(cell + blanks if is_left(column) else blanks + cell)
    return padded


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
