"""A report in a terminal, with the tables and colours of rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.report.document import Severity, Unit
from agentgauge.analytics.report.numbers import as_read, left_out, plain, shown, tables_of
from agentgauge.analytics.report.sparkline import COURSE, summary
from agentgauge.analytics.report.text import cell_width, is_left, spark_width

if TYPE_CHECKING:
    from agentgauge.analytics.report.document import Column, Document, Finding, Section, Table

__all__ = ["show"]

_WHAT = "a report in colours"
_GAP, _EDGES, _WORDS_WIDTH, _MOST_NAMES = 3, 2, 32, 2
_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan", Severity.OK: "green"}


def show(document: Document, console: Any) -> None:
    """Write it to a console of rich, which knows the width of its terminal and whether it has colours.

    Args:
        document: The report.
        console: A ``rich.console.Console``.

    Raises:
        ConfigurationError: rich is not installed.
    """
    text = load_extra("rich.text", "cli", _WHAT).Text
    _line(console, text(plain(document.title), style="bold"))
    pad = max((len(fact.title) for fact in document.facts), default=0) + 2
    for fact in document.facts:
        _line(console, text.assemble((f"{fact.title + ':':<{pad}}", "dim"), shown(fact.value, fact.unit)))
    for section in document.sections:
        _section(section, console, text)


def _line(console: Any, text: Any) -> None:
    console.print(text, markup=False, highlight=False, emoji=False)


def _section(section: Section, console: Any, text: Any) -> None:
    rule = load_extra("rich.rule", "cli", _WHAT).Rule
    console.print()
    console.print(rule(text(plain(section.title), style="bold"), style="dim", align="left"))
    for sentence in section.sentences:
        _line(console, text(plain(sentence)))
    for finding in section.findings[: section.most]:
        _finding(finding, console, text)
    if more := left_out(section):
        _line(console, text(more, style="dim"))
    is_ascii = console.encoding.lower().replace("-", "") not in {"utf8", "utf16", "utf32"}
    charts = [summary(chart, spark_width=spark_width(console.width), is_ascii=is_ascii) for chart in section.charts]
    for table in (*tables_of(section), *charts):
        _table(table, console, text)


def _finding(finding: Finding, console: Any, text: Any) -> None:
    padding = load_extra("rich.padding", "cli", _WHAT).Padding
    _line(console, text.assemble((f"  {finding.severity.value:<9}", _STYLES[finding.severity]), plain(finding.title)))
    for words, style in ((finding.evidence, ""), (finding.fix and f"fix: {finding.fix}", ""), (finding.query, "dim")):
        if words:
            console.print(padding(text(plain(words), style=style), (0, 0, 0, 11)))
    if finding.command:
        console.print(text(plain(finding.command), style="dim"), soft_wrap=True)  # as one line, to be copied


def _table(table: Table, console: Any, text: Any) -> None:
    box = load_extra("rich.box", "cli", _WHAT)
    if not table.rows:
        _line(console, text(f"{plain(table.title)}: nothing" if table.title else "nothing", style="dim"))
        return
    columns, cells = as_read(table)
    title = text(plain(table.title)) if table.title else None
    for indices in _parts(columns, cells, console.width):
        made = load_extra("rich.table", "cli", _WHAT).Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, safe_box=True, pad_edge=False
        )
        title = None
        for index in indices:
            column = columns[index]
            is_words = column.unit is Unit.TEXT and column.name != COURSE
            made.add_column(
                text(column.title), justify="left" if is_left(column) else "right", overflow="fold", no_wrap=not is_words
            )
        for row in cells:
            made.add_row(*(text(row[index]) for index in indices))
        console.print(made)
    if more := left_out(table):
        _line(console, text(more, style="dim"))


def _parts(columns: list[Column], cells: list[list[str]], width: int) -> list[list[int]]:
    """Return the columns of each of the tables into which one is cut that is too wide; each begins with the names of its rows."""
    needed = [max(cell_width(column.title), *(cell_width(row[index]) for row in cells)) for index, column in enumerate(columns)]
    needed = [
        min(size, _WORDS_WIDTH) if column.unit is Unit.TEXT and column.name != COURSE else size
        for size, column in zip(needed, columns, strict=True)
    ]
    names = 0
    while names < min(_MOST_NAMES, len(needed) - 1) and columns[names].unit is Unit.TEXT:
        names += 1
    parts = [list(range(names))]
    for index in range(names, len(needed)):
        taken = sum(needed[one] + _GAP for one in parts[-1])
        if taken + needed[index] > width - _EDGES and len(parts[-1]) > names:
            parts.append(list(range(names)))
        parts[-1].append(index)
    return parts
