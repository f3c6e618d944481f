"""Readings, where they come from, and how they become prometheus_client's metric families."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, NamedTuple

import psutil
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.catalogue import Family

__all__ = ["Reading", "Utilization", "gather", "read_file", "read_proc", "unescape"]

_CHUNK_BYTES = 65536
_ESCAPE = re.compile(r"\\([0-7]{3})")

_logger = logging.getLogger("agentgauge")


class Reading(NamedTuple):
    """One value of one series, in the family's unit."""

    family: Family
    value: float
    labels: Mapping[str, str]


def gather(hook: str, sources: Iterable[Callable[[], Iterable[Reading]]]) -> list[Metric]:
    """Ask every source and group what they say by family; a source that fails says nothing and costs no other.

    What the machine refuses to tell (``OSError``, ``psutil.Error``) or does not know of (``NotImplementedError``) is simply
    absent; any other exception is a fault of ours.

    Args:
        hook: Where such a fault is counted.
        sources: Functions that take the readings; a family comes from one source only.
    """
    metrics: dict[str, Metric] = {}
    for source in sources:
        try:
            readings = list(source())
        except (OSError, psutil.Error, NotImplementedError) as error:
            _logger.debug("%s cannot be read here: %r", source.__name__, error)
            continue
        except Exception as error:  # noqa: BLE001 - one unforeseen reading must not cost the others
            report_internal_error(hook, error)
            continue
        for family, value, labels in readings:
            metric = metrics.get(family.name)
            if metric is None:
                metric = Metric(family.base_name, family.help, family.kind.value, family.unit)
                metrics[family.name] = metric
            metric.samples.append(Sample(family.name, _as_utf8(labels), value))
    return list(metrics.values())


def _as_utf8(labels: Mapping[str, str]) -> dict[str, str]:
    if "".join(labels.values()).isascii():
        return dict(labels)
    # a mount point may hold bytes that would break the whole page
    return {name: text.encode(errors="replace").decode() for name, text in labels.items()}


def read_proc(name: str) -> str:
    """Read a file of the kernel's, from where psutil finds its own.

    Args:
        name: Its path below ``/proc``.

    Raises:
        OSError: There is none, or it is not for us to read.
    """
    root = getattr(psutil, "PROCFS_PATH", "/proc")  # a program in a container may have set it to the host's
    return read_file(f"{root}/{name}")


def read_file(path: str) -> str:
    """Read a small file of the kernel's in as few calls as there can be: a sweep reads dozens, and each gives the GIL away.

    Args:
        path: Where it is.

    Raises:
        OSError: There is none, or it is not for us to read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode(errors="surrogateescape")


def unescape(word: str) -> str:
    """Read a word of the kernel's tables of mounts, where a space, a tab, a line's end and a backslash are octal numbers."""
    return _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), word) if "\\" in word else word


class Utilization:
    """The share of a capacity that was used between two readings of ever growing totals.

    Readings closer together than ``SHORTEST_WINDOW_SECONDS`` get the share before, so that several scrapers do not cut
    the time into pieces too short to mean anything.
    """

    SHORTEST_WINDOW_SECONDS = 1.0

    def __init__(self) -> None:
        self._before: tuple[float, float, float] | None = None
        self._ratio: float | None = None

    def update(self, now: float, used: float, capacity: float) -> float | None:
        """Take in the totals as of now.

        Args:
            now: A monotonic clock, in seconds.
            used: What was used since some fixed time.
            capacity: What could have been used since then.

        Returns:
            The share, or ``None`` while it is unknown.
        """
        if self._before is not None:
            then, used_before, capacity_before = self._before
            if now - then < self.SHORTEST_WINDOW_SECONDS:
                return self._ratio
            is_known = used >= used_before and capacity > capacity_before
            self._ratio = (used - used_before) / (capacity - capacity_before) if is_known else None
        self._before = (now, used, capacity)
        return self._ratio
