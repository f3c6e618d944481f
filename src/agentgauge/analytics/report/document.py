"""What a report says, before it is text, JSON, Markdown or a page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

Cell: TypeAlias = "str | float | bool | None"
"""A number in the unit of its column, a text, or nothing; Unix time in seconds where the unit is ``TIME``."""


class Unit(StrEnum):
    """What a number is, which decides how people see it; JSON has the bare number, and times as ISO 8601."""

    TEXT = "text"
    COUNT = "count"
    NUMBER = "number"
    PROBABILITY = "probability"
    RATIO = "ratio"
    SECONDS = "seconds"
    BYTES = "bytes"
    TOKENS = "tokens"
    USD = "usd"
    USD_PER_SECOND = "usd_per_second"
    PER_SECOND = "per_second"
    BYTES_PER_SECOND = "bytes_per_second"
    CORES = "cores"
    TIME = "time"


class Severity(StrEnum):
    """How bad it is: ``CRITICAL`` and ``WARNING`` are what ``--strict`` fails for."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about the report itself: its source, its window.

    Attributes:
        name: The key in JSON.
        title: What people read.
        value: What it is.
        unit: Of the value.
    """

    name: str
    title: str
    value: Cell
    unit: Unit = Unit.TEXT


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of note.

    Attributes:
        severity: How bad it is.
        title: One line.
        evidence: What shows it.
        fix: What to do; empty where there is nothing to do.
        query: The PromQL that proves it; empty where there is none.
        command: The line for a shell that says more of it; empty where there is none.
    """

    severity: Severity
    title: str
    evidence: str = ""
    fix: str = ""
    query: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: The key in JSON.
        title: Its heading.
        unit: Of its cells.
        unit_in: The name of another column of the table, which has the unit of each row's cell; people see the two as one.
        words: What people read for a cell that is the name of something, such as the title of a measure; None for itself.
    """

    name: str
    title: str
    unit: Unit = Unit.TEXT
    unit_in: str = ""
    words: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of typed cells.

    Attributes:
        name: The key in JSON.
        title: Its heading; empty where that of the section is enough.
        columns: What the cells are.
        rows: Each with a cell for each column.
        most: How many of the rows people see, the first; None for all. JSON has all of them.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    most: int | None = 20

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigurationError(f"table {self.name!r}: a row has {len(row)} cells for {len(self.columns)} columns")
        if absent := {column.unit_in for column in self.columns if column.unit_in} - {column.name for column in self.columns}:
            raise ConfigurationError(f"table {self.name!r}: there is no column {min(absent)!r} for the units of another")


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: Of whom.
        values: One for each time of the chart, NaN where there is none.
        low: Where a band around it begins; empty where there is none.
        high: Where it ends.
    """

    name: str
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of time that a chart points out.

    Attributes:
        start: Unix time in seconds.
        end: The same as the start for an instant.
        title: What it is.
    """

    start: float
    end: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over time.

    Attributes:
        name: The key in JSON.
        title: Its heading.
        unit: Of the values.
        times: Unix times in seconds, the earliest first.
        series: The lines.
        marks: What it points out.
    """

    name: str
    title: str
    unit: Unit
    times: tuple[float, ...]
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        for one in self.series:
            for values in (one.values, one.low, one.high):
                if len(values) != len(self.times) and not (values == () and values is not one.values):
                    raise ConfigurationError(
                        f"chart {self.name!r}: a series has {len(values)} values for {len(self.times)} times"
                    )

    @property
    def has_course(self) -> bool:
        """Whether a line has two values or more: one is no course."""
        return any(sum(map(math.isfinite, one.values)) > 1 for one in self.series)


@dataclass(frozen=True, slots=True)
class Section:
    """One answer.

    Attributes:
        name: The key in JSON.
        title: Its heading.
        sentences: The answer in words.
        findings: What is of note, the worst first.
        tables: The figures.
        charts: The figures over time.
        is_answer: Whether there was something to judge; the sentences say what was missing.
        is_whole: Whether all of it could be judged.
        most: How many of the findings people see, the first; None for all. JSON has all of them.
    """

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    is_answer: bool = True
    is_whole: bool = True
    most: int | None = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A report.

    Attributes:
        command: The command that made it, such as ``trends``.
        title: Its heading.
        facts: About source and window.
        sections: The answers.
    """

    command: str
    title: str
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = field(default=())

    def with_all_rows(self) -> Document:
        """Return the same with every row and finding for people, too."""
        return replace(
            self,
            sections=tuple(
                replace(section, most=None, tables=tuple(replace(table, most=None) for table in section.tables))
                for section in self.sections
            ),
        )

    @property
    def findings(self) -> Iterator[Finding]:
        """All findings, by section."""
        return (finding for section in self.sections for finding in section.findings)

    @property
    def has_answer(self) -> bool:
        """Whether there was something to judge."""
        return any(section.is_answer for section in self.sections)

    @property
    def is_of_note(self) -> bool:
        """Whether something is critical or a warning."""
        return any(finding.severity in {Severity.CRITICAL, Severity.WARNING} for finding in self.findings)
