"""A running program as its ``/metrics`` shows it."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agentgauge.catalogue import Kind
from agentgauge.doctor.fetching import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    from agentgauge.catalogue import Family
    from agentgauge.doctor.fetching import Access, Answer

__all__ = ["Page", "Program", "visit"]

_OPENMETRICS = "application/openmetrics-text"
_START = "Start the program with agentgauge.start() in it, or as `agentgauge run PROGRAM`, or name another --url."
_MOST_DIGITS = 10  # of a number of 32 bits, which no process' is longer than
_IS_IT = "Is it the url of /metrics?"
_REDIRECTS = (301, 302, 303, 307, 308)
_OF_A_PROBE = (http.client.OK, http.client.SERVICE_UNAVAILABLE)
_INSIDE_A_SERIES = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}


class Page:
    """The samples of one page.

    Attributes:
        families: The families as they stand there.
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)
        self._samples: dict[str, list[Sample]] = {}
        for family in self.families:
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(sample)

    def samples(self, family: Family | str) -> list[Sample]:
        """Return the samples of a family: of a histogram those that count its calls."""
        name = family if isinstance(family, str) else f"{family.name}_count" if family.kind is Kind.HISTOGRAM else family.name
        return self._samples.get(name, [])

    def total(self, family: Family | str, **labels: str) -> float | None:
        """Add up the samples that bear ``labels``; None where the page has none."""
        values = [sample.value for sample in self.samples(family) if labels.items() <= sample.labels.items()]
        return sum(values) if values else None

    def by_label(self, family: Family | str, label: str) -> dict[str, float]:
        """Add up the samples by one label's values."""
        totals: dict[str, float] = {}
        for sample in self.samples(family):
            key = sample.labels.get(label, "")
            totals[key] = totals.get(key, 0.0) + sample.value
        return totals

    def series_by_family(self) -> dict[str, int]:
        """Count the label sets of each family; the buckets of a histogram are one."""
        return {
            family.name: len(
                {
                    frozenset(item for item in sample.labels.items() if item[0] != _INSIDE_A_SERIES.get(family.type))
                    for sample in family.samples
                }
            )
            for family in self.families
        }

    def exemplars(self) -> int:
        """Count the samples that lead to a trace."""
        return sum(sample.exemplar is not None for family in self.families for sample in family.samples)


@dataclass(frozen=True)
class Program:
    """What a visit to a program found.

    Attributes:
        url: Where.
        page: Its page as Prometheus text.
        openmetrics: The page as OpenMetrics; None where it is not to be had, and ``openmetrics_problem`` says why.
        openmetrics_problem: Why there is none.
        seconds: How long the first page took.
        is_protected: Whether it refuses who brings no token; None where that is not known.
        readiness: The status of ``/readyz``; None where nothing answered.
        process_id: The process that serves, by its own word.
    """

    url: str
    page: Page
    openmetrics: Page | None
    openmetrics_problem: str
    seconds: float
    is_protected: bool | None
    readiness: int | None
    process_id: int | None


def visit(url: str, access: Access) -> Program:
    """Fetch what a program shows.

    Raises:
        UnreachableError: It shows nothing that could be read; the message says why, and what to do.
    """
    try:
        answer = access.get(url, {"Accept": "text/plain"})
    except UnreachableError as error:
        raise UnreachableError(str(error), error.fix or _START) from None
    if answer.status == http.client.UNAUTHORIZED:
        raise UnreachableError("it wants a bearer token (status 401)", "Give the file that holds it with --token-file.")
    if answer.status == http.client.FORBIDDEN:
        fix = "Give a client's certificate with --certificate-file and --key-file."
        raise UnreachableError("it refuses us (status 403)", fix)
    target = answer.headers.get("Location")
    if answer.status in _REDIRECTS and target:  # Prometheus follows it; we do not, for the token's sake
        raise UnreachableError(
            f"it answers with status {answer.status}: the page is at {urljoin(url, target)}",
            f"Ask there: --url {urljoin(url, target)}",
        )
    if answer.status != http.client.OK:
        raise UnreachableError(f"it answers with status {answer.status}", _IS_IT)
    page = _parsed(answer, parse_text)
    if isinstance(page, str):
        raise UnreachableError(f"its page is no text of Prometheus ({page})", _IS_IT)
    openmetrics, problem = _openmetrics(url, access)
    _, _, process = answer.headers.get("Agentgauge-Group", "").partition(" ")
    return Program(
        url=url,
        page=page,
        openmetrics=openmetrics,
        openmetrics_problem=problem,
        seconds=answer.seconds,
        is_protected=_is_protected(url, access),
        readiness=_readiness(url, access),
        process_id=int(process) if process.isdecimal() and len(process) <= _MOST_DIGITS else None,
    )


def _openmetrics(url: str, access: Access) -> tuple[Page | None, str]:
    try:
        answer = access.get(url, {"Accept": f"{_OPENMETRICS}; version=1.0.0"})
    except UnreachableError as error:
        return None, str(error)
    kind = answer.headers.get("Content-Type", "")
    if answer.status != http.client.OK or not kind.startswith(_OPENMETRICS):
        return None, f"asked for OpenMetrics, it answers {answer.status} {kind}"
    page = _parsed(answer, parse_openmetrics)
    return (None, f"its OpenMetrics cannot be read: {page}") if isinstance(page, str) else (page, "")


def _parsed(answer: Answer, parse: Callable[[str], Iterable[Metric]]) -> Page | str:
    """Read a page; where that fails, return why."""
    try:
        page = Page(parse(answer.text))
    except Exception as error:  # noqa: BLE001 - the parsers raise whatever a strange page makes them meet
        return f"{type(error).__name__}: {error}"[:200]
    return page if page.families else "it is empty"


def _is_protected(url: str, access: Access) -> bool | None:
    """Ask as anybody could."""
    try:
        return access.get(url, {"Accept": "text/plain"}, is_stranger=True).status in (
            http.client.UNAUTHORIZED,
            http.client.FORBIDDEN,
        )
    except UnreachableError:
        return None


def _readiness(url: str, access: Access) -> int | None:
    """Ask the probe: beside the page where agentgauge serves it, beneath it where a web framework has mounted it."""
    parts = urlsplit(url)
    page = parts.path.rstrip("/")
    base, _, last = page.rpartition("/")
    if last != "metrics":
        return None
    paths = [f"{base}/readyz", f"{page}/readyz"]
    first = None
    for path in paths if parts.path == page else reversed(paths):  # only a mounted page ends in a slash
        try:
            status = access.get(urlunsplit((parts.scheme, parts.netloc, path, "", ""))).status
        except UnreachableError:
            continue
        if status in _OF_A_PROBE:
            return status
        first = first or status
    return first
