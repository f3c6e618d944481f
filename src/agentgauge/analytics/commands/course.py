"""The course of a command: its options, its source, its answer, and how it ends."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from agentgauge.analytics.commands.ending import NO_ANSWER, ended
from agentgauge.analytics.commands.output import FORMATS, check_output, chosen_format, rich_console, write
from agentgauge.analytics.commands.question import asked, source_named
from agentgauge.analytics.commands.shared import WITH_AGENT
from agentgauge.analytics.report.document import Document
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from agentgauge.analytics.commands.command import Command

__all__ = ["add_arguments", "main"]

_MODULES = {"report": "whole"}
_EPILOG = """\
times: a duration such as 90s, 15m, 24h or 7d is that long ago, or before --until where that is a date; else a date with its zone,
such as 2026-05-04T12:00:00Z. FROM/TO is two of them, such as 3h/2h.
Exit status: 0 where there is an answer, 1 where --strict is given and something is critical or a warning, 2 where there is none:
the source cannot be asked, has nothing in the window, or too little to judge any of what was asked for.
"""


class _Once(argparse.Action):
    """Refuses an option that is given again: an answer that passes the first over would be taken for one about both."""

    def __call__(self, _parser: ArgumentParser, namespace: Namespace, values: object, _option: str | None = None) -> None:
        """Take the value."""
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(
                self, f"{getattr(namespace, self.dest)} and {values} were given: ask about one at a time"
            )
        setattr(namespace, self.dest, values)


def _command(name: str) -> Command:
    command: Command = load(f"agentgauge.analytics.commands.{_MODULES.get(name, name)}").COMMAND
    return command


def add_arguments(parser: ArgumentParser, name: str) -> None:
    """Add the options of a command.

    Args:
        parser: To which.
        name: Of the command.
    """
    command = _command(name)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    examples = "\n".join(f"  agentgauge {name}{' ' if words else ''}{words}" for words in command.examples)
    parser.epilog = f"examples:\n{examples}\n\n{_EPILOG}"
    parser.add_argument(
        "--source", metavar="PATH|URL", help="a history, or the address of a Prometheus (default: AGENTGAUGE_HISTORY_FILE)"
    )
    parser.add_argument("--since", metavar="TIME", help="where the window begins (24h before --until)")
    parser.add_argument("--until", default="now", metavar="TIME", help="where it ends (now)")
    parser.add_argument("--step", metavar="DURATION", help="from one time of it to the next (what suits the window)")
    command.add_options(parser)
    if name in WITH_AGENT:
        told = "leave the series of other agents out; models and machines are all's"
        parser.add_argument("--agent", action=_Once, metavar="NAME", help=told)
    parser.add_argument("--format", choices=FORMATS, help="text, json, markdown or html (by the name of --output, or text)")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("--all", action="store_true", help="every row of a table; people see the first 20 else, JSON has all")
    parser.add_argument("--output", metavar="FILE", help="write there, and not to standard output")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where something is critical or a warning")
    parser.add_argument("--token-file", metavar="FILE", help="the file that holds the bearer token of a Prometheus")
    parser.add_argument("--ca-file", metavar="FILE", help="the PEM certificates of authorities that are trusted")


def main(options: Namespace) -> int:
    """Answer.

    Args:
        options: What ``add_arguments`` made of the command line.

    Returns:
        The exit status.
    """
    return ended(options.command, lambda: _answer(options.command, options, now=time.time()), options.source)


def _answer(name: str, options: Namespace, *, now: float) -> int:
    check_output(options)
    chosen_format(options)
    command = _command(name)
    with _progress() as step, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of values is no answer
        step("opening the source")
        source = source_named(options)
        try:
            question = asked(source, options, now=now, step=step)
            sections = tuple(
                replace(section, charts=tuple(chart for chart in section.charts if chart.has_course))
                for section in command.sections(question)
            )
            document = Document(name, command.title, question.facts, sections)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
    if options.all:
        document = document.with_all_rows()
    exit_code = int(options.strict and document.is_of_note) if document.has_answer else NO_ANSWER
    write(document, options, exit_code=exit_code, now=now)
    return exit_code


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Say on a terminal what is being done; nothing anywhere else."""
    console = rich_console(sys.stderr)
    if console is None:
        yield lambda _what: None
        return
    with console.status("") as status:
        yield lambda what: status.update(f"{what} ...")
