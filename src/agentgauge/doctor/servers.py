"""Checks of Prometheus and Alertmanager, by their own word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentgauge.doctor.fetching import UnreachableError, is_loopback
from agentgauge.doctor.files import receivers_in
from agentgauge.doctor.finding import Finding, Status, counted, listed

if TYPE_CHECKING:
    from agentgauge.doctor.fetching import Access
    from agentgauge.doctor.page import Program

__all__ = ["Server", "alertmanager_known", "exemplar_storage", "receivers", "rules_loaded", "target_up", "watchdog"]

_JOB = "agentgauge"
_PREFIX = "Agentgauge"
_WATCHDOG = "AgentgaugeWatchdog"
_NOT_UNDERSTOOD = (UnreachableError, AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Server:
    """Prometheus or Alertmanager.

    Attributes:
        name: Which.
        url: Where; None where it was not named.
        access: How it is asked.
    """

    name: str
    url: str | None
    access: Access

    def ask(self, path: str) -> Any:
        """Fetch what an endpoint of its API answers.

        Raises:
            UnreachableError: It was not named, or does not answer.
        """
        option = f"--{self.name.lower()}"
        if self.url is None:
            raise UnreachableError(f"{option} was not given", f"Name it with {option} http://HOST:PORT.")
        try:
            answer = self.access.json(f"{self.url.rstrip('/')}{path}")
        except UnreachableError as error:
            raise UnreachableError(f"{self.name} at {self.url}: {error}", error.fix) from None
        if path.startswith("/api/v1/") and isinstance(answer, dict):  # Prometheus puts what it answers into an envelope
            answer = answer.get("data")
        if not isinstance(answer, dict | list):
            raise UnreachableError(f"{self.name} at {self.url}: what it answers to {path} is not understood")
        return answer

    def unknown(self, check: str, title: str, error: Exception) -> Finding:
        """Make the finding of a check for which it could not be asked: a failure where it was named."""
        status = Status.UNKNOWN if self.url is None else Status.FAIL
        if not isinstance(error, UnreachableError):
            error = UnreachableError(f"what {self.name} at {self.url} answers is not understood")
        fix = error.fix or f"Is --{self.name.lower()} the address of {self.name}, and does it run?"
        return Finding(check, status, title, str(error), fix)


def exemplar_storage(prometheus: Server) -> Finding:
    """Tell whether Prometheus keeps exemplars."""
    check = "exemplar-storage"
    try:
        features = str(prometheus.ask("/api/v1/status/flags").get("enable-feature", ""))
    except _NOT_UNDERSTOOD as error:
        return prometheus.unknown(check, "Whether Prometheus keeps exemplars is not known", error)
    evidence = f"--enable-feature={features}"
    if "exemplar-storage" in features.split(","):
        return Finding(check, Status.OK, "Prometheus keeps exemplars", evidence)
    fix = "Start Prometheus with --enable-feature=exemplar-storage."
    return Finding(check, Status.WARN, "Prometheus throws exemplars away: no way from a metric to its trace", evidence, fix)


def _is_of_ours(job: str) -> bool:
    """Tell whether the rules know by its name that agentgauge's metrics are promised: ``up{job=~"agentgauge(-.+)?"}``."""
    return job == _JOB or (job.startswith(f"{_JOB}-") and job != f"{_JOB}-")


def target_up(prometheus: Server, program: Program | None) -> Finding:
    """Tell whether Prometheus scrapes the job ``agentgauge``, or one whose name begins so, and this program."""
    check = "scraped"
    fix = f"Add a scrape job named {_JOB} with the program's address; the README has one to copy."
    try:
        targets = prometheus.ask("/api/v1/targets?state=active")["activeTargets"]
        ours = [target for target in targets if _is_of_ours(target["labels"].get("job", ""))]
        down = [
            f"{target['scrapeUrl']}: {target['lastError'] or target['health']}"
            for target in ours
            if target["health"] not in ("up", "unknown")
        ]
        waiting = [str(target["scrapeUrl"]) for target in ours if target["health"] == "unknown"]
        ports = {urlsplit(target["scrapeUrl"]).port for target in targets}
    except _NOT_UNDERSTOOD as error:
        return prometheus.unknown(check, "Whether Prometheus scrapes the program is not known", error)
    if not ours:
        fix += " One that has just started shows its targets some seconds later."
        return Finding(check, Status.FAIL, f"Prometheus has no target of the job {_JOB}", counted(len(targets), "target"), fix)
    if down:
        return Finding(check, Status.FAIL, f"A target of the job {_JOB} is not up", listed(down), "Repair what it says.")
    if waiting:
        title = f"A target of the job {_JOB} has not been scraped yet"
        return Finding(check, Status.UNKNOWN, title, listed(waiting), "Look again after one scrape_interval.")
    evidence = f'up{{job=~"{_JOB}(-.+)?"}} = 1 for {listed(target["scrapeUrl"] for target in ours)}'
    if program is not None and urlsplit(program.url).port not in ports:
        return Finding(check, Status.WARN, f"No target has the port of {program.url}", evidence, fix)
    return Finding(check, Status.OK, f"Prometheus scrapes the job {_JOB}", evidence)


