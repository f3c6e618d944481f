"""The screen of ``agentgauge top``: what is drawn, what keys do, and who reads the series meanwhile."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.amounts import counted, duration
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.report.document import Unit
from agentgauge.analytics.report.numbers import plain, shown
from agentgauge.analytics.report.text import is_left
from agentgauge.analytics.top.rows import COLUMNS, SORTS, rows, sorted_rows
from agentgauge.analytics.top.snapshot import FRESH_SECONDS
from agentgauge.analytics.top.terminal import keys
from agentgauge.errors import ConfigurationError, HistoryError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.analytics.report.document import Column
    from agentgauge.analytics.top.rows import AgentRow
    from agentgauge.analytics.top.snapshot import Snapshot, Snapshots

__all__ = ["Course", "View", "draw", "keep_reading", "sums", "watch"]

_WHAT = "agentgauge top"
_HELP = (
    "q quit  - turn round  arrows scroll",
    "sort: n name s state r tasks e errors p p95 i running o oldest c cost t tokens",
)
_STYLES = {"error": "red", "offline": "dim", "processing": "green"}
_LEAST_WITH_HELP, _LEAST_WITH_SUMS = 8, 6  # lines of a terminal that has room for them
_LEFT_OUT_FIRST = ("tokens_per_second", "state", "oldest_seconds", "cost_per_second", "p95_seconds", "in_progress")
_LONGEST_NAME, _GAP = 20, 2
_SCROLLS = {"A": -1, "B": 1, "5~": -10, "6~": 10, "H": -1_000_000, "F": 1_000_000, "1~": -1_000_000, "4~": 1_000_000}
_SEQUENCE = re.compile(r"\x1b(?:[\[O]([0-9;]*[A-Za-z~]))?")


@dataclass
class View:
    """How the rows are seen.

    Attributes:
        key: The column that they are sorted by.
        is_reversed: Whether the other way round.
        first: The first row that is seen, counted from 0.
        is_over: Whether the user has had enough.
    """

    key: str = "rate"
    is_reversed: bool = False
    first: int = 0
    is_over: bool = False

    def press(self, pressed: str) -> None:
        """Do what keys say; those that say nothing are passed over."""
        for sequence in _SEQUENCE.findall(pressed):
            self.first = max(0, self.first + _SCROLLS.get(sequence, 0))
        for key in _SEQUENCE.sub("", pressed):
            if key in {"q", "Q", "\x03", "\x04"}:
                self.is_over = True
            elif key == "-":
                self.is_reversed = not self.is_reversed
            elif key in SORTS:
                self.is_reversed = self.is_reversed if SORTS[key] != self.key else not self.is_reversed
                self.key, self.first = SORTS[key], 0

    def within(self, count: int, room: int) -> int:
        """Return the first row that is seen, so that no room is left empty while there are rows."""
        self.first = max(0, min(self.first, count - room))
        return self.first


@dataclass
class Course:
    """The latest snapshots, which give the rates.

    Attributes:
        window_seconds: Over how long rates are taken.
        problem: Why there is nothing new; empty where there is.
    """

    window_seconds: float
    problem: str = ""
    _snapshots: deque[Snapshot] = field(default_factory=deque)

    def add(self, snapshot: Snapshot) -> None:
        """Take one in; one of the time of the last takes its place."""
        if self._snapshots and snapshot.at <= self._snapshots[-1].at:
            self._snapshots.pop()
        self._snapshots.append(snapshot)
        while len(self._snapshots) > 2 and snapshot.at - self._snapshots[1].at >= self.window_seconds:  # noqa: PLR2004 - a pair
            self._snapshots.popleft()
        self.problem = ""

    @property
    def pair(self) -> tuple[Snapshot | None, Snapshot] | None:
        """The earliest and the latest; None where there is none yet."""
        taken = tuple(self._snapshots)
        if not taken:
            return None
        return (taken[0] if len(taken) > 1 else None), taken[-1]


def draw(course: Course, view: View, name: str, console: Any, at: float) -> Any:
    """Return what rich shows: as many rows as the terminal has room for, and when they were what is.

    Args:
        course: What was read.
        view: How it is seen.
        name: From where.
        console: A ``rich.console.Console``.
        at: The time that it is, Unix time in seconds.
    """
    text = load_extra("rich.text", "cli", _WHAT).Text
    group = load_extra("rich.console", "cli", _WHAT).Group
    pair = course.pair
    if pair is None:
        waiting = course.problem or f"waiting for {name} ..."
        return group(text(plain(waiting), style="red" if course.problem else "dim"), text("q quit", style="dim"))
    before, now = pair
    found = sorted_rows(rows(before, now), view.key, is_reversed=view.is_reversed)

    def line(words: str, style: str = "") -> Any:
        return text(plain(words), style=style, no_wrap=True, overflow="ellipsis")

    age = at - now.at
    old = (f"  {duration(age)} ago", "bold yellow") if age > FRESH_SECONDS or (course.problem and age >= 1) else ("", "")
    head = text.assemble(
        (f"{_WHAT}  ", "bold"), shown(now.at, Unit.TIME), old, f"  {plain(name)}", no_wrap=True, overflow="ellipsis"
    )
    top, bottom = [head], []
    if course.problem:
        top.append(line(course.problem, "red"))
    if console.height >= _LEAST_WITH_SUMS:
        top.append(line(sums(found, now.at - before.at if before is not None else None)))
    if console.height >= _LEAST_WITH_HELP:
        whole = "  ".join(_HELP)
        bottom = [line(one, "dim") for one in ((whole,) if len(whole) <= console.width else _HELP)]
    room = max(1, console.height - len(top) - len(bottom) - 1)
    if len(found) > room:
        room = max(1, room - 1)
        first = view.within(len(found), room)
        bottom.insert(0, line(f"{first + 1} to {first + room} of {counted(len(found), 'agent')}", "dim"))
    first = view.within(len(found), room)
    return group(*top, _table(found[first : first + room], view, text, console.width), *bottom)


def sums(found: list[AgentRow], seconds: float | None) -> str:
    """Return what all agents do together, in a line."""
    busy = counted(round(sum(row.in_progress for row in found)), "task")
    words = f"{counted(len(found), 'agent')}, {busy} in progress"
    if seconds is None:
        return f"{words}; rates with the next reading"
    told = [
        shown(sum(getattr(row, name) or 0.0 for row in found), unit) + what
        for name, unit, what in (
            ("rate", Unit.PER_SECOND, " tasks"),
            ("cost_per_second", Unit.USD_PER_SECOND, ""),
            ("tokens_per_second", Unit.PER_SECOND, " tokens"),
        )
        if any(getattr(row, name) is not None for row in found)
    ]
    return f"{words}; {', '.join(told)} over {duration(seconds)}" if told else words


def _table(found: list[AgentRow], view: View, text: Any, width: int) -> Any:
    table = load_extra("rich.table", "cli", _WHAT).Table(box=None, pad_edge=False, expand=True)
    for column in (columns := _columns(found, view, width)):
        is_sorted = column.name == view.key
        table.add_column(
            text(_heading(column, view)),
            justify="left" if is_left(column) else "right",
            header_style="bold reverse" if is_sorted else "bold",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.name == "agent" else None,
        )
    for row in found:
        table.add_row(*(_cell(row, column, text) for column in columns))
    return table


def _heading(column: Column, view: View) -> str:
    return column.title + ("" if column.name != view.key else "^" if view.is_reversed else "v")


def _columns(found: list[AgentRow], view: View, width: int) -> list[Column]:
    """Return the columns that there is room for beside the names; that which is sorted by stays."""
    needed = {
        column.name: max(len(_heading(column, view)), *(len(shown(getattr(row, column.name), column.unit)) for row in found), 1)
        for column in COLUMNS
    }
    needed["agent"] = min(needed["agent"], _LONGEST_NAME)
    columns = list(COLUMNS)
    for name in _LEFT_OUT_FIRST:
        if sum(needed[column.name] + _GAP for column in columns) - _GAP <= width:
            break
        columns = [column for column in columns if column.name != name or name == view.key]
    return columns


def _cell(row: Any, column: Any, text: Any) -> Any:
    value = getattr(row, column.name)
    style = ""
    if column.name == "state":
        style = _STYLES.get(value, "")
    elif column.name == "error_ratio" and value:
        style = "red"
    return text(shown(value, column.unit), style=style)


def watch(
    snapshots: Snapshots,
    view: View,
    *,
    interval_seconds: float,
    window_seconds: float,
    descriptor: int,
    console: Any,
    clock: Callable[[], float] = time.time,
) -> None:
    """Show the agents until a key ends it.

    Args:
        snapshots: From where.
        view: How.
        interval_seconds: From one reading to the next.
        window_seconds: Over how long rates are taken.
        descriptor: The terminal that keys come from.
        console: The ``rich.console.Console`` that it is drawn on.
        clock: The time, Unix time in seconds.
    """
    live_class = load_extra("rich.live", "cli", _WHAT).Live
    course = Course(window_seconds)
    is_over = threading.Event()
    with keys(descriptor) as pressed:
        reader = threading.Thread(
            target=keep_reading,
            args=(snapshots, course, is_over, interval_seconds, pressed.wake, clock),
            name="agentgauge-top",
            daemon=True,  # a page that does not come must not keep the terminal
        )
        reader.start()
        try:
            with live_class(console=console, screen=True, auto_refresh=False) as live:
                while not view.is_over:
                    live.update(draw(course, view, snapshots.name, console, clock()), refresh=True)
                    view.press(pressed.wait(interval_seconds))
        finally:
            is_over.set()


def keep_reading(
    snapshots: Snapshots,
    course: Course,
    is_over: threading.Event,
    interval_seconds: float,
    wake: Callable[[], None],
    clock: Callable[[], float],
) -> None:
    """Read until it is over; what goes wrong is told in the course, and tried again.

    Args:
        snapshots: From where.
        course: Where to.
        is_over: Ends it.
        interval_seconds: From one reading to the next.
        wake: Is called after each.
        clock: The time, Unix time in seconds.
    """
    while not is_over.is_set():
        try:
            snapshot = snapshots.read(clock())
            earlier = snapshots.before(snapshot, course.window_seconds) if course.pair is None else None
            if earlier is not None:
                course.add(earlier)
            course.add(snapshot)
        except (ConfigurationError, SourceError, HistoryError) as error:
            course.problem = str(error)
        except Exception as error:  # noqa: BLE001 - it is shown, and tried again
            course.problem = f"cannot read {snapshots.name}: {error!r}"
        if is_over.is_set():
            return
        wake()
        is_over.wait(interval_seconds)
