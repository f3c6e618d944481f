"""The local history of a running program, as ``start(history_file=...)`` asks for it."""

from __future__ import annotations

import errno
import functools
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.history import History, Retention
from agentgauge.analytics.sampler import Sampler
from agentgauge.errors import ConfigurationError, HistoryError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from agentgauge.analytics.watch import AnalysisWatch
    from agentgauge.config import Config

__all__ = ["OwnHistory"]

_DAY_SECONDS = 86_400.0
_ANALYSIS_SECONDS = 60.0
_SWEEPS_A_STEP = 4  # fewer tell no rate
_PASSING_ERRNOS = {errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE}
_PASSING_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY}


class OwnHistory:
    """Opens the history, so that what cannot be one is refused before anything starts; then writes it until ``stop()``.

    A disk that is full, and a file that another process writes to, are no errors: they pass, and sweeps stay in memory so long.

    Args:
        config: The settings; ``history_file`` is not None.
        registry: What is written.

    Raises:
        ConfigurationError: The file is something else, or cannot lie there; the message says what to do.
    """

    def __init__(self, config: Config, registry: CollectorRegistry) -> None:
        path = _checked_path(config.history_file)
        self._path = path
        self.watch = self._watch(config) if config.is_analysis_enabled else None  # first: what is missing leaves nothing open
        retention = _retention(config.history_retention_days)
        open_store = functools.partial(History, path, retention=retention, max_bytes=config.history_max_bytes)
        try:
            store = open_store()
        except HistoryError as error:
            if not _passes(error):
                raise ConfigurationError(f"history_file: {error}") from None
            store = None
        self.sampler = Sampler(path, open_store, registry, config.history_interval_seconds, labels=_labels(config), store=store)

    def start(self) -> None:
        """Write it from now on, and analyse it where that is wanted."""
        self.sampler.start()
        if self.watch is not None:
            self.watch.start()

    def stop(self) -> None:
        """Write it once more, and give it back."""
        if self.watch is not None:
            self.watch.stop()
        self.sampler.stop()

    def _watch(self, config: Config) -> AnalysisWatch:
        for library in ("numpy", "scipy.special"):
            load_extra(library, "analysis", "is_analysis_enabled")
        watch: AnalysisWatch = load("agentgauge.analytics.watch").AnalysisWatch(
            self._opened,
            interval_seconds=max(_ANALYSIS_SECONDS, _SWEEPS_A_STEP * config.history_interval_seconds),
            concurrency_per_replica=config.analysis_tasks_per_replica,
        )
        return watch

    def _opened(self) -> History | None:
        """Open it to be read, unless another process writes it: that one analyses it."""
        return None if self.sampler.store is None else History(self._path, is_read_only=True)


def _checked_path(history_file: str | os.PathLike[str] | None) -> str:
    # absolute, since the program may change its folder
    path = Path(os.fsdecode(history_file or "").replace("{pid}", str(os.getpid()))).absolute()
    if not os.path.isdir(path.parent):  # noqa: PTH112 - pathlib raises where it may not look
        raise ConfigurationError(
            f"history_file={history_file!r}: {path.parent} is no folder to write in; make it, or give another path"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):  # SQLite keeps its log beside the file
        raise ConfigurationError(
            f"history_file={history_file!r}: this program may not write in {path.parent}; give it that right, or another path"
        )
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"history_file={history_file!r} is no file: give a path such as 'history.db'")
    return str(path)


def _passes(error: HistoryError) -> bool:
    """Tell whether what keeps a history from being opened may end by itself."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _PASSING_CODES  # the high bits are details
    return isinstance(cause, OSError) and cause.errno in _PASSING_ERRNOS


def _retention(days: float) -> Retention:
    """Keep hourly values for so long, and finer ones as long as by default, but no longer than those."""
    usual, longest = Retention(), days * _DAY_SECONDS
    return Retention(
        min(usual.raw_seconds, longest),
        min(usual.minute_seconds, longest),
        min(usual.quarter_seconds, longest),
        longest,
        longest,
    )


def _labels(config: Config) -> dict[str, str]:
    """Return what tells this program from others, by the names that Prometheus has for it.

    Source: OpenTelemetry specification, Prometheus and OpenMetrics compatibility, Resource attributes.
    """
    return {"job": config.service_name or "", "instance": config.resource_attributes.get("service.instance.id", "")}
