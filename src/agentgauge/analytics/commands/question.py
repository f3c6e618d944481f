"""What was asked: of which source, over which window."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import as_iso, duration
from agentgauge.analytics.commands.ending import why
from agentgauge.analytics.commands.of_agent import OfAgent
from agentgauge.analytics.commands.times import as_duration, as_time
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.recorded import recorded_measures
from agentgauge.analytics.report.document import Fact, Unit
from agentgauge.analytics.sources import open_source
from agentgauge.analytics.steps import closest_interval, sample_interval
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, SourceError
from agentgauge.notification.destination import require_ca_file

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from agentgauge.analytics.frames import Source

__all__ = ["Question", "asked", "bearer_token", "check_ca_file", "source_named"]

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_SAMPLES_A_STEP = 4
_ENOUGH_POINTS = 120
_MOST_POINTS = 50_000
_LATE_SECONDS = 300.0
_SINCE = "24h"
_VARIABLE = "AGENTGAUGE_HISTORY_FILE"


@dataclass(frozen=True, slots=True)
class Question:
    """What a command answers.

    Attributes:
        source: What is asked.
        grid: The window: what was asked for, as far as the source has it, in whole steps.
        since: Where the window was asked to begin.
        until: Where the window ends, or the samples do: the grid may end up to a step earlier.
        extent: The times of the first and last sample of the source.
        options: The command line.
        now: Unix time in seconds.
        step: Says what is being done, to who waits.
    """

    source: Source
    grid: Grid
    since: float
    until: float
    extent: tuple[float, float]
    options: Namespace
    now: float
    step: Callable[[str], None]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """About source and window, as every report begins."""
        begin = self.grid.start - self.grid.step_seconds
        late = self.now - self.extent[1]
        return (
            Fact("source", "source", self.source.name),
            *(Fact("agent", "agent", agent) for agent in (getattr(self.options, "agent", None),) if agent),
            Fact("since", "since", begin, Unit.TIME),
            Fact("until", "until", self.until, Unit.TIME),
            Fact("window_seconds", "window", max(self.until, self.grid.end) - begin, Unit.SECONDS),
            Fact("step_seconds", "step", self.grid.step_seconds, Unit.SECONDS),
            Fact("first_sample", "first sample", self.extent[0], Unit.TIME),
            Fact("last_sample", "last sample", self.extent[1], Unit.TIME),
            *((Fact("age_seconds", "age of the last sample", late, Unit.SECONDS),) if late > _LATE_SECONDS else ()),
        )

    def window(self, option: str, text: str) -> Grid:
        """Read a window, ``FROM/TO`` or a duration that ends with the whole, within what the source has.

        Raises:
            ConfigurationError: It is none, or the source has nothing there.
        """
        begin, slash, end = text.partition("/")
        try:
            until = as_time(option, end, now=self.now) if slash else self.grid.end
            since = as_time(option, begin, now=self.now, before=None if slash else until)
        except ConfigurationError as error:
            form = "a window is FROM/TO, such as 5h/3h, or a duration, which is the last so long"
            raise ConfigurationError(f"{error}; {form}") from None
        return _laid(self.source.name, self.extent, since, until, self.grid.step_seconds, option)


def source_named(options: Namespace) -> Source:
    """Open what ``--source`` names, or the history of the program's own settings.

    Raises:
        ConfigurationError: Neither is there; the message says how to get one.
        SourceError: It cannot be read.
    """
    if options.source == "":
        raise ConfigurationError("--source is empty: name a history or a Prometheus, such as history.db or http://127.0.0.1:9090")
    text = options.source or Config.load().history_file
    if not text:
        raise ConfigurationError(
            f"there is nothing to ask: name a history or a Prometheus with --source (history.db, http://127.0.0.1:9090), or set "
            f"{_VARIABLE}, with which a program that calls agentgauge.start() also writes one"
        )
    check_ca_file(options)
    return open_source(os.fspath(text), bearer_token=bearer_token(options), ca_file=options.ca_file)


def check_ca_file(options: Namespace) -> None:
    """Refuse what ``--ca-file`` names where it holds no certificates.

    Raises:
        ConfigurationError: It holds none.
    """
    try:
        require_ca_file(options.ca_file)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("ca_file=", "--ca-file ", 1)) from None


def bearer_token(options: Namespace) -> str | None:
    """Read what ``--token-file`` names; None where it names nothing.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if options.token_file is None:
        return None
    try:
        return Path(options.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--token-file {options.token_file!r} cannot be read: {why(error)}") from None


def asked(source: Source, options: Namespace, *, now: float, step: Callable[[str], None]) -> Question:
    """Find the window that the options name, as far as the source has it.

    Raises:
        ConfigurationError: A time cannot be read, or the source has nothing in the window; the message says what it has.
        SourceError: The source has no sample at all, or cannot be asked.
    """
    until = as_time("--until", options.until, now=now)
    # one that is given beside another duration is that long ago, as that is; beside a date it counts from there
    given = options.since is not None
    before = now if given and _is_ago(options.until) else until
    since = as_time("--since", options.since if given else _SINCE, now=now, before=before)
    wanted = as_duration("--step", options.step) if options.step is not None else None
    if since >= until:
        raise ConfigurationError(
            f"--since {as_iso(since)} is not before --until {as_iso(until)}: give an earlier --since or a later --until"
        )
    extent = source.extent()
    if extent is None:
        raise SourceError(
            f"{source.name} has no samples yet: let the program run with history_file= ({_VARIABLE}) for some seconds, "
            "or have Prometheus scrape it"
        )
    grid = _laid(source.name, extent, since, until, wanted, "--since")
    if wanted is not None:
        _check_step(source, grid, options)
    else:
        interval = sample_interval(source, grid)
        grid = _laid(source.name, extent, since, until, _suited(grid, interval), "--since")
    agent = getattr(options, "agent", None)
    if agent is not None:
        source = OfAgent(source, agent, grid)
    return Question(source, grid, since, min(until, extent[1]), extent, options, now, step)


def _is_ago(text: str) -> bool:
    return bool(re.match(r"\s*[\d.]+[a-z]", text.lower()))


def _laid(name: str, extent: tuple[float, float], since: float, until: float, step: float | None, option: str) -> Grid:
    """Lay a grid over what a source has of a window."""
    first, last = extent
    if since >= until:
        raise ConfigurationError(f"{option}: {as_iso(since)} is not before {as_iso(until)}")
    if until < first or since > last:
        raise ConfigurationError(
            f"{name} has no samples from {as_iso(since)} to {as_iso(until)}; it has some from {as_iso(first)} to {as_iso(last)}: "
            f"try {_advised(option, first, last)}"
        )
    begin, end = max(since, first - 1), min(until, last)
    if step is not None and (end - begin) / step > _MOST_POINTS:
        raise ConfigurationError(
            f"--step {duration(step)} cuts {duration(end - begin)} into {(end - begin) / step:,.0f} points: give a longer one, "
            f"so that there are at most {_MOST_POINTS:,}, or a shorter window"
        )
    if step is None:
        return Grid.over(begin, max(end, begin + 1))
    return Grid.over(begin, max(end, begin + step), step)


def _advised(option: str, first: float, last: float) -> str:
    """Return an option that works: all that a source has, or as much as leaves something before or after to compare with."""
    last = max(last, first + 1)
    third = (last - first) / 3
    match option:
        case "--since":
            return f"--since {as_iso(first)} --until {as_iso(last)}"
        case "--before":
            return f"--before {as_iso(first)}/{as_iso(first + third)}"
        case _:
            return f"{option} {as_iso(last - third)}/{as_iso(last)}"


def _check_step(source: Source, grid: Grid, options: Namespace) -> None:
    """Refuse a step in most of which there is no sample: each rate would be nothing, and many times too much now and then."""
    measures = set(getattr(options, "measure", None) or ())
    if measures and measures <= {measure.name for measure in recorded_measures(source)}:  # they come when the program likes
        return
    apart = closest_interval(source, grid)
    if grid.step_seconds < apart / 2:
        raise ConfigurationError(
            f"--step {duration(grid.step_seconds)} is finer than the samples of {source.name}, which lie about {duration(apart)} "
            "apart: give a longer one, or leave it out, and it is chosen as they allow"
        )


def _suited(grid: Grid, interval: float) -> float:
    """Return a step that has some samples in it, and leaves enough points."""
    span = grid.count * grid.step_seconds
    for samples in (_SAMPLES_A_STEP, 2, 1):
        least = max(grid.step_seconds, samples * interval * 0.9)  # intervals waver
        step = next((step for step in _STEPS if step >= least), _STEPS[-1])
        if span / step >= _ENOUGH_POINTS:
            return float(step)
    return float(next((step for step in _STEPS if step >= max(grid.step_seconds, interval * 0.9)), _STEPS[-1]))
