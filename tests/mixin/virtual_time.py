"""Programs that live in virtual time: a minute of theirs is over as soon as its work is done, and each ends with a scrape.

What a rule judges by an hour of a program is captured in a moment, and is the same every time.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults

import agentgauge
from agentgauge.exposition.wsgi import wsgi_app
from agentgauge.testing import FakeClock, isolated, reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentgauge.testing import Isolation

DOWN = "down"
"""What a program yields instead of a scrape while nobody can reach it."""
_logger = logging.getLogger("agentgauge")
_DRAIN_SECONDS = 3600.0  # scrapes drain: no thread of its own is to choose the moment


class Process:
    """A running program with agentgauge started.

    Attributes:
        clock: Its time, which begins at 0 with the scraper's.
        isolation: Its registry and recorder; others after a restart.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.clock = FakeClock(0.0)
        self._settings = settings
        self._opened = ExitStack()
        self._start()

    def restart(self) -> None:
        """End it, and start it anew: its counters begin at 0."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """End it."""
        self._opened.close()

    def page(self, names: frozenset[str]) -> str:
        """Ask for ``/metrics``, as far as it is about these series."""
        environ: dict[str, Any] = {
            "PATH_INFO": "/metrics",
            "QUERY_STRING": urlencode([("name[]", name) for name in sorted(names)]),
        }
        setup_testing_defaults(environ)
        statuses: list[str] = []
        body = self._app(environ, lambda status, _headers: statuses.append(status))
        page = b"".join(body).decode()
        if statuses != ["200 OK"]:
            raise AssertionError(f"{statuses}: {page}")
        return page

    def _start(self) -> None:
        self.isolation: Isolation = self._opened.enter_context(isolated(self.clock))
        registry = self.isolation.registry
        own = {"collectors": (), "instrumentors": (), "drain_interval_seconds": _DRAIN_SECONDS, **self._settings}
        monitor = agentgauge.start(registry=registry, is_server_enabled=False, **own)
        self._opened.callback(monitor.stop)
        self._app = wsgi_app(registry)


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and what it does from scrape to scrape.

    Attributes:
        work: Does what it does, and yields whenever the scraper comes: first at 0, then an interval later each time. What it
            does between two scrapes may advance the clock, but not past the second; before the first, not at all. It may yield
            ``DOWN``. When it returns, nobody asks for it any more.
        job: The job as part of which it is scraped.
        instance: Where it is scraped.
        settings: What it gives ``agentgauge.start()``; no collectors and no instrumentors unless it says so.
        has_faults: Whether faults of agentgauge are planted: otherwise there must be none.
    """

    work: Callable[[Process], Iterator[str | None]]
    job: str = "a"
    instance: str = "a:1"
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_faults: bool = False

    @property
    def about(self) -> str:
        """What it does, in the words of its work's docstring."""
        return " ".join((self.work.__doc__ or "").split())

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Let it work, and yield what each scrape brings; None where nobody can reach it."""
        with ExitStack() as opened:
            quiet = patch.object(_logger, "disabled", new=True)  # of what is planted nobody needs to read
            opened.enter_context(quiet if self.has_faults else reraise_internal_errors())
            process = Process(self.settings)
            opened.callback(process.stop)
            now = 0.0
            for told in self.work(process):
                if process.clock.now > now:
                    raise ValueError(f"{self.job} {self.instance}: it is {process.clock.now} s, and the scrape was at {now} s")
                process.clock.now = now
                yield None if told == DOWN else process.page(names)
                now += interval_seconds
