"""The block that is open: sweeps as they come, and the places that series have in them."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.history.columns import MISSING, decoding
from agentgauge.analytics.history.tiers import RAW
from agentgauge.errors import ConfigurationError, HistoryError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    Sample = tuple[str, tuple[tuple[str, str], ...], float]

__all__ = [
    "PART_BITS",
    "SERIES_IN_PART",
    "SWEEPS_IN_BLOCK",
    "Gathering",
    "labels_of",
    "members_of",
    "series_id",
    "spelled",
    "unspelled",
]

SWEEPS_IN_BLOCK = 120
SERIES_IN_PART = 500  # their numbers fill one page
_MOST_EMPTY = 4
PART_BITS = 40


def spelled(text: str) -> str:
    """Return a name in ASCII: SQLite takes no lone surrogates.

    Raises:
        TypeError: It is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no name")
    return json.dumps(text)[1:-1]


def unspelled(stored: str) -> str:
    """Return the name that was spelled."""
    return str(json.loads(f'"{stored}"'))


def labels_of(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Return labels as the one text that stands for them; an empty one is as good as none.

    Raises:
        TypeError, ValueError: They are no labels.
    """
    return json.dumps(
        {str(name): str(value) for name, value in sorted(dict(labels).items()) if value != ""}, separators=(",", ":")
    )


def series_id(connection: sqlite3.Connection, metric: str, labels: str, at: float) -> int:
    """Return the number of a series, by its spelled name; a new one where it is new."""
    key = (metric, labels)
    found = connection.execute("SELECT id FROM series WHERE metric = ? AND labels = ?", key).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO series (metric, labels, seen) VALUES (?, ?, ?) RETURNING id", (*key, at)
        ).fetchone()
    else:  # one that comes back is not to be forgotten for what it was
        connection.execute("UPDATE series SET seen = ? WHERE id = ? AND seen < ?", (at, *found, at))
    return int(found[0])


def members_of(connection: sqlite3.Connection, block: int) -> array[int]:
    """Return the numbers of the series of a block that is not whole, by their places."""
    series = array("q")
    rows = connection.execute("SELECT series FROM member WHERE block = ? ORDER BY place", (block,)).fetchall()
    with decoding("which series a block has"):
        for (stored,) in rows:
            series.frombytes(stored)
    return series


class Gathering:
    """What the writer knows of the block that is open; read from the file, so that it is right after whatever went wrong.

    Attributes:
        block: The open block, or None until the next sweep begins one.
        boundary: The last time that belongs to a block before it: nothing can be written up to there.
        latest: The time of the last sweep.
        series: How many series the last sweep had a place for.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.block: int | None = None
        self._sweeps = 0
        self._most = 0  # samples of one sweep
        self._series = array("q")
        self._places: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self._place_of: dict[int, int] = {}
        self._numbers = array("d")
        row = connection.execute("SELECT max(id) FROM block WHERE width = ? AND NOT is_whole", (RAW,)).fetchone()
        if row[0] is not None:
            (self._sweeps,) = connection.execute("SELECT count(*) FROM sweep WHERE block = ?", row).fetchone()
            if self._sweeps < SWEEPS_IN_BLOCK:
                self.block = row[0]
                self._read_places(row[0])
        (whole,) = connection.execute("SELECT max(until) FROM block WHERE width = ? AND is_whole", (RAW,)).fetchone()
        (frozen,) = connection.execute("SELECT max(at) FROM sweep WHERE block IS NOT ?", (self.block,)).fetchone()
        self.boundary = max((at for at in (whole, frozen) if at is not None), default=float("-inf"))
        (latest,) = connection.execute("SELECT max(at) FROM sweep").fetchone()
        self.latest = self.boundary if latest is None else latest

    @property
    def series(self) -> int:
        """How many series have a place in it."""
        return len(self._series)

    def _read_places(self, block: int) -> None:
        self._series = members_of(self._connection, block)
        self._place_of = {number: place for place, number in enumerate(self._series)}
        # the numbers of the last sweep are not known: all that have a place are carried on
        self._numbers = array("d", [0.0]) * len(self._series)
        self._most = len(self._series)
        for number in self._series:
            row = self._connection.execute("SELECT metric, labels FROM series WHERE id = ?", (number,)).fetchone()
            with decoding(f"series {number}"):
                metric, labels = row
                self._places[unspelled(metric), tuple(json.loads(labels).items())] = self._place_of[number]

    def write(self, path: str, at: float, samples: list[Sample]) -> None:
        """Keep a sweep; in one transaction, which the caller begins and ends.

        Raises:
            HistoryError: It lies before what is already folded.
            ConfigurationError: A sample is none.
        """
        if at <= self.boundary:
            raise HistoryError(
                f"{path}: a sweep at {at:.3f} is not after {self.boundary:.3f}, up to where all is folded: the clock went back;"
                " sweeps are kept again once it has passed that time"
            )
        block = self._begin(at) if self.block is None else self.block
        numbers, new = self._placed(samples)
        if new:
            self._admit(block, at, new, numbers)
        self._put(block, at, numbers)
        self._numbers = numbers
        self.latest = max(self.latest, at)
        self._most = max(self._most, len(samples))
        # where new series come with each sweep, most places are of those that have gone, and each sweep has a number for each
        is_empty = len(self._series) > _MOST_EMPTY * self._most + SERIES_IN_PART
        if self._sweeps >= SWEEPS_IN_BLOCK or is_empty:
            self.block = None
            self.boundary = self.latest

    def _placed(self, samples: list[Sample]) -> tuple[array[float], list[tuple[Sample, str, str, float]]]:
        """Return the numbers of what has a place, and what has none yet, as it is to be stored."""
        numbers = array("d", [MISSING]) * len(self._series)
        places = self._places
        new: list[tuple[Sample, str, str, float]] = []
        sample: object = None
        try:
            for sample in samples:
                metric, labels, value = sample
                try:
                    numbers[places[metric, labels]] = value
                except KeyError:
                    (number,) = array("d", [value])
                    new.append((sample, spelled(metric), labels_of(labels), number))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ConfigurationError(
                f"samples: {sample!r} is none ({error}): give a name, a tuple of pairs of label and value, and a number"
            ) from error
        return numbers, new

    def _begin(self, at: float) -> int:
        """Begin a block with the series that were in the last sweep."""
        row = self._connection.execute("INSERT INTO block (width, since) VALUES (?, ?) RETURNING id", (RAW, at)).fetchone()
        block = int(row[0])
        alive = sorted(number for number, value in zip(self._series, self._numbers, strict=True) if value == value)  # noqa: PLR0124 - no NaN
        before = self._series
        self._series = array("q", alive)
        self._place_of = {number: place for place, number in enumerate(alive)}
        self._places = {key: place for key, old in self._places.items() if (place := self._place_of.get(before[old])) is not None}
        if alive:
            self._connection.execute("INSERT INTO member VALUES (?, 0, ?)", (block, self._series.tobytes()))
        self.block = block
        self._sweeps = self._most = 0
        return block

    def _admit(self, block: int, at: float, new: list[tuple[Sample, str, str, float]], numbers: array[float]) -> None:
        first = len(self._series)
        for (metric, labels, _), name, canonical, value in new:
            number = series_id(self._connection, name, canonical, at)
            place = self._place_of.get(number)
            if place is None:
                place = self._place_of[number] = len(self._series)
                self._series.append(number)
                numbers.append(value)
            else:
                numbers[place] = value
            self._places[metric, labels] = place
        if len(self._series) > first:
            stored = self._series[first:].tobytes()
            self._connection.execute("INSERT INTO member VALUES (?, ?, ?)", (block, first, stored))

    def _put(self, block: int, at: float, numbers: array[float]) -> None:
        parts = range(0, len(numbers), SERIES_IN_PART)
        same = self._connection.execute("SELECT id FROM sweep WHERE at = ?", (at,)).fetchone()
        if same is not None:
            self._connection.execute("DELETE FROM sweep WHERE id = ?", same)
            self._connection.executemany(
                "DELETE FROM part WHERE id = ?", [(part << PART_BITS | same[0],) for part in range(len(parts))]
            )
            self._sweeps -= 1
        (sweep,) = self._connection.execute("INSERT INTO sweep (block, at) VALUES (?, ?) RETURNING id", (block, at)).fetchone()
        self._connection.executemany(
            "INSERT INTO part VALUES (?, ?)",
            [(part << PART_BITS | sweep, numbers[first : first + SERIES_IN_PART].tobytes()) for part, first in enumerate(parts)],
        )
        self._sweeps += 1
