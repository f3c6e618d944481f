"""Frames out of a history: which blocks answer a grid, and what one series has in them."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat, starmap
from operator import itemgetter, le, lt
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Fold
from agentgauge.analytics.history.columns import MISSING, unpack, unpack_times
from agentgauge.analytics.history.folding import SERIES_BITS, stored_as
from agentgauge.analytics.history.gathering import PART_BITS, SERIES_IN_PART, members_of
from agentgauge.analytics.history.tiers import RAW, TIERS, bucket_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from agentgauge.analytics.frames import Grid

__all__ = ["Plan", "folded_points", "merged"]

_LOOKBACK_SECONDS = 300.0  # what Prometheus looks back for an instant selector
_CHUNKS_AT_ONCE = 400
_ends_of = lru_cache(maxsize=512)(unpack_times)  # of blocks that never change; a write makes every plan anew
_COLUMN = {Fold.LAST: "last", Fold.MIN: "least", Fold.MAX: "greatest", Fold.MEAN: "mean", Fold.COUNT: "count"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block, or what of it belongs to an answer."""

    block: int
    width: int
    size: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Range:
    """Where a tier answers: ``(since, until]``."""

    width: int
    since: float
    until: float


def _without(ranges: list[_Range], width: int, since: float, until: float) -> list[_Range]:
    """Return what of ``(since, until]`` no range has yet."""
    left = []
    at = since
    for taken in sorted(ranges, key=lambda taken: taken.since):
        if taken.since > at:
            left.append(_Range(width, at, min(until, taken.since)))
        at = max(at, taken.until)
        if at >= until:
            break
    if at < until:
        left.append(_Range(width, at, until))
    return [one for one in left if one.since < one.until]


