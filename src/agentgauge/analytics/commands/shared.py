"""What sections have in common: how signals become charts, and which measures were asked for."""

from __future__ import annotations

import difflib
import math
import shlex
from typing import TYPE_CHECKING

from agentgauge.analytics.compare.means import MEANS
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.recorded import recorded_measures
from agentgauge.analytics.report.document import Chart, Column, Series, Unit
from agentgauge.analytics.signals import Quantile
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Mark
    from agentgauge.analytics.signals import Measure, Signal

__all__ = [
    "MEASURE",
    "WITH_AGENT",
    "add_measure",
    "again",
    "announced",
    "chart_of",
    "chosen_measures",
    "spaced",
    "unit_of",
    "whom",
]

_TITLES = {measure.name: measure.title for measure in MEASURES + MEANS}
_UNITS = {unit.value: unit for unit in Unit}
_MOST_LINES = 8
_ASKED_AGAIN = ("since", "until", "step", "agent", "token_file", "ca_file")


WITH_AGENT = frozenset({"report", "trends", "anomalies", "forecast", "slo", "recommend"})
"""The commands that can be asked of one agent."""


def spaced(name: str) -> str:
    """Return a name as people read it: ``level shift`` for ``level_shift``."""
    return name.replace("_", " ")


MEASURE = Column("measure", "measure", words=lambda name: _TITLES.get(name, name))
"""The name of a measure, of which people read the title."""


def unit_of(measure: Measure) -> Unit:
    """Return how people see the values of a measure."""
    return _UNITS.get(measure.unit, Unit.NUMBER)


def whom(labels: Mapping[str, str]) -> str:
    """Return the values of labels as people read them."""
    return ", ".join(labels.values())


def chart_of(name: str, title: str, signals: Sequence[Signal], marks: Iterable[Mark] = ()) -> Chart:
    """Draw signals of one measure; of more than eight the greatest, and the title says so."""
    first, drawn = signals[0], signals
    if len(signals) > _MOST_LINES:
        title += f", the {_MOST_LINES} greatest of {len(signals)}"
        greatest = sorted(range(len(signals)), key=lambda index: -_size(signals[index]))[:_MOST_LINES]
        drawn = [signals[index] for index in sorted(greatest)]
    lines = tuple(Series(whom(signal.labels) or signal.measure.title, tuple(signal.values)) for signal in drawn)
    if first.measure.title != first.measure.name:  # what a program recorded is called as it called it
        title = title[:1].upper() + title[1:]
    if isinstance(first.measure.values, Quantile):  # a line that leaps between two bounds may be one and the same duration
        title += " (known to within a bucket of its histogram)"
    return Chart(name, title, unit_of(first.measure), tuple(first.grid.times), lines, tuple(marks))


def _size(signal: Signal) -> float:
    known = [abs(value) for value in signal.values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else -1.0


def again(question: Question, command: str, *words: str) -> str:
    """Return the line that asks the same source about the same window by another command, as a shell takes it."""
    line = ["agentgauge", command, "--source", question.source.name]
    for option in _ASKED_AGAIN:
        value = getattr(question.options, option, None)
        is_known = option != "agent" or command in WITH_AGENT
        if value is not None and is_known and (option, value) != ("until", "now"):
            line += [f"--{option.replace('_', '-')}", value]
    promised = (getattr(question.options, "objective", None) or ()) if command in {"slo", "report"} else ()
    return shlex.join([*line, *words, *(word for one in promised for word in ("--objective", one))])


def add_measure(parser: ArgumentParser) -> None:
    """Add ``--measure``."""
    parser.add_argument(
        "--measure", action="append", metavar="NAME", help="look at this alone, such as task_error_ratio; may be given again"
    )


def chosen_measures(question: Question, more: tuple[Measure, ...] = ()) -> tuple[Measure, ...]:
    """Return the measures that were asked for; all unless some were, those that programs recorded included.

    Args:
        question: What was asked.
        more: What the command has beside the measures of all.

    Raises:
        ConfigurationError: There is none of that name; the message says which come near.
        SourceError: The source cannot be asked.
    """
    wanted = getattr(question.options, "measure", None)
    recorded, ours = recorded_measures(question.source), MEASURES + more
    if not wanted:
        return ours + recorded
    by_name = {measure.name: measure for measure in recorded + ours}  # one of ours keeps its name
    for name in wanted:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(by_name)}"
            raise ConfigurationError(f"--measure {name!r}: {hint}")
    return tuple(by_name[name] for name in dict.fromkeys(wanted))


def announced(question: Question, what: str, measures: Iterable[Measure]) -> Iterator[Measure]:
    """Go through measures, and say before each what is being done, to who waits."""
    for measure in measures:
        question.step(f"{what}: {measure.title}")
        yield measure
