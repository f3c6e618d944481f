"""A report as one HTML page that needs nothing else: its charts are drawn by plotly.js, which is in it once."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.amounts import as_iso
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.report.document import Unit
from agentgauge.analytics.report.numbers import as_read, left_out, plain, shown, tables_of
from agentgauge.analytics.report.sparkline import summary
from agentgauge.analytics.report.text import is_left
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentgauge.analytics.report.document import Chart, Column, Document, Finding, Section, Table

__all__ = ["as_html"]

_SPARSE = 60
_AXES: dict[Unit, tuple[str, str, str]] = {
    Unit.RATIO: (".3~%", "", ""),
    Unit.SECONDS: ("~s", "", "s"),
    Unit.USD: (",~r", "$", ""),
    Unit.USD_PER_SECOND: (",.3~r", "$", "/h"),
    Unit.PER_SECOND: ("~s", "", "/s"),
}
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def as_html(document: Document, *, generated_at: float | None = None) -> str:
    """Write it as a page that opens without a network and tells all but the charts without scripts.

    A policy in the page lets no script run but the three that it came with, and lets nothing be fetched.

    Args:
        document: The report.
        generated_at: What the page says about when it was made, Unix time in seconds.

    Raises:
        ConfigurationError: It has charts, and plotly is not installed.
    """
    charts = [chart for section in document.sections for chart in section.charts]
    scripts = _scripts() if charts else ()
    return "\n".join(_page(document, charts, scripts, generated_at)) + "\n"


def _scripts() -> tuple[str, ...]:
    library = load_extra("plotly.offline", "charts", "a report as HTML").get_plotlyjs()
    return (library, files(__package__).joinpath("page.js").read_text("utf-8"))


def _page(document: Document, charts: list[Chart], scripts: tuple[str, ...], generated_at: float | None) -> Iterator[str]:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
    yield '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
    yield f"<title>{_text(document.title)}</title>"
    yield f"<style>{files(__package__).joinpath('page.css').read_text('utf-8')}</style></head><body>"
    yield f"<h1>{_text(document.title)}</h1>"
    yield f"<dl>{''.join(_fact(fact.title, shown(fact.value, fact.unit)) for fact in document.facts)}</dl>"
    if len(document.sections) > 1:
        links = "".join(f'<a href="#{_text(section.name)}">{_text(section.title)}</a>' for section in document.sections)
        yield f"<nav>{links}</nav>"
    number = 0
    for section in document.sections:
        yield from _section(section, number)
        number += len(section.charts)
    made = f" at {shown(generated_at, Unit.TIME)}" if generated_at is not None else ""
    yield f"<footer><p>Made by agentgauge {_text(__version__)}{made}. Times are UTC.</p></footer>"
    if charts:
        yield "<noscript><style>.chart { display: none; }</style>"
        yield "<p>The charts need JavaScript; the tables above say the same.</p></noscript>"
        yield f'<script type="application/json" id="charts">{_embedded([*map(_drawn, range(len(charts)), charts)])}</script>'
    for script in scripts:
        yield f"<script>{script}</script>"
    yield "</body></html>"


def _fact(title: str, value: str) -> str:
    return f"<dt>{_text(title)}</dt><dd>{_text(value)}</dd>"


def _section(section: Section, first_chart: int) -> Iterator[str]:
    yield f'<section id="{_text(section.name)}"><h2>{_text(section.title)}</h2>'
    for sentence in section.sentences:
        yield f"<p>{_text(sentence)}</p>"
    for finding in section.findings[: section.most]:
        yield from _finding(finding)
    if more := left_out(section):
        yield f"<p>{_text(more)}</p>"
    for table in tables_of(section):
        yield f"<h3>{_text(table.title)}</h3>" if table.title else ""
        yield from _table(table)
    for number, chart in enumerate(section.charts, first_chart):
        yield f'<h3>{_text(chart.title)}</h3><div class="chart" id="chart-{number}"></div>'
        yield "<details><summary>figures</summary>"
        yield from _table(summary(chart))
        yield "</details>"
    yield "</section>"


def _finding(finding: Finding) -> Iterator[str]:
    severity = finding.severity.value
    yield f'<div class="finding {severity}"><span class="severity">{severity}</span> <strong>{_text(finding.title)}</strong>'
    for words in (finding.evidence, finding.fix and f"Fix: {finding.fix}"):
        if words:
            yield f"<p>{_text(words)}</p>"
    for code in (finding.query, finding.command):
        if code:
            yield f"<code>{_text(code)}</code>"
    yield "</div>"


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield "<p>Nothing.</p>"
        return
    columns, rows = as_read(table)
    heads = "".join(f'<th scope="col"{_class(column)}>{_text(column.title)}</th>' for column in columns)
    yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
    for row in rows:
        cells = (f"<td{_class(column)}>{_text(cell)}</td>" for column, cell in zip(columns, row, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"
    if more := left_out(table):
        yield f"<p>{_text(more)}</p>"


def _class(column: Column) -> str:
    return ' class="time"' if column.unit is Unit.TIME else "" if is_left(column) else ' class="number"'


def _text(text: str) -> str:
    return escape(plain(text))


def _drawn(number: int, chart: Chart) -> dict[str, Any]:
    """Return what page.js draws; plotly reads tags in names, so that they are escaped as in HTML."""
    tick_format, prefix, suffix = _AXES.get(chart.unit, ("~s", "", ""))
    scale = 3600.0 if chart.unit is Unit.USD_PER_SECOND else 1.0
    if chart.unit in {Unit.BYTES, Unit.BYTES_PER_SECOND}:  # as the tables say them: plotly knows the prefixes of ten alone
        size, name = _binary(chart)
        a_second = "/s" if chart.unit is Unit.BYTES_PER_SECOND else ""
        tick_format, suffix, scale = ",.3~r", f" {name}{a_second}", 1 / size
    return {
        "id": f"chart-{number}",
        "tick_format": tick_format,
        "prefix": prefix,
        "suffix": suffix,
        "times": [as_iso(at) for at in chart.times],
        "series": [
            {
                "name": _text(one.name),
                "values": _numbers(one.values, scale),
                "low": _numbers(one.low, scale) if one.low else None,
                "high": _numbers(one.high, scale) if one.high else None,
                "is_sparse": sum(map(math.isfinite, one.values)) <= _SPARSE,
            }
            for one in chart.series
        ],
        "marks": [{"start": as_iso(mark.start), "end": as_iso(mark.end), "title": _text(mark.title)} for mark in chart.marks],
    }


def _binary(chart: Chart) -> tuple[float, str]:
    """Return the unit in which the greatest value has the fewest digits before the point."""
    greatest = max((abs(value) for one in chart.series for value in one.values if math.isfinite(value)), default=0.0)
    return next(((size, name) for size, name in _BINARY if greatest >= size), (1.0, "B"))


def _numbers(values: Iterable[float], scale: float) -> list[float | None]:
    return [float(f"{value * scale:.6g}") if math.isfinite(value) else None for value in values]


def _embedded(value: object) -> str:
    """Write JSON that no parser of HTML takes for an end of the script."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)
