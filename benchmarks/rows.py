"""A row of the table: measured, held against its bar, and measured again before it is called missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bars import BARS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from bars import Bar

__all__ = ["FULL", "SHORT", "Effort", "Row", "Suite", "measured_rows"]


@dataclass(frozen=True)
class Effort:
    """How much is run for a figure.

    Attributes:
        calls: How many calls one timed window makes.
        rounds: How many windows each subject gets.
        trials: How often what is slow is repeated: scrapes, drains, imports in a fresh process.
        seconds: For how long threads record at once.
    """

    calls: int
    rounds: int
    trials: int
    seconds: float


FULL = Effort(calls=5000, rounds=21, trials=9, seconds=10.0)
SHORT = Effort(calls=2000, rounds=9, trials=3, seconds=2.0)


@dataclass(frozen=True)
class Row:
    """One measured row.

    Attributes:
        name: A key of ``BARS``.
        value: What is held against the bar: a ratio, or an amount in the bar's unit.
        ours: What agentgauge costs, in ``unit``.
        reference: What ``against`` costs, in ``unit``; None where nothing is compared.
        unit: What ``ours`` and ``reference`` are in.
        against: What the reference is.
    """

    name: str
    value: float
    ours: float
    reference: float | None
    unit: str
    against: str = ""

    @property
    def bar(self) -> Bar:
        """What the row is held to."""
        return BARS[self.name]

    def is_met(self, margin: float) -> bool:
        """Tell whether the bar is met, with so much of it added for noise."""
        return self.value <= self.bar.bar * (1 + margin)


@dataclass(frozen=True)
class Suite:
    """Rows that are measured together.

    Attributes:
        names: The rows that it can measure.
        measure: Measures those of them that it is asked for.
    """

    names: tuple[str, ...]
    measure: Callable[[Collection[str], Effort], Sequence[Row]]


def measured_rows(
    suites: Sequence[Suite], names: Collection[str], effort: Effort, *, margin: float, repeats: int
) -> Iterator[Row]:
    """Measure the rows of these names, each suite's together; what misses its bar is measured again and its best value counts.

    Args:
        suites: Where the rows come from.
        names: Which rows are wanted.
        effort: How much is run.
        margin: The share of a bar that is added to it for noise.
        repeats: How often a row that misses is measured again.

    Yields:
        The rows, in the order of their suites.
    """
    for suite in suites:
        wanted = [name for name in suite.names if name in names]
        if not wanted:
            continue
        best = {row.name: row for row in suite.measure(wanted, effort)}
        for _ in range(repeats):
            missed = [row.name for row in best.values() if not row.is_met(margin)]
            if not missed:
                break
            for row in suite.measure(missed, effort):
                best[row.name] = min(best[row.name], row, key=lambda each: each.value)
        yield from best.values()
