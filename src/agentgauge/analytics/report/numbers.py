"""How a cell of a report is shown to people: nothing in it is obeyed by a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount
from agentgauge.analytics.report.document import Table, Unit

if TYPE_CHECKING:
    from agentgauge.analytics.report.document import Cell, Column, Section

__all__ = ["NOTHING", "as_read", "left_out", "plain", "shown", "tables_of"]

NOTHING = "-"
_LONGEST_CELL = 1_000


def plain(text: str) -> str:
    """Leave nothing in that a terminal would obey, or that turns the direction of what follows."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def as_read(table: Table) -> tuple[list[Column], list[list[str]]]:
    """Return the columns and the cells that people read: units are with the values, not in a column of their own."""
    names = [column.name for column in table.columns]
    units = {column.unit_in for column in table.columns}
    read = [(at, column) for at, column in enumerate(table.columns) if column.name not in units]

    def cell(row: tuple[Cell, ...], at: int, column: Column) -> str:
        value = row[at]
        if column.words is not None and isinstance(value, str):
            return shown(column.words(value))
        return shown(value, str(row[names.index(column.unit_in)]) if column.unit_in else column.unit)

    rows = table.rows[: table.most]
    return [column for _, column in read], [[cell(row, at, column) for at, column in read] for row in rows]


def tables_of(section: Section) -> list[Table]:
    """Return the tables of which people see anything; an empty one says so."""
    return [table for table in section.tables if table.most != 0]


def left_out(of: Table | Section) -> str:
    """Say how many rows of a table, or findings of a section, people do not see; nothing where they see all."""
    every = of.rows if isinstance(of, Table) else of.findings
    more = len(every) - len(every[: of.most])
    return f"and {more:,} more: --all shows them, --json has them" if more else ""


def shown(value: Cell, unit: str = Unit.TEXT) -> str:
    """Return a cell as people read it; of a number ``amount()`` says which units there are."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return plain(value[:_LONGEST_CELL])
    return amount(value, str(unit))
