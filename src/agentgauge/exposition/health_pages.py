"""``/readyz`` and ``/healthz``: what a health monitor last found, as one word for anybody and in full for who may see it.

A status is told by the code, as Kubernetes' probes and load balancers read it, and as draft-inadarei-api-health-check-06 asks for
"pass", "warn" and "fail": 200 for healthy and warning, 503 for critical and down. Unknown is a warning: an agent that nobody has
given work yet, or a component that nobody has looked at yet, has not failed. Where nothing can be told at all, since the source
of reports raises or hangs, it is 503. ``/livez`` has no part in this: a restart mends nothing that is outside the process.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.exposition.response import Response, plain
from agentgauge.fork_gate import process_mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Component", "HealthPages", "HealthSource", "Report"]

_HANG_SECONDS = 3.0  # a report is cached: it takes no time, except beside threads that keep the processor
_AT_ONCE = 4  # requests that may wait for a report, of the 16 that the server answers: a source that hangs locks no scrape out
_LAST_SECONDS = 10.0  # how long the last report serves those for whom there is no place
_NOT_FAILED = frozenset({"healthy", "warning", "unknown"})
_DRAFT_STATUS = {"healthy": "pass", "warning": "warn", "unknown": "warn"}
_SIGNS = {"healthy": "+", "warning": "+", "unknown": "?"}
_DRAFT_TYPE = {"database": "datastore", "cache": "datastore", "storage": "datastore", "system": "system"}
_JSON = "application/health+json"


class Component(Protocol):
    """What is known of one component; where it has a ``checked_at``, that is when it was last looked at."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def component_type(self) -> str:
        """What kind of thing it is."""
        ...

    @property
    def status(self) -> str:
        """``healthy``, ``warning``, ``critical``, ``down`` or ``unknown``."""
        ...

    @property
    def message(self) -> str:
        """What was found, in a sentence without secrets."""
        ...

    @property
    def since(self) -> datetime | None:
        """Since when it has been so."""
        ...

    @property
    def is_required(self) -> bool:
        """Whether the program is not ready without it."""
        ...


class Report(Protocol):
    """What is known of all components together."""

    @property
    def is_ready(self) -> bool:
        """Whether the program can do its work."""
        ...

    @property
    def status(self) -> str:
        """How the program is, by the words of a component's status."""
        ...

    @property
    def components(self) -> Sequence[Component]:
        """Each of them."""
        ...


class HealthSource(Protocol):
    """Knows how the components are: a ``SystemHealthMonitor``, or the like."""

    def health_report(self) -> Report:
        """Give what was last found; it checks nothing and waits for nothing."""
        ...


