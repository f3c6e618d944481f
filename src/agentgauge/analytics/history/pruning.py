"""What is forgotten: what is past its time, and what there is no room for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.history.file import MOST_LOG_BYTES
from agentgauge.analytics.history.folding import SEEN_SECONDS, forget_block
from agentgauge.analytics.history.gathering import PART_BITS
from agentgauge.analytics.history.tiers import RAW, TIERS

if TYPE_CHECKING:
    import sqlite3

    from agentgauge.analytics.history.retention import Retention

__all__ = ["Pruning"]

_MOST_FREE = 0.25
_PAGES_AT_ONCE = 1000
_POINTS_AT_ONCE = 10_000
_SWEEPS_AT_ONCE = 20
# the newest block of a tier stays: it says up to where it is folded
_OLD_BLOCKS = """
    SELECT id FROM block WHERE width = ? AND is_whole AND until <= ?
    AND until < (SELECT max(until) FROM block AS newest WHERE newest.width = block.width AND newest.is_whole)
    ORDER BY until LIMIT ?
"""


class Pruning:
    """Forgets, in the transactions of the caller.

    Args:
        connection: The writer's.
        retention: For how long each tier is kept.
        max_bytes: What the file and its log may take. It is no limit for SQLite: that would make writes fail.
    """

    def __init__(self, connection: sqlite3.Connection, retention: Retention, max_bytes: int) -> None:
        self._connection = connection
        self._retention = retention
        # the log grows to twice where it is emptied, and that much beyond is what the next sweeps need
        self._max_bytes = max_bytes - 2 * min(MOST_LOG_BYTES, max_bytes // 8)

    def by_age(self, now: float) -> None:
        """Forget what is past its time, once what is coarser has it."""
        kept = ((RAW, self._retention.raw_seconds), *((tier.width, tier.kept_seconds(self._retention)) for tier in TIERS))
        for (width, seconds), coarser in zip(kept, (*TIERS, None), strict=True):
            limit = now - seconds
            if coarser is not None:
                limit = min(limit, self._folded_until(coarser.width))
            rows = self._connection.execute(_OLD_BLOCKS, (width, limit, -1)).fetchall()
            for (block,) in rows:
                forget_block(self._connection, block)
        self._connection.execute("DELETE FROM point WHERE at <= ?", (now - self._retention.points_seconds,))
        self._forget_series()

    def _folded_until(self, width: int) -> float:
        (until,) = self._connection.execute("SELECT max(until) FROM block WHERE width = ? AND is_whole", (width,)).fetchone()
        return -math.inf if until is None else float(until)

    def _forget_series(self) -> None:
        (first,) = self._connection.execute("SELECT min(since) FROM block").fetchone()
        if first is not None:
            self._connection.execute(
                "DELETE FROM series WHERE seen < ? AND id NOT IN (SELECT DISTINCT series FROM point)", (first - 2 * SEEN_SECONDS,)
            )

    def is_over(self) -> bool:
        """Tell whether there is more than there is room for."""
        pages, free, size = self._pages()
        return (pages - free) * size > self._max_bytes

    def by_size(self) -> bool:
        """Forget the one thing that may go first, and is no part of an open block; tell whether there was any.

        Sweeps that a tier has go first, then minutes, points, quarters and hours, and at last sweeps that nothing else has.
        """
        for width, coarser in ((RAW, 60), (60, 900)):
            if self._forget_oldest(width, self._folded_until(coarser)):
                return True
        if self._forget_points():
            return True
        return any(self._forget_oldest(width, math.inf) for width in (60, 900, 3600, RAW))

    def _forget_oldest(self, width: int, limit: float) -> bool:
        row = self._connection.execute(_OLD_BLOCKS, (width, limit, 1)).fetchone()
        if row is not None:
            forget_block(self._connection, row[0])
            self._forget_series()  # else those that have gone would in the end take the place of what there is
        return row is not None

    def _forget_points(self) -> bool:
        cursor = self._connection.execute(
            "DELETE FROM point WHERE (series, at) IN (SELECT series, at FROM point ORDER BY at LIMIT ?)", (_POINTS_AT_ONCE,)
        )
        return cursor.rowcount > 0

    def sweeps_by_size(self) -> bool:
        """Forget the oldest sweeps of blocks that are not whole, where there is nothing else; tell whether there were any."""
        oldest = "SELECT id FROM sweep WHERE at < (SELECT max(at) FROM sweep) ORDER BY at LIMIT ?"
        self._connection.execute(f"DELETE FROM part WHERE id & ? IN ({oldest})", ((1 << PART_BITS) - 1, _SWEEPS_AT_ONCE))  # noqa: S608
        return self._connection.execute(f"DELETE FROM sweep WHERE id IN ({oldest})", (_SWEEPS_AT_ONCE,)).rowcount > 0  # noqa: S608

    def shrink(self) -> bool:
        """Give some free pages back to the disk, where there are many or no room for them; tell whether there are more."""
        pages, free, size = self._pages()
        too_many = free > pages * _MOST_FREE and free > _PAGES_AT_ONCE
        if not free or not (too_many or pages * size > self._max_bytes):
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
        return 0 < self._pages()[1] < free

    def _pages(self) -> tuple[int, int, int]:
        read = [
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        ]
        return read[0], read[1], read[2]
