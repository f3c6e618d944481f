"""Readings, and how they become prometheus_client's metric families."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import psutil
from prometheus_client.core import Metric

from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.catalogue import Family

__all__ = ["Reading", "Utilization", "gather"]

_logger = logging.getLogger("agentgauge")


class Reading(NamedTuple):
    """One value of one series, in the family's unit."""

    family: Family
    value: float
    labels: Mapping[str, str]


def gather(hook: str, sources: Iterable[Callable[[], Iterable[Reading]]]) -> list[Metric]:
    """Ask every source and group what they say by family; a source that fails says nothing and costs no other.

    What the machine refuses to tell (``OSError``, ``psutil.Error``) is simply absent; any other exception is a fault of ours.

    Args:
        hook: Where such a fault is counted.
        sources: Functions that take the readings; a family comes from one source only.
    """
    metrics: dict[str, Metric] = {}
    for source in sources:
        try:
            readings = list(source())
        except (OSError, psutil.Error) as error:
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
            metric.add_sample(family.name, {name: _as_utf8(text) for name, text in labels.items()}, value)
    return list(metrics.values())


def _as_utf8(text: str) -> str:
    return text.encode(errors="replace").decode()  # a mount point may hold bytes that would break the whole page


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
