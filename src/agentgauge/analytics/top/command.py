"""The options of ``agentgauge top``, and its course."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from agentgauge.analytics.amounts import duration
from agentgauge.analytics.commands.ending import NO_ANSWER, ended, is_terminal
from agentgauge.analytics.commands.output import put
from agentgauge.analytics.commands.question import bearer_token, check_ca_file, source_named
from agentgauge.analytics.commands.times import as_duration
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.fetching import Fetcher
from agentgauge.analytics.report.document import Document, Fact, Section, Unit
from agentgauge.analytics.top.rows import SORTS, as_table, rows, sorted_rows
from agentgauge.analytics.top.snapshot import FRESH_SECONDS, Page, SourceAt
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, SourceError
from agentgauge.redaction import redact

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from agentgauge.analytics.top.snapshot import Snapshot, Snapshots

__all__ = ["add_arguments", "main"]

_EPILOG = """\
examples:
  agentgauge top
  agentgauge top --url http://127.0.0.1:9500/metrics --interval 1s
  agentgauge top --source history.db --once
  agentgauge top --once --json

Tasks are all that ended, those inside others, too: of a task that runs two others three are counted. Rates are those of --window,
or of as much of it as was seen. Keys: n s r e p i o c t sort by name, state, tasks, errors, p95, in progress, oldest, cost and
tokens, - turns the order round, q quits. Without a terminal it prints one table, as --once does.
Exit status: 0, or 2 where there is nothing to show.
"""
_OK_STATUS = 200
_TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 256 * 1024 * 1024


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("--url", help="the program's /metrics (http://127.0.0.1:9464/metrics, or as AGENTGAUGE_PORT says)")
    parser.add_argument("--source", metavar="PATH|URL", help="a history, or the address of a Prometheus, instead")
    parser.add_argument("--interval", default="2s", metavar="DURATION", help="from one reading to the next (2s)")
    parser.add_argument("--window", default="60s", metavar="DURATION", help="over how long rates are taken (60s)")
    parser.add_argument("--sort", default="rate", choices=sorted(SORTS.values()), help="the column to sort by (rate)")
    parser.add_argument("--once", action="store_true", help="print one table")
    parser.add_argument("--json", action="store_true", help="print it as one JSON document")
    parser.add_argument("--token-file", metavar="FILE", help="the file that holds the bearer token")
    parser.add_argument("--ca-file", metavar="FILE", help="the PEM certificates of authorities that are trusted")


def main(options: Namespace) -> int:
    """Show agents at work.

    Args:
        options: What ``add_arguments`` made of the command line.

    Returns:
        The exit status.
    """
    return ended("top", lambda: _show(options), options.source, options.url)


def _show(options: Namespace) -> int:
    interval, window = as_duration("--interval", options.interval), as_duration("--window", options.window)
    if options.url is not None and options.source is not None:
        raise ConfigurationError("--url and --source both say what to show: give one of them")
    snapshots: Snapshots = SourceAt(lambda: source_named(options)) if options.source is not None else _page(options)
    if options.once or options.json or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        return _print_once(snapshots, options, interval, window)
    console = load_extra("rich.console", "cli", "agentgauge top in a terminal (--once needs nothing)").Console()
    screen = load_extra("agentgauge.analytics.top.screen", "cli", "agentgauge top")
    screen.watch(
        snapshots,
        screen.View(options.sort),
        interval_seconds=interval,
        window_seconds=window,
        descriptor=sys.stdin.fileno(),
        console=console,
    )
    return 0


def _page(options: Namespace) -> Page:
    url = _own_url() if options.url is None else options.url
    if not url.startswith(("http://", "https://")) or not _names_a_host(url):
        raise ConfigurationError("--url: give an address such as http://127.0.0.1:9464/metrics")
    if urlsplit(url).path in {"", "/"}:  # what listens there shows its series at /metrics, and says hello here
        url = urlunsplit(urlsplit(url)._replace(path="/metrics"))
    check_ca_file(options)
    token = bearer_token(options)
    headers = {"Accept": "text/plain;version=0.0.4"} | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    return Page(redact(url), _fetch(url, Fetcher(headers, _TIMEOUT_SECONDS, options.ca_file, _MOST_BYTES)))


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _own_url() -> str:
    config = Config.load()
    host = config.host if config.host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}/metrics"


def _fetch(url: str, fetcher: Fetcher) -> Callable[[], str]:
    def fetch() -> str:
        try:
            answer = fetcher.get(url)
        except SourceError as error:
            hint = " (a program shows its series there once it calls agentgauge.start())" if "listens" in str(error) else ""
            raise SourceError(f"{redact(url)}: {error}{hint}") from None
        if answer.status != _OK_STATUS:
            hint = ": give its token with --token-file" if answer.status in {401, 403} else ""
            raise SourceError(f"{redact(url)} answers with HTTP status {answer.status}{hint}")
        return answer.body.decode("utf-8", "replace")

    return fetch


def _print_once(snapshots: Snapshots, options: Namespace, interval: float, window: float) -> int:
    """Print what is now, with the rates since one interval before; a source with a past is asked for that, not waited for."""
    after = snapshots.read(time.time())
    before = snapshots.before(after, window)
    if before is None:
        time.sleep(interval)
        before, after = after, snapshots.read(time.time())
    now = time.time()
    document = _told(snapshots.name, before, after, now, options.sort)
    exit_code = 0 if document.has_answer else NO_ANSWER
    put(document, "json" if options.json else "text", exit_code=exit_code, now=now)
    return exit_code


def _told(name: str, before: Snapshot, after: Snapshot, now: float, sort: str) -> Document:
    found = sorted_rows(rows(before, after), sort)
    age = max(0.0, now - after.at)
    is_old = age > FRESH_SECONDS
    sentences = () if found else ("There is no agent yet: none has ended or begun a task, an LM call or a tool call.",)
    if found:
        sentences = ("Tasks inside others are counted, too.",)
    if is_old:
        sentences = (f"This is what was {duration(age)} ago: there is nothing later. Does the program run?", *sentences)
    return Document(
        "top",
        "Agents",
        (
            Fact("source", "source", name),
            Fact("at", "at", after.at, Unit.TIME),
            Fact("age_seconds", "age", age, Unit.SECONDS),
            Fact("window_seconds", "rates over", after.at - before.at, Unit.SECONDS),
        ),
        (
            Section(
                "top",
                f"{duration(age)} ago" if is_old else "Now",
                sentences,
                tables=(as_table(found),) if found else (),
                is_answer=bool(found),
            ),
        ),
    )