def rules_loaded(prometheus: Server, names: set[str]) -> Finding:
    """Tell whether the alerts of the rule files are loaded and work.

    Args:
        prometheus: Where.
        names: The alerts that it should have; none where nothing tells.
    """
    check = "rules-loaded"
    fix = (
        "Name the rule files (`agentgauge export DIR` writes them to DIR/alerts/rules) in rule_files of prometheus.yml and "
        "reload it. Where some were left out on purpose, name the directory of the others with --rules."
    )
    try:
        groups = prometheus.ask("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"] if group["name"].lower().startswith(_PREFIX.lower())]
        bad = [f"{rule['name']}: {rule.get('lastError', '')}" for rule in rules if rule.get("health") == "err"]
        alerts = {rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    except _NOT_UNDERSTOOD as error:
        return prometheus.unknown(check, "Whether the rules are loaded is not known", error)
    missing = sorted(names - alerts)
    evidence = f"{len(names) - len(missing)} of {counted(len(names), 'alert')} loaded"
    if missing:
        return Finding(check, Status.FAIL, "Prometheus has not loaded all the rules", f"{evidence}; not {listed(missing)}", fix)
    if bad:
        return Finding(check, Status.FAIL, "A rule fails when it is evaluated", listed(bad), "Correct what it says.")
    if not names:
        evidence = (
            f"{counted(sum(name.startswith(_PREFIX) for name in alerts), 'alert')} of agentgauge loaded, and no rule files here"
        )
        fix = "Name the directory of the rule files with --rules."
        return Finding(check, Status.UNKNOWN, "Whether all the rules are loaded is not known", evidence, fix)
    return Finding(check, Status.OK, "Prometheus has loaded the rules", evidence)


def alertmanager_known(prometheus: Server) -> Finding:
    """Tell whether Prometheus knows an Alertmanager."""
    check = "alertmanager-known"
    try:
        urls = [each["url"] for each in prometheus.ask("/api/v1/alertmanagers")["activeAlertmanagers"]]
    except _NOT_UNDERSTOOD as error:
        return prometheus.unknown(check, "Whether Prometheus sends alerts on is not known", error)
    if not urls:
        fix = "Name it in the section alerting of prometheus.yml."
        return Finding(check, Status.FAIL, "Prometheus knows no Alertmanager", "activeAlertmanagers is empty", fix)
    return Finding(check, Status.OK, "Prometheus sends alerts to Alertmanager", listed(urls))


def receivers(alertmanager: Server) -> Finding:
    """Tell whether Alertmanager sends alerts somewhere."""
    try:
        configuration = str(alertmanager.ask("/api/v2/status")["config"]["original"])
    except _NOT_UNDERSTOOD as error:
        return alertmanager.unknown("receivers", "Whether alerts reach anybody is not known", error)
    folder = Path("/") if is_loopback(str(alertmanager.url)) else None  # it tells where its templates are, from the root on
    return receivers_in(str(alertmanager.url), configuration, folder)


def watchdog(prometheus: Server, alertmanager: Server) -> Finding:
    """Tell whether the alert that always fires does, up to Alertmanager where that was named."""
    check = "watchdog"
    fix = (
        "Wait a minute where Prometheus or Alertmanager has just started, and look again. Else see "
        "docs/runbooks/AgentgaugeWatchdog.md: repair the link that is broken, from Prometheus to the receiver."
    )
    try:
        if alertmanager.url is not None:
            names = [alert["labels"].get("alertname") for alert in alertmanager.ask("/api/v2/alerts")]
            place = "Alertmanager"
        else:
            alerts = prometheus.ask("/api/v1/alerts")["alerts"]
            names = [alert["labels"].get("alertname") for alert in alerts if alert["state"] == "firing"]
            place = "Prometheus"
    except _NOT_UNDERSTOOD as error:
        server = prometheus if alertmanager.url is None else alertmanager
        return server.unknown(check, "Whether the watchdog fires is not known", error)
    seen = "fires" if _WATCHDOG in names else "is not among the alerts"
    evidence = f"{_WATCHDOG} {seen} in {place} ({counted(len(names), 'alert')})"
    if _WATCHDOG not in names:
        return Finding(check, Status.FAIL, "The alert that always fires does not", evidence, fix)
    return Finding(check, Status.OK, "The alert that always fires does", evidence)
