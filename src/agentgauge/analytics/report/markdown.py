"""A report as Markdown, as GitHub reads it: for a pull request, an incident's page, a chat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentgauge.analytics.report.document import Severity, Unit
from agentgauge.analytics.report.numbers import NOTHING, as_read, left_out, plain, shown, tables_of
from agentgauge.analytics.report.sparkline import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.report.document import Column, Document, Finding, Section, Table

__all__ = ["as_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$!])")
_BEGINS_BLOCK = re.compile(r"^(\s*(?:[-+=]|\d+(?=[.)])))([.)]?)")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵", Severity.OK: "🟢"}


def as_markdown(document: Document) -> str:
    """Write it as Markdown; whatever came from outside is escaped."""
    lines = [f"# {_text(document.title)}", ""]
    lines += [f"- {_text(fact.title)}: {_text(shown(fact.value, fact.unit))}" for fact in document.facts]
    for section in document.sections:
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {_text(section.title)}"]
    for sentence in section.sentences:
        lines += ["", _sentence(sentence)]
    if section.findings:
        lines.append("")
    for finding in section.findings[: section.most]:
        lines += _finding(finding)
    lines += [f"- {_text(more)}" for more in (left_out(section),) if more]
    for table in tables_of(section):
        lines += ["", *_table(table)]
    for chart in section.charts:
        lines += ["", *_table(summary(chart))]
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"- {_SIGNS[finding.severity]} **{finding.severity.value}** {_text(finding.title)}"]
    lines += [f"  {_text(text)}" for text in (finding.evidence, finding.fix and f"Fix: {finding.fix}") if text]
    lines += [f"  {_code(one)}" for one in (finding.query, finding.command) if one]
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"**{_text(table.title)}**", ""] if table.title else []
    if not table.rows:
        return [*lines, "Nothing."]
    columns, rows = as_read(table)
    lines += [_row([_text(column.title) for column in columns])]
    lines += [_row(["---" if _is_left(column) else "---:" for column in columns])]
    lines += [_row([_text(cell) for cell in row]) for row in rows]
    return [*lines, *(part for more in (left_out(table),) if more for part in ("", _text(more)))]


def _is_left(column: Column) -> bool:
    return column.unit in {Unit.TEXT, Unit.TIME}


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Escape what Markdown or HTML would obey, and what would be made a link of."""
    escaped = _SPECIAL.sub(r"\\\1", plain(text).strip().translate(_HTML)).replace("://", ":&#47;/")
    return escaped or NOTHING


def _sentence(text: str) -> str:
    """Escape what begins a list or a heading, too."""
    return _BEGINS_BLOCK.sub(lambda found: f"{found[1]}\\{found[2]}" if found[2] else f"\\{found[1]}", _text(text.strip()))


def _code(text: str) -> str:
    shown_text = plain(text)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", shown_text)), default=0) + 1)
    return f"{fence}{' ' if '`' in shown_text else ''}{shown_text}{' ' if '`' in shown_text else ''}{fence}"
