"""What the research swarm shows of its own ledger: a live table on a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
except ImportError:  # the extra `cli` is not installed: plain lines do as well
    HAS_RICH = False
else:
    HAS_RICH = True

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ledger import Ledger

__all__ = ["Display", "summary"]

_TASK_COLUMNS = ("agent", "task", "calls", "success", "error", "timeout", "cancelled", "abandoned", "p50", "p95")
_TOOL_COLUMNS = ("agent", "tool", "calls", "success", "error", "timeout", "cancelled")
_TEXT_COLUMNS = 2
_PLAIN_INTERVAL_SECONDS = 2.0

Rows = list[tuple[str, ...]]


class Display:
    """Shows the ledger while a ``with`` block runs; call ``update`` as often as you like.

    Args:
        ledger: What to show.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._live = Live(console=Console(), auto_refresh=False) if HAS_RICH and sys.stdout.isatty() else None
        self._next_line = _PLAIN_INTERVAL_SECONDS

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.__exit__(kind, error, trace)

    def update(self, seconds: float) -> None:
        """Show the counts after ``seconds`` of running: at once on a terminal, a line every 2 s elsewhere."""
        headline = f"{seconds:4.0f} s  {_questions(self._ledger)}"
        if self._live is not None:
            self._live.update(_table(_TASK_COLUMNS, _task_rows(self._ledger), headline), refresh=True)
        elif seconds >= self._next_line:
            self._next_line += _PLAIN_INTERVAL_SECONDS
            print(headline, flush=True)


def summary(ledger: Ledger) -> str:
    """The ledger as text: questions, tasks, tools, and what the language model was asked."""
    failures = sum(ledger.lm_calls.values()) - ledger.lm_calls["success"]
    model = (
        f"language model: {sum(ledger.lm_calls.values())} calls, {failures} without an answer, "
        f"{ledger.tokens['input']:,} tokens in, {ledger.tokens['output']:,} out; {ledger.own_lm_calls} of the calls are the "
        "narrator's, which uses no framework: they are in no series"
    )
    parts = [_questions(ledger), _plain(_TASK_COLUMNS, _task_rows(ledger)), _plain(_TOOL_COLUMNS, _tool_rows(ledger)), model]
    return "\n\n".join(parts)


def _questions(ledger: Ledger) -> str:
    asked = ledger.questions
    return ", ".join([f"{asked['asked']} questions", *(f"{asked[fate]} {fate}" for fate in ("answered", "failed", "cancelled"))])


def _task_rows(ledger: Ledger) -> Rows:
    rows: Rows = []
    for agent, task in ledger.names("task"):
        counts = (ledger.count("task", agent, task, outcome) for outcome in (None, *_TASK_COLUMNS[3:8]))
        quantiles = (f"{value:.3f} s" for value in ledger.quantiles(agent, task))
        rows.append((agent, task, *map(str, counts), *quantiles))
    return rows


def _tool_rows(ledger: Ledger) -> Rows:
    return [
        (agent, tool, *(str(ledger.count("tool", agent, tool, outcome)) for outcome in (None, *_TOOL_COLUMNS[3:])))
        for agent, tool in ledger.names("tool")
    ]


def _plain(columns: tuple[str, ...], rows: Rows) -> str:
    table = [columns, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    lines = [
        "  ".join(
            cell.ljust(width) if index < _TEXT_COLUMNS else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _table(columns: tuple[str, ...], rows: Rows, title: str) -> Any:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < _TEXT_COLUMNS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
