"""``agentgauge compare``: what differs between two windows, or two versions."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, as_iso, counted
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.shared import MEASURE, add_measure, chosen_measures, unit_of, whom
from agentgauge.analytics.commands.times import as_time
from agentgauge.analytics.compare import Verdict, compare, find_deploys
from agentgauge.analytics.compare.means import MEANS
from agentgauge.analytics.compare.programs import require_label
from agentgauge.analytics.report.document import Column, Finding, Section, Severity, Table, Unit
from agentgauge.analytics.report.numbers import shown
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.compare import Comparison, Difference
    from agentgauge.analytics.frames import Grid
    from agentgauge.analytics.intervals import Interval
    from agentgauge.analytics.report.document import Cell

__all__ = ["COMMAND"]

_COLUMNS = (
    Column("verdict", "verdict"),
    MEASURE,
    Column("of", "of"),
    Column("unit", "unit"),
    Column("before", "before", Unit.NUMBER, "unit"),
    Column("after", "after", Unit.NUMBER, "unit"),
    Column("difference", "difference", Unit.NUMBER, "unit"),
    Column("low", "at least", Unit.NUMBER, "unit"),
    Column("high", "at most", Unit.NUMBER, "unit"),
    Column("p_corrected", "p", Unit.PROBABILITY),
    Column("detectable", "would be found from", Unit.NUMBER, "unit"),
    Column("count_before", "calls or samples before", Unit.COUNT),
    Column("count_after", "after", Unit.COUNT),
)
_BOUND_COLUMNS = (
    MEASURE,
    Column("of", "of"),
    Column("before_low", "before: at least", Unit.SECONDS),
    Column("before_high", "at most", Unit.SECONDS),
    Column("after_low", "after: at least", Unit.SECONDS),
    Column("after_high", "at most", Unit.SECONDS),
)
_NOT_COLUMNS = (Column("title", "not compared"), Column("why", "because"))
_POINTS = " percentage points"
_MARGINS = "10 % of the value before, or 1 percentage point of a ratio"
_SEVERITIES = {Verdict.WORSE: Severity.WARNING, Verdict.BETTER: Severity.OK, Verdict.CHANGED: Severity.INFO}


def _sections(question: Question) -> tuple[Section, ...]:
    options = question.options
    measures = chosen_measures(question, MEANS)
    if options.versions:
        old, new = (_version(question, version) for version in options.versions)
        question.step("comparing versions")
        found = compare(question.source, question.grid, question.grid, before_labels=old, after_labels=new, measures=measures)
        return (_section(found, f"Version {options.versions[1]} beside version {options.versions[0]}."),)
    before, after, words = _windows(question)
    question.step("comparing the windows")
    return (_section(compare(question.source, before, after, measures=measures), words),)


def _version(question: Question, version: str) -> dict[str, str]:
    """Return the label of a version that some program of the window has."""
    label = "service_version"
    require_label("--versions", question.source, question.grid, label, version)
    if not any(label in frame.labels for frame in question.source.frames("target_info", question.grid)):
        raise ConfigurationError(
            "--versions: no program of this window says its service_version: give it with OTEL_RESOURCE_ATTRIBUTES="
            "service.version=1.4 where the program is started, or compare with --at or --deploy"
        )
    return {label: version}


def _windows(question: Question) -> tuple[Grid, Grid, str]:
    options = question.options
    if options.before or options.after:
        if not (options.before and options.after) or options.at or options.deploy:
            raise ConfigurationError("give --before together with --after, or else --at, --deploy or --versions alone")
        return question.window("--before", options.before), question.window("--after", options.after), ""
    if options.deploy:
        question.step("looking for deploys")
        deploys = find_deploys(question.source, question.grid)
        if not deploys:
            raise ConfigurationError(
                f"--deploy: there is no change of version and no restart from {as_iso(question.grid.start)} to "
                f"{as_iso(question.grid.end)}: give an earlier --since, or the time with --at"
            )
        last = deploys[-1]
        what = f"{last.what.replace('_', ' ')} {last.before} to {last.after}" if last.after else last.what
        return (*_around(question, last.at.timestamp(), last.until.timestamp()), f"Before and after the last deploy ({what}).")
    if not options.at:
        raise ConfigurationError(
            "give what to compare: --at TIME for before and after it, --deploy for the last deploy, --before with --after, or "
            "--versions OLD NEW"
        )
    at = as_time("--at", options.at, now=question.now)
    return (*_around(question, at, at), f"Before and after {shown(at, Unit.TIME)}.")


def _around(question: Question, at: float, until: float) -> tuple[Grid, Grid]:
    """Return windows before and after of the same length, as long as the whole allows."""
    begin, end = question.grid.start - question.grid.step_seconds, question.until
    length = min(at - begin, end - until)
    if length < 2 * question.grid.step_seconds:
        raise ConfigurationError(
            f"{as_iso(at)} is not well within the window from {as_iso(begin)} to {as_iso(end)}: give another --since or --until"
        )
    before, after = (f"{as_iso(start)}/{as_iso(stop)}" for start, stop in ((at - length, at), (until, until + length)))
    return question.window("--at", before), question.window("--at", after)


def _section(found: Comparison, words: str) -> Section:
    rows = tuple(
        (
            one.verdict.value,
            one.measure.name,
            whom(one.labels),
            one.measure.unit,
            one.before,
            one.after,
            one.difference,
            one.interval.low,
            one.interval.high,
            one.p_corrected,
            None if math.isnan(one.detectable) else one.detectable,
            one.count_before,
            one.count_after,
        )
        for one in found.differences
    )
    counts = {verdict: sum(one.verdict is verdict for one in found.differences) for verdict in Verdict}
    sentence = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    windows = " and ".join(
        f"{as_iso(start.timestamp())} to {as_iso(end.timestamp())}" for start, end in (found.before, found.after)
    )
    tables = [Table("differences", "", _COLUMNS, rows)] if rows else []
    bounds: list[tuple[Cell, ...]] = []
    for one in found.differences:
        if one.within is not None:
            old, new = one.within
            bounds.append((one.measure.name, whom(one.labels), old.low, old.high, new.low, new.high))
    if bounds:
        tables.append(Table("bounds", "Percentiles: between which bounds they lie", _BOUND_COLUMNS, tuple(bounds)))
    tables += [Table("not_compared", "", _NOT_COLUMNS, found.not_compared)] if found.not_compared else []
    return Section(
        "comparison",
        "Comparison",
        tuple(
            filter(None, (words, f"The windows are {windows}.", f"{sentence}." if sentence else _nothing(found), _sure(found)))
        ),
        tuple(_finding(one, found.level) for one in found.differences if one.verdict in _SEVERITIES),
        tuple(tables),
        is_answer=bool(found.differences),
    )


def _sure(found: Comparison) -> str:
    """Say how many were compared, what that does to each, and why some are unclear."""
    many = len(found.differences)
    if not many:
        return ""
    level = shown(found.level, Unit.RATIO)
    told = f"{counted(many, 'measure')} compared; intervals are of {level}."
    if many > 1:
        told = (
            f"{many} measures were compared: intervals and p are corrected for that, so that all intervals hold at once at "
            f"{level}; with --measure fewer are compared, and smaller differences found."
        )
    is_unclear = any(one.verdict is Verdict.UNCLEAR for one in found.differences)
    why = f"Unclear: the interval holds both 0 and more than the margin ({_MARGINS}), so that neither is told."
    return f"{told} {why}" if is_unclear else told


def _nothing(found: Comparison) -> str:
    """Say why nothing was compared, the most frequent reason first."""
    reasons = Counter(why for _, why in found.not_compared).most_common()
    why = "; ".join(f"{counted(many, 'measure')}: {reason}" for reason, many in reasons)
    return f"There is nothing to compare: {why or 'neither window has any of the measures'}."


def _finding(one: Difference, level: float) -> Finding:
    unit = unit_of(one.measure)
    before, after = amount(one.before, unit), amount(one.after, unit)
    by = "points" if unit == Unit.RATIO else unit.value
    low, high = amount(one.interval.low, by), amount(one.interval.high, by)
    difference = f"The difference is {amount(one.difference, by)}, between {low.removesuffix(_POINTS)} and {high}"
    if one.within is not None:  # what lies between two bounds of a bucket is a guess
        before, after = (_between(lies, unit) for lies in one.within)
        difference = f"The difference is {low} or more" if math.isinf(one.interval.high) else f"The difference is {low} to {high}"
    title = f"{one.verdict.value}: {one.title}, {before} before, {after} after"
    chance = shown(one.p_corrected, Unit.PROBABILITY)
    evidence = f"{difference}, at {shown(level, Unit.RATIO)}; p {chance if chance.startswith('<') else f'= {chance}'}."
    return Finding(_SEVERITIES[one.verdict], title, evidence, query=one.measure.query)


def _between(lies: Interval, unit: Unit) -> str:
    low, high = amount(lies.low, unit), amount(lies.high, unit)
    return f"{low} or more" if math.isinf(lies.high) else f"{low} to {high}"


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--at", metavar="TIME", help="compare what was before that time with what was after it")
    parser.add_argument("--deploy", action="store_true", help="the same at the last change of version, or restart")
    parser.add_argument("--before", metavar="FROM/TO", help="the first window, with --after")
    parser.add_argument("--after", metavar="FROM/TO", help="the second window, with --before")
    parser.add_argument("--versions", nargs=2, metavar=("OLD", "NEW"), help="compare two values of service_version in one window")
    add_measure(parser)


COMMAND = Command(
    "Comparison",
    (
        "--source history.db --at 2h",
        "--source history.db --deploy --strict",
        "--source http://127.0.0.1:9090 --since 48h --before 48h/24h --after 24h/now",
    ),
    _sections,
    _add_options,
)
