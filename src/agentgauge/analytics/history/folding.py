"""How sweeps become blocks, and blocks those of the next tier: bit by bit, so that no write takes long."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Protocol

from agentgauge.analytics.history.columns import MISSING, numbers_of, pack, packed_times, unpack, unpack_times
from agentgauge.analytics.history.gathering import PART_BITS, SERIES_IN_PART, members_of
from agentgauge.analytics.history.tiers import RAW, TIERS, Buckets, Tier, bucket_of, fold_buckets, fold_samples, spans_of

if TYPE_CHECKING:
    import sqlite3

__all__ = ["COLUMNS", "SEEN_SECONDS", "SERIES_BITS", "Folding", "forget_block", "stored_as"]

SERIES_BITS = 32
SEEN_SECONDS = 3600.0
"""When a series was last seen is noted no more often."""
COLUMNS = ("last", "least", "greatest", "mean", "count")

_SERIES_IN_SLICE = 500
_SERIES_MASK = (1 << SERIES_BITS) - 1


class _Job(Protocol):
    def step(self) -> bool:
        """Do a part of it, in one transaction of the caller's; tell whether that was the last."""


def forget_chunks(connection: sqlite3.Connection, block: int) -> None:
    """Delete what a block has of all series."""
    connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", (block << SERIES_BITS, block << SERIES_BITS | _SERIES_MASK))


def forget_block(connection: sqlite3.Connection, block: int) -> None:
    """Delete a block that is no block of sweeps to be folded."""
    forget_chunks(connection, block)
    connection.execute("DELETE FROM block WHERE id = ?", (block,))


def stored_as(column: str) -> str:
    """Return the expression that reads a column of a chunk: what is the same as the last values is kept once."""
    return column if column == "last" else f"coalesce({column}, last)"


def _row(buckets: Buckets) -> tuple[bytes | None, ...]:
    last, *others, count = map(pack, buckets)
    return (last, *(None if other == last else other for other in others), count)


class _BlockOfSweeps:
    """Makes a block of sweeps whole: a row for each series instead of one for each sweep."""

    def __init__(self, connection: sqlite3.Connection, block: int) -> None:
        self._connection = connection
        self._block = block
        rows = connection.execute("SELECT id, at FROM sweep WHERE block = ? ORDER BY at", (block,)).fetchall()
        self._order = {sweep: index for index, (sweep, _) in enumerate(rows)}
        self._times = [at for _, at in rows]
        self._series = members_of(connection, block)
        self._part = 0
        forget_chunks(connection, block)  # of a job that was begun and not ended: what it had folded may have gone since

    def step(self) -> bool:
        first = self._part * SERIES_IN_PART
        if first < len(self._series):
            self._fold(self._part, self._series[first : first + SERIES_IN_PART])
            self._part += 1
            return False
        self._finish()
        return True

    def _fold(self, part: int, series: array[int]) -> None:
        if not self._order:
            return
        width = len(series)
        matrix = array("d", [MISSING]) * (width * len(self._order))
        low, high = min(self._order), max(self._order)
        rows = self._connection.execute(
            "SELECT id & ?, numbers FROM part WHERE id BETWEEN ? AND ?",
            ((1 << PART_BITS) - 1, part << PART_BITS | low, part << PART_BITS | high),
        )
        for sweep, stored in rows:
            index = self._order.get(sweep)
            if index is not None:
                numbers = numbers_of(stored)
                matrix[index * width : index * width + len(numbers)] = numbers
        nothing = pack(array("d", [MISSING]) * len(self._order))
        packed = [(self._block << SERIES_BITS | number, pack(matrix[place::width])) for place, number in enumerate(series)]
        self._connection.executemany("INSERT INTO chunk (id, last) VALUES (?, ?)", [row for row in packed if row[1] != nothing])
        until = self._times[-1]
        self._connection.executemany(
            "UPDATE series SET seen = ? WHERE id = ? AND seen < ?", [(until, number, until - SEEN_SECONDS) for number in series]
        )

    def _finish(self) -> None:
        block = (self._block,)
        parts = range(math.ceil(len(self._series) / SERIES_IN_PART))
        if self._times:
            self._connection.execute(
                "UPDATE block SET is_whole = 1, since = ?, until = ?, ends = ? WHERE id = ?",
                (self._times[0], self._times[-1], packed_times(self._times), self._block),
            )
        else:
            self._connection.execute("DELETE FROM block WHERE id = ?", block)
        self._connection.executemany(
            "DELETE FROM part WHERE id = ?", [(part << PART_BITS | sweep,) for part in parts for sweep in self._order]
        )
        self._connection.execute("DELETE FROM sweep WHERE block = ?", block)
        self._connection.execute("DELETE FROM member WHERE block = ?", block)


