"""The readiness checklist of ``doctor --production``, and its score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http.client import OK
from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.doctor import environment, files, program, servers
from agentgauge.doctor.fetching import is_loopback
from agentgauge.doctor.finding import Finding, Section, Status, listed, number
from agentgauge.doctor.objectives import objectives
from agentgauge.doctor.provider import tracer_provider
from agentgauge.doctor.topology import processes
from agentgauge.limits import OBEYED, meant, unobeyed
from agentgauge.targets import DEFAULT_THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from prometheus_client.samples import Sample

    from agentgauge.doctor.environment import Environment
    from agentgauge.doctor.page import Program
    from agentgauge.doctor.servers import Server

__all__ = ["Deployment", "Score", "checklist", "scores"]

_FULL_BUFFER = 65_536
_CATEGORIES = (Section.CORE, Section.PERFORMANCE, Section.RELIABILITY, Section.OBSERVABILITY, Section.ALERTING)


@dataclass(frozen=True)
class Deployment:
    """All that the checklist looks at.

    Attributes:
        environment: Where doctor runs.
        program: The running program; None where none answered.
        unreachable: What is found where none answered.
        series_limit: How many names the program is taken to admit.
        prometheus: Who scrapes it.
        alertmanager: Who sends its alerts.
        rules: The directory of rule files.
        dashboards: The directory of dashboards.
        alertmanager_file: Alertmanager's configuration, where it cannot be asked.
    """

    environment: Environment
    program: Program | None
    unreachable: Finding
    series_limit: int
    prometheus: Server
    alertmanager: Server
    rules: Path | None
    dashboards: Path | None
    alertmanager_file: Path | None


@dataclass(frozen=True, slots=True)
class Score:
    """How much of the checklist holds.

    Attributes:
        held: Items that hold.
        checked: Items that could be checked.
        not_shown: Items of which nothing there tells.
    """

    held: int
    checked: int
    not_shown: int

    @property
    def percent(self) -> float | None:
        """The share of what could be checked that holds, in percent; None where nothing could be."""
        return 100 * self.held / self.checked if self.checked else None


def checklist(deployment: Deployment) -> list[tuple[Section, Finding]]:
    """Check every item, category by category."""
    here, prometheus, alertmanager = deployment.environment, deployment.prometheus, deployment.alertmanager
    items: dict[Section, list[Finding]] = {
        Section.CORE: [
            _of_program(deployment, "answers", program.is_agentgauge),
            _of_program(deployment, "ready", _ready),
            environment.settings(here),
            environment.core_versions(here),
            environment.framework_versions(here),
            _of_program(deployment, "instrumentors", program.instrumentors_fired),
            _of_program(deployment, "objectives", objectives),
        ],
        Section.PERFORMANCE: [
            _of_program(deployment, "overhead", program.overhead),
            _of_program(deployment, "scrape-duration", program.scrape_duration),
            _of_program(deployment, "drain", _drain),
            _of_program(deployment, "label-growth", program.label_growth),
        ],
        Section.RELIABILITY: [
            _of_program(deployment, "internal-errors", program.internal_errors),
            _of_program(deployment, "dropped-events", program.dropped_events),
            _of_program(deployment, "collectors", program.readings),
            _of_program(deployment, "protected", _protected),
            _of_program(deployment, "processes", processes),
            environment.workers(here),
            environment.multiprocess_directory(here),
        ],
        Section.OBSERVABILITY: [
            servers.target_up(prometheus, deployment.program),
            _of_program(deployment, "tracer-provider", lambda visited, _limit: tracer_provider(here, visited)),
            _of_program(deployment, "exemplars", program.exemplars),
            servers.exemplar_storage(prometheus),
            _of_program(deployment, "service", _service),
            _of_program(deployment, "price-coverage", program.price_coverage),
            _of_program(deployment, "one-producer", program.one_producer),
            files.dashboards(deployment.dashboards),
        ],
        Section.ALERTING: [
            _of_program(deployment, "thresholds", _thresholds),
            files.rule_files(deployment.rules),
            servers.rules_loaded(prometheus, files.wanted_alerts(deployment.rules)),
            servers.alertmanager_known(prometheus),
            _receivers(deployment),
            servers.watchdog(prometheus, alertmanager),
        ],
    }
    return [(category, finding) for category in _CATEGORIES for finding in items[category]]


def scores(findings: list[tuple[Section, Finding]]) -> Mapping[Section, Score]:
    """Score each category; a warning is an item that does not hold."""
    found = {category: [finding.status for section, finding in findings if section is category] for category in _CATEGORIES}
    return {
        category: Score(
            held=statuses.count(Status.OK),
            checked=len(statuses) - statuses.count(Status.UNKNOWN),
            not_shown=statuses.count(Status.UNKNOWN),
        )
        for category, statuses in found.items()
    }


def _of_program(deployment: Deployment, name: str, check: Callable[[Program, int], Finding]) -> Finding:
    if deployment.program is not None:
        return check(deployment.program, deployment.series_limit)
    if name == deployment.unreachable.check:  # one failure is enough for a program that is not there
        return replace(deployment.unreachable, status=Status.FAIL)
    return Finding(name, Status.UNKNOWN, f"Not shown: {name}", "the program does not answer")


def _receivers(deployment: Deployment) -> Finding:
    path = deployment.alertmanager_file
    if deployment.alertmanager.url is not None or path is None:
        return servers.receivers(deployment.alertmanager)
    return files.receivers_in(str(path), path.read_text(encoding="utf-8", errors="replace"), path.parent)


def _ready(visited: Program, _limit: int) -> Finding:
    check = "ready"
    if visited.readiness is None:
        return Finding(check, Status.UNKNOWN, "Whether it is ready is not shown", "no /readyz beside the page")
    evidence = f"/readyz answers {visited.readiness}"
    if visited.readiness != OK:
        return Finding(
            check, Status.FAIL, "The program is not ready", evidence, "Let it come up, or serve /readyz beside /metrics."
        )
    return Finding(check, Status.OK, "The program is ready", evidence)


def _drain(visited: Program, _limit: int) -> Finding:
    check = "drain"
    high = visited.page.total(catalogue.BUFFER_HIGH_WATER)
    if high is None:
        return Finding(check, Status.UNKNOWN, "The event buffer is not shown", "no agentgauge_buffer_high_water_records series")
    evidence = f"agentgauge_buffer_high_water_records = {number(high)} of {_FULL_BUFFER}"
    if high >= _FULL_BUFFER:
        fix = "Calls waited for the drain: scrape more often, and look for threads that starve it."
        return Finding(check, Status.WARN, "The event buffer was full", evidence, fix)
    return Finding(check, Status.OK, "The event buffer is drained in time", evidence)


def _protected(visited: Program, _limit: int) -> Finding:
    check = "protected"
    is_here, is_tls = is_loopback(visited.url), visited.url.startswith("https:")
    if visited.is_protected:
        evidence = f"{visited.url} refuses who shows neither token nor certificate"
        if is_here or is_tls:
            return Finding(check, Status.OK, "/metrics is protected", evidence)
        fix = "Set tls_certificate_file and tls_key_file."
        return Finding(check, Status.WARN, "The token of /metrics travels unencrypted", evidence, fix)
    if is_here:
        return Finding(
            check, Status.OK, "/metrics is asked for on loopback", f"{visited.url} answers this machine without a token"
        )
    if visited.is_protected is None:
        return Finding(
            check, Status.UNKNOWN, "Whether strangers can read /metrics is not known", "no answer to one without a token"
        )
    fix = "Set bearer_token (AGENTGAUGE_BEARER_TOKEN) or tls_client_ca_file, or listen on loopback and let a proxy ask for one."
    return Finding(
        check, Status.FAIL, "Whoever reaches the address can read /metrics", f"{visited.url} answers without a token", fix
    )


def _service(visited: Program, _limit: int) -> Finding:
    check = "service"
    names = [sample.labels.get("service_name", "") for sample in visited.page.samples("target_info")]
    if not any(names):
        fix = "Set service_name (OTEL_SERVICE_NAME): traces and metrics of one service are found by it."
        return Finding(check, Status.WARN, "The service has no name", "no target_info with a service_name", fix)
    return Finding(check, Status.OK, "The service has a name", f'target_info{{service_name="{names[0]}"}}')


def _thresholds(visited: Program, _limit: int) -> Finding:
    check = "thresholds"
    limits = visited.page.samples(catalogue.THRESHOLD)
    if not limits:
        fix = "Leave out thresholds=(), or give some: the shipped rules on host CPU, memory and disks obey them."
        return Finding(check, Status.FAIL, "No threshold is exported", "no agentgauge_threshold series", fix)
    seen = listed(f"{sample.labels.get('metric')} {sample.labels.get('operator')} {number(sample.value)}" for sample in limits)
    evidence = f"{len(limits)} agentgauge_threshold series: {seen}"
    exported = set(map(_limit_of, limits))
    missing = [limit for limit in DEFAULT_THRESHOLDS if (limit.metric, limit.severity, limit.operator) not in exported]
    watched = set(map(_limit_of, visited.page.samples(catalogue.THRESHOLD_BREACHED)))  # by a manager, which obeys every one
    doubtful, others = [], []
    for name in sorted(exported - watched):
        metric, severity, operator = name
        if close := meant(metric):
            doubtful.append(f"{metric} (no such metric; {close}?)")
        elif how := unobeyed(metric, severity, operator):
            doubtful.append(f"{metric} ({severity}, {operator}; obeyed with {how})")
        elif metric not in OBEYED:
            others.append(f"{metric} {operator} ({severity})")
    if others:
        evidence += f"; for rules of your own alone: {listed(others)}"
    if doubtful:
        evidence += f"; obeyed by no shipped rule: {listed(doubtful)}"
    if missing:
        names = listed(f"{limit.metric} ({limit.severity})" for limit in missing)
        fix = (
            "start(thresholds=...) takes all limits that there are: thresholds=(*DEFAULT_THRESHOLDS, ...) of agentgauge.targets "
            "keeps the others."
        )
        title = "Limits that the shipped rules obey are not exported: some of their alerts can never fire"
        return Finding(check, Status.WARN, title, f"{evidence}; not {names}", fix)
    if doubtful:
        fix = "Correct those limits, or leave out those that no rule of your own obeys."
        return Finding(check, Status.WARN, "Limits are exported that no shipped rule obeys", evidence, fix)
    return Finding(check, Status.OK, "Thresholds are exported", evidence)


def _limit_of(sample: Sample) -> tuple[str, str, str]:
    labels = sample.labels
    return labels.get("metric", ""), labels.get("severity", ""), labels.get("operator", "")