class Plan:
    """Where the frames of one grid and fold come from, the same for every series; right until something is written.

    What is coarser than the step answers only where nothing finer is left. Where a step is a whole number of buckets,
    they give what sweeps would have.
    """

    def __init__(self, connection: sqlite3.Connection, grid: Grid, fold: Fold) -> None:
        self._connection = connection
        self._grid = grid
        self._fold = fold
        self._lookback = max(grid.step_seconds, _LOOKBACK_SECONDS)
        self._pieces: list[_Piece] = []
        self._ends = array("d")
        self._widths: list[tuple[int, int]] = []  # from which index on buckets are how wide
        self._open: list[tuple[int, list[int], array[int]]] = []  # blocks of sweeps: which of them, and whose places
        reach = self._lookback if fold is Fold.LAST else grid.step_seconds
        self._read_pieces(self._ranges(grid.start - reach, grid.end))
        if fold is Fold.LAST:
            self._pick = self._last_indices()
        else:
            self._cells = self._spans()

    def _ranges(self, since: float, until: float) -> list[_Range]:
        step = self._grid.step_seconds
        extents = {
            width: (first, last)
            for width, first, last in self._connection.execute(
                "SELECT width, min(since), max(until) FROM block WHERE is_whole GROUP BY width"
            )
        }
        for tier in TIERS:
            if tier.width in extents:  # from its first bucket that has something
                select = "SELECT ends FROM block WHERE width = ? AND is_whole ORDER BY since LIMIT 1"
                (stored,) = self._connection.execute(select, (tier.width,)).fetchone()
                extents[tier.width] = (unpack_times(stored)[0] - tier.width, extents[tier.width][1])
        exact = [tier for tier in reversed(TIERS) if step % tier.width == 0]
        coarse = [tier for tier in TIERS if step % tier.width != 0]
        ranges: list[_Range] = []
        for tier in exact:
            if tier.width in extents:
                first, last = extents[tier.width]
                ranges += _without(ranges, tier.width, first, last)
        raw_since = -math.inf
        if coarse and RAW in extents:
            first = extents[RAW][0]
            before = [tier.width for tier in coarse if tier.width in extents and extents[tier.width][0] + tier.width < first]
            if before:  # the block before is gone: its last bucket is whole only in the tier
                raw_since = bucket_of(first, before[0]) * before[0]
        elif coarse and extents:
            raw_since = extents[min(extents)][1]
        ranges += _without(ranges, RAW, raw_since, math.inf)
        fine = len(ranges)
        for tier in coarse:
            if tier.width in extents:
                ranges += _without(ranges, tier.width, *extents[tier.width])
        asked = []
        for index, one in enumerate(ranges):
            wider = one.width if index >= fine else 0.0  # a wide bucket that a time of the grid lies in may end after it
            first, last = max(since - wider, one.since), min(until + wider, one.until)
            if first < last:
                asked.append(_Range(one.width, first, last))
        return sorted(asked, key=lambda one: one.since)

    def _read_pieces(self, ranges: list[_Range]) -> None:
        for one in ranges:
            rows = self._connection.execute(
                "SELECT id, ends FROM block WHERE width = ? AND is_whole AND until > ? AND since <= ? ORDER BY since",
                (one.width, one.since, one.until),
            ).fetchall()
            for block, stored in rows:
                ends = _ends_of(stored)
                begin, end = bisect_right(ends, one.since), bisect_right(ends, one.until)
                if begin < end:
                    self._add(_Piece(block, one.width, len(ends), begin, end), ends[begin:end])
            if one.width == RAW:
                self._read_open(one)

    def _read_open(self, one: _Range) -> None:
        blocks = self._connection.execute("SELECT id FROM block WHERE width = ? AND NOT is_whole ORDER BY id", (RAW,)).fetchall()
        for (block,) in blocks:
            rows = self._connection.execute("SELECT id, at FROM sweep WHERE block = ? ORDER BY at", (block,)).fetchall()
            ends = array("d", [at for _, at in rows])
            begin, end = bisect_right(ends, one.since), bisect_right(ends, one.until)
            if begin < end:
                sweeps = [sweep for sweep, _ in rows[begin:end]]
                self._open.append((len(self._pieces), sweeps, members_of(self._connection, block)))
                self._add(_Piece(block, RAW, end - begin, 0, end - begin), ends[begin:end])

    def _add(self, piece: _Piece, ends: array[float]) -> None:
        if not self._widths or self._widths[-1][1] != piece.width:
            self._widths.append((len(self._ends), piece.width))
        self._pieces.append(piece)
        self._ends.extend(ends)

    def _width_at(self, index: int) -> int:
        place = bisect_right(self._widths, (index, math.inf)) - 1
        return self._widths[place][1]

    def _last_indices(self) -> list[int]:
        """Return for each time which entry is its last; the one after all others is missing."""
        ends, step, times = self._ends.tolist(), self._grid.step_seconds, self._grid.times
        found = [len(ends)] * (bisect_left(times, ends[0]) if ends else len(times))
        rest = times[len(found) :]
        # where each step has as many sweeps, as it mostly has, nothing needs to be searched
        index = bisect_right(ends, rest[0] - step) if rest else 0
        if rest and (stride := bisect_right(ends, rest[0]) - index):
            picked = range(index + stride - 1, len(ends), stride)[: len(rest)]
            inside, after = ends[picked.start :: stride], ends[picked.start + 1 :: stride]
            regular = min(_true_until(map(le, inside, rest), len(picked)), _true_until(map(lt, rest, after), len(picked)))
            found += picked[:regular]
            rest = rest[regular:]
        since = self._lookback
        found += [
            index - 1 if ends[index - 1] > at - since else self._held(index - 1, at)
            for index, at in zip(map(bisect_right, repeat(ends), rest), rest, strict=True)
        ]
        return found

    def _held(self, index: int, at: float) -> int:
        """Return the index of an entry that is too old to be looked back for, if it counts; else the one after all others."""
        width = self._width_at(index)
        # where only coarse ones are left, the last of them holds until the next
        is_held = width and self._grid.step_seconds % width != 0 and self._ends[index] > at - width
        return index if is_held else len(self._ends)

    def _spans(self) -> list[tuple[int, int, float]]:
        """Return for each time which entries are its, and which share of what they count."""
        ends, step = self._ends, self._grid.step_seconds
        spans = []
        for at in self._grid.times:
            begin, end = bisect_right(ends, at - step), bisect_right(ends, at)
            share = 1.0
            holder = bisect_left(
                ends, at
            )  # the bucket that this time lies in, for all that is known where buckets are wider than a step
            if holder < len(ends) and (width := self._width_at(holder)) > step and ends[holder] - width < at:
                begin, end, share = holder, holder + 1, step / width
            spans.append((begin, end, share))
        return spans

    def column(self, series: int, name: str) -> array[float]:
        """Return what one series has at all ends: of sweeps, what they had."""
        column = array("d")
        opened = {piece: (sweeps, members) for piece, sweeps, members in self._open}
        chunks = self._chunks(series, name)
        for index, piece in enumerate(self._pieces):
            if index in opened:
                column.extend(self._open_column(series, *opened[index]))
            else:
                numbers = unpack(chunks.get(piece.block), piece.size)
                column.extend(numbers if piece.end - piece.begin == piece.size else numbers[piece.begin : piece.end])
        if name == "count":
            self._count_sweeps(column)
        return column

    def _count_sweeps(self, column: array[float]) -> None:
        at = 0
        for piece in self._pieces:
            size = piece.end - piece.begin
            if piece.width == RAW:
                column[at : at + size] = array("d", [1.0 if value == value else MISSING for value in column[at : at + size]])  # noqa: PLR0124
            at += size

    def _chunks(self, series: int, name: str) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for first in range(0, len(self._pieces), _CHUNKS_AT_ONCE):
            numbers = [piece.block << SERIES_BITS | series for piece in self._pieces[first : first + _CHUNKS_AT_ONCE]]
            places = ",".join("?" * len(numbers))
            # sweeps have nothing but their last values
            rows = self._connection.execute(f"SELECT id, {stored_as(name)} FROM chunk WHERE id IN ({places})", numbers)  # noqa: S608
            found.update((number >> SERIES_BITS, packed) for number, packed in rows)
        return found

    def _open_column(self, series: int, sweeps: list[int], members: array[int]) -> array[float]:
        column = array("d", [MISSING]) * len(sweeps)
        try:
            place = members.index(series)
        except ValueError:
            return column
        part, offset = divmod(place, SERIES_IN_PART)
        rows = self._connection.execute(
            "SELECT id & ?, substr(numbers, ?, 8) FROM part WHERE id BETWEEN ? AND ?",
            ((1 << PART_BITS) - 1, offset * 8 + 1, part << PART_BITS | min(sweeps), part << PART_BITS | max(sweeps)),
        )
        stored = {sweep: number for sweep, number in rows if len(number) == column.itemsize}
        lacking = column[:1].tobytes()
        column = array("d")
        column.frombytes(b"".join([stored.get(sweep, lacking) for sweep in sweeps]))
        return column

    def fold(self, series: int) -> array[float]:
        """Return one series over the grid."""
        if not self._ends:
            return array("d", [MISSING]) * self._grid.count
        if self._fold is Fold.LAST:
            column = self.column(series, "last")
            column.append(MISSING)
            if len(self._pick) == 1:
                return array("d", [column[self._pick[0]]])
            return array("d", itemgetter(*self._pick)(column))
        column = self.column(series, _COLUMN[self._fold])
        if self._fold is Fold.MEAN:
            counts = self.column(series, "count")
            return array("d", [_mean(column, counts, begin, end) for begin, end, _ in self._cells])
        choose = {Fold.MIN: _least, Fold.MAX: _greatest, Fold.COUNT: _total}[self._fold]
        return array(
            "d",
            [
                choose(column, begin, end) * share if share != 1.0 and self._fold is Fold.COUNT else choose(column, begin, end)
                for begin, end, share in self._cells
            ],
        )


