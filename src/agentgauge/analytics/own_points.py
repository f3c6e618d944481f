"""Who writes the history of this program, and who has points of their own for it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from agentgauge.errors import HistoryError, contain_internal_errors
from agentgauge.recording.members import Members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Holder", "PointWriter", "Store", "hand_over", "holders", "keep", "keeper", "leave"]


class PointWriter(Protocol):
    """What those who record points need of a history."""

    def write_points(
        self, metric: str, labels: tuple[tuple[str, str], ...], times: Sequence[float], values: Sequence[float]
    ) -> None:
        """Write points of any time; they are on the disk when this returns.

        Raises:
            HistoryError: They are not.
        """


class Holder(Protocol):
    """What has points for the history of this program."""

    def write(self) -> int:
        """Write what it has to ``keeper()``, and return how many points that took.

        Raises:
            HistoryError: Some are not written; they wait for the next time.
        """


class Store(Protocol):
    """What a sampler needs of a ``History``."""

    def write(self, at: float, samples: Iterable[tuple[str, tuple[tuple[str, str], ...], float]]) -> None:
        """Keep one sweep for good, or raise ``HistoryError``."""

    def write_points(self, metric: str, labels: Mapping[str, str], times: Iterable[float], values: Iterable[float]) -> None:
        """Keep points of any time for good, or raise ``HistoryError``."""

    def last_sweep(self) -> float | None:
        """Return the time of the last sweep; points may be of any time."""

    def begin_anew(self, what: str) -> None:
        """Keep the file under another name, say of what it was found, and begin a new one."""

    def close(self) -> None:
        """Give the file back."""


holders: Members[Holder] = Members()
_keepers: list[PointWriter] = []  # one for each start() that keeps a history; the first has the points


def keep(writer: PointWriter) -> None:
    """Take points for the history that this writes, from now on until ``leave()``."""
    _keepers.append(writer)


def leave(writer: PointWriter) -> None:
    """Take no more of them."""
    with contextlib.suppress(ValueError):
        _keepers.remove(writer)


def keeper() -> PointWriter | None:
    """Return what writes the history of this program; None where nothing does."""
    try:
        return _keepers[0]
    except IndexError:
        return None


def hand_over() -> None:
    """Let all who have points write them; what cannot be written waits, and whoever keeps the history says so."""
    for holder in holders:
        with contain_internal_errors("analytics"), contextlib.suppress(HistoryError):
            holder.write()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keepers.clear)  # the file is the parent's