class _BlockOfBuckets:
    """Makes a block of a tier out of those of the next finer one."""

    def __init__(self, connection: sqlite3.Connection, tier: Tier, since: float) -> None:
        self._connection = connection
        self._tier = tier
        self._since = since
        self._until = since + tier.seconds
        self._columns = COLUMNS if tier.finer else COLUMNS[:1]
        self._blocks: list[tuple[int, int, int, int]] = []  # its number, how many it has, from where to where they count
        ends: list[float] = []
        rows = connection.execute(
            "SELECT id, ends FROM block WHERE width = ? AND is_whole AND until > ? AND since <= ? ORDER BY since",
            (tier.finer, since, self._until),
        )
        for number, stored in rows:
            own = unpack_times(stored)
            inside = [index for index, end in enumerate(own) if since < end <= self._until]
            if inside:
                self._blocks.append((number, len(own), inside[0], inside[-1] + 1))
                ends.extend(own[inside[0] : inside[-1] + 1])
        self._ends, self._spans = spans_of(ends, tier.width)
        begun = connection.execute("SELECT id FROM block WHERE width = ? AND NOT is_whole", (tier.width,)).fetchall()
        for (block,) in begun:  # and never ended
            forget_block(connection, block)
        row = connection.execute(
            "INSERT INTO block (width, since, until, ends) VALUES (?, ?, ?, ?) RETURNING id",
            (tier.width, since, self._until, packed_times(self._ends)),
        ).fetchone()
        self._block = int(row[0])
        self._next = 0

    def step(self) -> bool:
        series = self._lowest()
        if series is None:
            self._connection.execute("UPDATE block SET is_whole = 1 WHERE id = ?", (self._block,))
            return True
        self._next = series + _SERIES_IN_SLICE
        found: dict[int, dict[int, tuple[bytes, ...]]] = {}
        for number, *_ in self._blocks:
            rows = self._connection.execute(
                f"SELECT id & ?, {', '.join(map(stored_as, self._columns))} FROM chunk WHERE id BETWEEN ? AND ?",  # noqa: S608 - our own names
                (_SERIES_MASK, number << SERIES_BITS | series, number << SERIES_BITS | (self._next - 1)),
            )
            for own, *packed in rows:
                found.setdefault(own, {})[number] = tuple(packed)
        self._connection.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)",
            [(self._block << SERIES_BITS | own, *_row(self._folded(packed))) for own, packed in sorted(found.items())],
        )
        return False

    def _lowest(self) -> int | None:
        """Return the first series that is still to do."""
        lowest = None
        for number, *_ in self._blocks:
            row = self._connection.execute(
                "SELECT min(id) FROM chunk WHERE id BETWEEN ? AND ?",
                (number << SERIES_BITS | self._next, number << SERIES_BITS | _SERIES_MASK),
            ).fetchone()
            if row[0] is not None:
                own = row[0] & _SERIES_MASK
                lowest = own if lowest is None else min(lowest, own)
        return lowest

    def _folded(self, packed: dict[int, tuple[bytes, ...]]) -> Buckets:
        columns = [array("d") for _ in self._columns]
        for number, count, begin, end in self._blocks:
            stored = packed.get(number)
            for index, column in enumerate(columns):
                column.extend(unpack(None if stored is None else stored[index], count)[begin:end])
        if len(columns) == 1:
            return fold_samples(columns[0], self._spans)
        last, least, greatest, mean, count_ = columns
        return fold_buckets((last, least, greatest, mean, count_), self._spans)


class Folding:
    """What is due to be folded, the oldest first, and the job at hand."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._job: _Job | None = None

    def due(self, open_block: int | None) -> int:
        """Return how many blocks wait, about; none once all is folded that can be."""
        (frozen,) = self._connection.execute(
            "SELECT count(*) FROM block WHERE width = ? AND NOT is_whole AND id IS NOT ?", (RAW, open_block)
        ).fetchone()
        return int(frozen) + sum(self._next_of(tier) is not None for tier in TIERS)

    @property
    def is_at_work(self) -> bool:
        """Whether a job is begun and not done."""
        return self._job is not None

    def step(self, open_block: int | None) -> bool:
        """Do a part of what is due, in one transaction of the caller's; tell whether a block became whole."""
        if self._job is None:
            self._job = self._choose(open_block)
        if self._job is None:
            return False
        is_done = self._job.step()
        if is_done:
            self._job = None
        return is_done

    def _choose(self, open_block: int | None) -> _Job | None:
        (block,) = self._connection.execute(
            "SELECT min(id) FROM block WHERE width = ? AND NOT is_whole AND id IS NOT ?", (RAW, open_block)
        ).fetchone()
        if block is not None:
            return _BlockOfSweeps(self._connection, block)
        for tier in TIERS:
            since = self._next_of(tier)
            if since is not None:
                return _BlockOfBuckets(self._connection, tier, since)
        return None

    def _next_of(self, tier: Tier) -> float | None:
        """Return where the next block of a tier begins, if all that belongs into it is there."""
        select = "SELECT max(until) FROM block WHERE width = ? AND is_whole"
        (done,) = self._connection.execute(select, (tier.width,)).fetchone()
        (there,) = self._connection.execute(select, (tier.finer,)).fetchone()
        if there is None:
            return None
        row = self._connection.execute(
            "SELECT ends FROM block WHERE width = ? AND is_whole AND until > ? ORDER BY since LIMIT 1",
            (tier.finer, -math.inf if done is None else done),
        ).fetchone()
        if row is None:
            return None
        first = next((end for end in unpack_times(row[0]) if done is None or end > done), None)
        if first is None:
            return None
        since = float((bucket_of(first, tier.seconds) - 1) * tier.seconds)
        return since if since + tier.seconds <= there else None