class HealthPages:
    """The two pages, for one source of reports.

    Args:
        source: What knows how the components are.

    Raises:
        ConfigurationError: It knows nothing of that.
    """

    def __init__(self, source: HealthSource) -> None:
        if not callable(getattr(source, "health_report", None)):
            raise ConfigurationError(
                f"health={source!r}: give a SystemHealthMonitor (agentgauge.health), or an object with health_report()"
            )
        self.source = source
        self._last: tuple[float, Report | None]  # and when it was given, on time.monotonic()
        self._renew()

    def respond(self, path: str, query: str, headers: Mapping[str, str], *, is_started: bool, may_see: bool) -> Response:
        """Answer one request.

        Args:
            path: ``/readyz`` or ``/healthz``.
            query: With ``verbose``, the components are told as text; with ``format=json``, as JSON.
            headers: The request's headers by their names in lower case; ``Accept: application/health+json`` asks for JSON, too.
            is_started: Whether the program has started; ``/readyz`` fails before.
            may_see: Whether the client may see the components.
        """
        report = self._report()
        if path == "/readyz":
            is_good = is_started and report is not None and report.is_ready
            word = "ok" if is_good else "not ready"
        else:
            word = "unknown" if report is None else str(report.status)
            is_good = report is not None and word in _NOT_FAILED
        status = 200 if is_good else 503
        asked = parse_qs(query, keep_blank_values=True)
        is_json = asked.get("format", [""])[-1] == "json" or _JSON in headers.get("accept", "").lower()
        shared = (("Cache-Control", "no-store"), ("Vary", "Accept"))
        if not is_json and "verbose" not in asked:
            return plain(status, f"{word}\n", *shared)
        if not may_see:  # the status is for anybody; RFC 9110, 11.6.1: a token would change what is told
            return plain(status, f"{word}\n", *shared, ("WWW-Authenticate", 'Bearer realm="agentgauge"'))
        components = () if report is None else report.components
        if is_json:
            body = json.dumps(_document(word, components, is_good=is_good), indent=1, default=str).encode() + b"\n"
            described = (("Content-Type", _JSON), ("Content-Length", str(len(body))))
            return Response(status, (*described, *shared), (body,))
        lines = [_line(component) for component in components]
        return plain(status, "".join(lines) + f"{path[1:]} check {'passed' if is_good else 'failed'}: {word}\n", *shared)

    def _report(self) -> Report | None:
        """Ask the source; None where it raises or hangs. Where too many ask, the last of them get the last report."""
        if self._mark != process_mark():
            self._renew()  # a forked child: who read at the fork does not read here
        places, reading = self._places, self._reading
        if not places.acquire(blocking=False):
            at, report = self._last
            return report if time.monotonic() - at <= _LAST_SECONDS else None
        try:
            if not reading.acquire(timeout=_HANG_SECONDS):
                report_internal_error("health", TimeoutError("health_report() hangs"), "waits no longer for health_report()")
                return None
            try:
                return self._read()
            finally:
                reading.release()
        finally:
            places.release()

    def _read(self) -> Report | None:
        try:
            report = self.source.health_report()
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            report_internal_error("health", error)
            report = None
        self._last = (time.monotonic(), report)
        return report

    def _renew(self) -> None:
        self._reading = threading.Lock()  # one at a time, so that a source which hangs holds one thread for good, no more
        self._places = threading.Semaphore(_AT_ONCE)
        self._last = (0.0, None)
        self._mark = process_mark()


def _line(component: Component) -> str:
    said = _printable(f"{component.name} {component.status} {_message(component)}")
    return f"[{_SIGNS.get(component.status, '-')}]{said}{'' if component.is_required else ' (optional)'}\n"


def _message(component: Component) -> str:
    """Return what was found, without the name before it, which stands there already."""
    return str(component.message).removeprefix(f"{component.name}: ")


def _printable(text: str) -> str:
    """Write a text in one line that does nothing to a terminal: a message may quote what another machine sent."""
    return " ".join(
        "".join(sign if sign.isprintable() else " " if sign.isspace() else "\N{REPLACEMENT CHARACTER}" for sign in text).split()
    )


def _document(word: str, components: Sequence[Component], *, is_good: bool) -> dict[str, object]:
    checks: dict[str, list[dict[str, object]]] = {}
    for component in components:
        described: dict[str, object] = {
            "componentId": component.name,
            "componentType": _DRAFT_TYPE.get(component.component_type, "component"),
            "status": _DRAFT_STATUS.get(component.status, "fail"),
            "observedValue": str(component.status),
            "since": component.since.isoformat() if isinstance(component.since, datetime) else component.since,
            "isRequired": component.is_required,
        }
        if isinstance(checked_at := getattr(component, "checked_at", None), datetime):
            described["time"] = checked_at.isoformat()  # the draft: when the value was observed
        if component.status != "healthy" and component.message:  # the draft: none where it passes
            described["output"] = _message(component)
        checks.setdefault(component.name.replace(":", "_"), []).append(described)  # a colon divides name and measurement there
    is_warned = is_good and (word in {"warning", "unknown"} or any(component.status != "healthy" for component in components))
    return {"status": "warn" if is_warned else "pass" if is_good else "fail", "notes": [word], "checks": checks}