def _true_until(answers: Iterable[bool], end: int) -> int:
    told = list(answers)
    return told.index(False) if False in told else end


def _there(column: array[float], begin: int, end: int) -> Sequence[float]:
    return [value for value in column[begin:end] if value == value]  # noqa: PLR0124 - no NaN


def _least(column: array[float], begin: int, end: int) -> float:
    return column[begin] if end - begin == 1 else min(_there(column, begin, end), default=MISSING)


def _greatest(column: array[float], begin: int, end: int) -> float:
    return column[begin] if end - begin == 1 else max(_there(column, begin, end), default=MISSING)


def _total(column: array[float], begin: int, end: int) -> float:
    return column[begin] if end - begin == 1 else sum(_there(column, begin, end)) or MISSING


def _mean(column: array[float], counts: array[float], begin: int, end: int) -> float:
    if end - begin == 1:
        return column[begin]
    size = sum(_there(counts, begin, end))
    if not size:
        return MISSING
    return sum(value * count for value, count in zip(column[begin:end], counts[begin:end], strict=True) if value == value) / size  # noqa: PLR0124


def folded_points(connection: sqlite3.Connection, series: int, grid: Grid, fold: Fold) -> array[float] | None:
    """Return the points of one series over a grid; None where it has none there."""
    reach = max(grid.step_seconds, _LOOKBACK_SECONDS) if fold is Fold.LAST else grid.step_seconds
    rows = connection.execute(
        "SELECT at, value FROM point WHERE series = ? AND at > ? AND at <= ? ORDER BY at", (series, grid.start - reach, grid.end)
    ).fetchall()
    if not rows:
        return None
    times = [at for at, _ in rows]
    column = array("d", [MISSING if value is None else value for _, value in rows])
    counts = array("d", [1.0 if value == value else MISSING for value in column])  # noqa: PLR0124 - no NaN
    folded = array("d")
    for at in grid.times:
        begin, end = bisect_right(times, at - reach), bisect_right(times, at)
        if begin == end:
            folded.append(MISSING)
        elif fold is Fold.LAST:
            folded.append(column[end - 1])
        elif fold is Fold.MEAN:
            folded.append(_mean(column, counts, begin, end))
        elif fold is Fold.COUNT:
            folded.append(_total(counts, begin, end))
        else:
            folded.append(_least(column, begin, end) if fold is Fold.MIN else _greatest(column, begin, end))
    return folded


def merged(
    swept: array[float], points: array[float], fold: Fold, sizes: tuple[array[float], array[float]] | None
) -> array[float]:
    """Return sweeps and points of one series as one: of each time both count, and the last is the sweep's where there is one.

    Args:
        swept: What sweeps give.
        points: What points give.
        fold: Of both.
        sizes: How many there are of either, for a mean.
    """
    if sizes is not None:
        return array("d", starmap(_mean_of_two, zip(swept, points, *sizes, strict=True)))
    return array("d", [_of_two(a, b, fold) for a, b in zip(swept, points, strict=True)])


def _of_two(a: float, b: float, fold: Fold) -> float:
    if a != a or b != b:  # noqa: PLR0124 - one is NaN
        return b if a != a else a  # noqa: PLR0124
    if fold is Fold.LAST:
        return a
    if fold is Fold.COUNT:
        return a + b
    return min(a, b) if fold is Fold.MIN else max(a, b)


def _mean_of_two(a: float, b: float, a_size: float, b_size: float) -> float:
    if a != a or b != b:  # noqa: PLR0124 - one is NaN
        return b if a != a else a  # noqa: PLR0124
    return (a * a_size + b * b_size) / (a_size + b_size)
