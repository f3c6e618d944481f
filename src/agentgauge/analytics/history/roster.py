"""Which series a file has, as one reader knows them: what was read once is not read again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from agentgauge.analytics.history.columns import decoding
from agentgauge.analytics.history.gathering import labels_of, spelled

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Roster"]

_MOST_LABELS = 50_000
_MOST_ANSWERS = 64

Known: TypeAlias = "tuple[int, dict[str, str]]"


class Roster:
    """The answers to which series of a metric have which labels, kept while others write.

    The numbers of series only grow and none is given twice: those above the last are new, and where there are fewer than the old
    and the new ones together, some have gone. All of it is told within the snapshot of the caller's.
    """

    def __init__(self) -> None:
        self._labels: dict[int, tuple[str, dict[str, str]]] = {}
        self._answers: dict[tuple[str, frozenset[tuple[str, str]]], list[Known]] = {}
        self._last = 0
        self._count = 0

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Take in what has come and gone since."""
        (count,) = connection.execute("SELECT count(*) FROM series").fetchone()
        (last,) = connection.execute("SELECT max(id) FROM series").fetchone()
        if self._answers:
            rows = connection.execute("SELECT id, metric, labels FROM series WHERE id > ? ORDER BY id", (self._last,)).fetchall()
            if self._count + len(rows) == count:
                for series, metric, stored in rows:
                    self._take_in(series, metric, stored)
            else:
                self._answers.clear()
        self._count, self._last = count, max(self._last, last or 0)

    def _take_in(self, series: int, metric: str, stored: str) -> None:
        for (name, wanted), answer in self._answers.items():
            if name == metric and wanted.issubset((labels := self._labels_of(series, stored)).items()):
                answer.append((series, labels))

    def series_of(self, connection: sqlite3.Connection, metric: str, wanted: frozenset[tuple[str, str]]) -> list[Known]:
        """Return the series of a metric that have these labels; SQLite passes over most of the others, which is far cheaper."""
        key = (spelled(metric), wanted)
        if key not in self._answers:
            pairs = [labels_of([pair])[1:-1] for pair in wanted]
            query = f"SELECT id, labels FROM series WHERE metric = ?{' AND instr(labels, ?)' * len(pairs)} ORDER BY id"  # noqa: S608
            known = [(row[0], self._labels_of(*row)) for row in connection.execute(query, (key[0], *pairs)).fetchall()]
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = [one for one in known if wanted.issubset(one[1].items())]
        return self._answers[key]

    def _labels_of(self, series: int, stored: str) -> dict[str, str]:
        known = self._labels.get(series)
        if known is None or known[0] != stored:
            if len(self._labels) > _MOST_LABELS:
                self._labels.clear()
            with decoding(f"the labels of series {series}"):
                known = self._labels[series] = (stored, dict(json.loads(stored)))
        return known[1]
