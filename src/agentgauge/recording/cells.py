"""Series of everything that is no call: states, queues, readings that a program reports itself."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import Kind
from agentgauge.recording.series import Child

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentgauge.catalogue import Family
    from agentgauge.recording.points import Labels

__all__ = ["ABSENT", "Cells", "expand_states"]

ABSENT = float("nan")
"""Takes the series of a gauge or a state set away: this very object, not any other NaN."""


class Cells:
    """Values by family and labels; written only by whoever holds the drain."""

    def __init__(self) -> None:
        """Start empty."""
        self.values: dict[Family, dict[Labels, float]] = {}
        self.children: dict[Family, dict[Labels, Child]] = {}

    def fold(self, family: Family, labels: Labels, values: Sequence[float], limit: int | None = None) -> bool:
        """Take observations of one series in, in their order.

        A state set takes the index of its state as its value.

        Args:
            family: What was observed.
            labels: The series, without a state set's own label.
            values: What a gauge is set to, a counter grows by, or a histogram counts; ``ABSENT`` for no series any more.
            limit: How many series the family may have; a gauge past it is left out, anything else goes to ``other``. None for
                families whose labels no program makes up.

        Returns:
            False where the observation found no series of its own.
        """
        table: dict[Labels, Any] = (self.children if family.kind is Kind.HISTOGRAM else self.values).setdefault(family, {})
        if values[-1] is ABSENT:
            table.pop(labels, None)
            return True
        is_admitted = limit is None or labels in table or len(table) < limit
        if not is_admitted:
            if family.kind in (Kind.GAUGE, Kind.STATE_SET):
                return False
            labels = tuple((name, "other") for name, _ in labels)
        if family.kind is Kind.HISTOGRAM:
            child = table.get(labels)
            if child is None:
                child = table[labels] = Child(labels, len(family.buckets) + 1)
            for value in values:
                child.counts[bisect_left(family.buckets, value)] += 1
                child.sum += value
        elif family.kind is Kind.COUNTER:
            table[labels] = table.get(labels, 0) + sum(values)
        else:
            table[labels] = values[-1]
        return is_admitted


def expand_states(family: Family, held: Iterable[tuple[Labels, float]]) -> list[tuple[Labels, float]]:
    """Expand a state set: one series a state, 1 for the one that holds (OpenMetrics 1.0, StateSet)."""
    return [
        ((*labels, (family.name, state)), float(index == held_index))
        for labels, held_index in held
        for index, state in enumerate(family.states)
    ]
