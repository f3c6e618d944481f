"""What a program's series are at one moment: from its page, or from a history or a Prometheus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prometheus_client.parser import text_string_to_metric_families

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.analytics.frames import Source

__all__ = ["FRESH_SECONDS", "METRICS", "Page", "Snapshot", "Snapshots", "SourceAt", "parsed"]

TASKS = "agent_task_duration_seconds"
METRICS = (
    f"{TASKS}_bucket",
    f"{TASKS}_count",
    "agent_tasks_in_progress",
    "agent_task_oldest_start_timestamp_seconds",
    "agent_cost_usd_total",
    "agent_tokens_total",
    "agent_state",
)
"""The samples that are read."""

FRESH_SECONDS = 60.0
"""What is older is not shown as what is now."""
_WITNESS = "agentgauge_build_info"  # in every sweep and scrape

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Samples of one moment.

    Attributes:
        at: Unix time in seconds.
        samples: The values by metric and labels.
    """

    at: float
    samples: Mapping[str, Mapping[Labels, float]]


class Snapshots(Protocol):
    """Where snapshots come from.

    Attributes:
        name: How people know it, without credentials.
    """

    name: str

    def read(self, at: float) -> Snapshot:
        """Return what there is at a time, which is now; where there was nothing since, what there was last.

        Raises:
            SourceError: It cannot be read.
        """

    def before(self, snapshot: Snapshot, seconds: float) -> Snapshot | None:
        """Return what there was so long before a snapshot; None where only the present can be read.

        Raises:
            SourceError: It cannot be read.
        """


class Page:
    """A program's own ``/metrics``.

    Args:
        name: Its address, without credentials.
        fetch: Returns the page.
    """

    def __init__(self, name: str, fetch: Callable[[], str]) -> None:
        self.name = name
        self._fetch = fetch

    def read(self, at: float) -> Snapshot:
        """Return what the page says now."""
        return parsed(self._fetch(), at, self.name)

    def before(self, snapshot: Snapshot, seconds: float) -> Snapshot | None:
        """Return None: a page has no past."""


def parsed(text: str, at: float, name: str) -> Snapshot:
    """Read a page as Prometheus does.

    Raises:
        SourceError: It is no such page.
    """
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in METRICS:
                    samples.setdefault(sample.name, {})[_labels(sample.labels)] = float(sample.value)
    except (ValueError, KeyError, IndexError):
        raise SourceError(
            f"{name} shows no metrics that can be read: give the address of a program's page, such as http://127.0.0.1:9464/metrics"
        ) from None
    return Snapshot(at, samples)


class SourceAt:
    """A history or a Prometheus, asked about single moments.

    Args:
        open_source: Opens it; again where it could not be read, or nothing came for a while: the file may be another by then.

    Raises:
        ConfigurationError: It cannot be opened.
        SourceError: It cannot be read.
    """

    def __init__(self, open_source: Callable[[], Source]) -> None:
        self._open = open_source
        self._source: Source | None = open_source()
        self._is_old = False
        self.name = self._source.name

    def read(self, at: float) -> Snapshot:
        """Return the last samples up to a time; where they are old, as of the time that they are of."""
        try:
            if self._is_old:
                self._close()
            source = self._source = self._source or self._open()
            last = self._last(source, float(math.floor(at)))
            snapshot = self._at(source, last)
        except Exception:
            self._close()
            raise
        self._is_old = at - last > FRESH_SECONDS
        return snapshot

    def before(self, snapshot: Snapshot, seconds: float) -> Snapshot | None:
        """Return the last samples up to so long before."""
        source = self._source = self._source or self._open()
        extent = source.extent()
        first = math.ceil(extent[0]) if extent is not None else 0  # what came before that is not known, and not zero
        return self._at(source, min(snapshot.at, float(max(math.floor(snapshot.at - seconds), first))))

    def _last(self, source: Source, at: float) -> float:
        """Return a time, or that of the last sample where it is older."""
        latest = Grid(at, FRESH_SECONDS, 1)
        if any(frame.values[0] > 0 for frame in source.frames(_WITNESS, latest, fold=Fold.COUNT)):
            return at
        extent = source.extent()
        if extent is None:
            raise SourceError(f"{self.name} has no samples yet: let the program run for some seconds")
        return min(at, float(math.ceil(extent[1])))

    def _at(self, source: Source, second: float) -> Snapshot:
        grid = Grid(second, 1.0, 1)
        return Snapshot(
            second,
            {metric: {_labels(frame.labels): frame.values[0] for frame in source.frames(metric, grid)} for metric in METRICS},
        )

    def _close(self) -> None:
        close = getattr(self._source, "close", None)
        self._source = None
        if close is not None:
            close()


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
