"""The options of ``agentgauge doctor``, and its course."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentgauge.config import Config
from agentgauge.doctor import servers
from agentgauge.doctor.environment import ENVIRONMENT_CHECKS, survey
from agentgauge.doctor.fetching import Access, UnreachableError, checked_url, is_loopback
from agentgauge.doctor.files import checked_path, deployed, shipped, wanted_alerts
from agentgauge.doctor.finding import Finding, Section, Status
from agentgauge.doctor.page import visit
from agentgauge.doctor.production import Deployment, checklist, scores
from agentgauge.doctor.program import PROGRAM_CHECKS
from agentgauge.doctor.provider import tracer_provider
from agentgauge.doctor.report import Report
from agentgauge.doctor.servers import Server
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from agentgauge.doctor.page import Program

__all__ = ["add_arguments", "main"]

_MOST_SECONDS = 600.0


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--url",
        help="the program's /metrics; http://127.0.0.1:9464/metrics, or as AGENTGAUGE_HOST and AGENTGAUGE_PORT say, unless given",
    )
    parser.add_argument("--token-file", metavar="FILE", help="the file that holds the bearer token of /metrics")
    parser.add_argument("--ca-file", metavar="FILE", help="the PEM certificates of authorities that are trusted")
    parser.add_argument("--certificate-file", metavar="FILE", help="the PEM certificate that is shown to the program")
    parser.add_argument("--key-file", metavar="FILE", help="the PEM key of that certificate")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="the limit on one request (10)")
    parser.add_argument(
        "--prometheus", metavar="URL", help="the Prometheus that scrapes the program, such as http://127.0.0.1:9090"
    )
    parser.add_argument(
        "--alertmanager", metavar="URL", help="the Alertmanager that sends its alerts, such as http://127.0.0.1:9093"
    )
    parser.add_argument("--rules", metavar="DIR", help="the rule files, or an export's folder; alerts/rules unless given")
    parser.add_argument("--dashboards", metavar="DIR", help="the dashboards, or an export's folder; dashboards unless given")
    parser.add_argument(
        "--alertmanager-config", metavar="FILE", help="Alertmanager's configuration, read where --alertmanager is not given"
    )
    parser.add_argument("--production", action="store_true", help="check readiness for production, and score it")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for a warning, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(options: Namespace) -> int:
    """Examine, and print what was found.

    Args:
        options: What ``add_arguments`` made of the command line.

    Returns:
        0, 1 where a check failed (with ``--strict`` also where one warns), 2 for a wrong option.
    """
    try:
        report = _examine(options)
    except ConfigurationError as error:
        sys.stderr.write(f"agentgauge doctor: {error}\n")
        return 2
    _print(report.as_json() if options.json else report.as_text())
    return report.exit_code


def _examine(options: Namespace) -> Report:
    config, config_problem = _config()
    url = _page_of(checked_url("--url", options.url)) if options.url else _default_url(config)
    access = _access(options, config, url)
    prometheus, alertmanager = (
        Server(name, checked_url(option, text) if text else None, access)
        for name, option, text in (
            ("Prometheus", "--prometheus", options.prometheus),
            ("Alertmanager", "--alertmanager", options.alertmanager),
        )
    )
    rules = deployed("--rules", options.rules, "alerts/rules") if options.rules else shipped("alerts/rules")
    dashboards = deployed("--dashboards", options.dashboards, "dashboards") if options.dashboards else shipped("dashboards")
    alertmanager_file = (
        checked_path("--alertmanager-config", options.alertmanager_config, is_directory=False)
        if options.alertmanager_config
        else shipped("alerts/alertmanager.yml")
    )
    program, unreachable = _visit(url, access, config_problem, is_named=bool(options.url))
    here = survey()
    if options.production:
        deployment = Deployment(
            here, program, unreachable, config.series_limit, prometheus, alertmanager, rules, dashboards, alertmanager_file
        )
        items = checklist(deployment)
        return Report(url, items, scores(items), options.strict)
    findings = [(Section.ENVIRONMENT, check(here)) for check in ENVIRONMENT_CHECKS]
    if program is None:
        findings.append((Section.PROGRAM, unreachable))
    else:
        findings += [(Section.PROGRAM, check(program, config.series_limit)) for check in PROGRAM_CHECKS]
        findings.append((Section.PROGRAM, tracer_provider(here, program)))
    if prometheus.url is not None:
        findings.append((Section.SERVERS, servers.target_up(prometheus, program)))
        findings.append((Section.SERVERS, servers.exemplar_storage(prometheus)))
        findings.append((Section.SERVERS, servers.rules_loaded(prometheus, wanted_alerts(rules))))
        findings.append((Section.SERVERS, servers.alertmanager_known(prometheus)))
    if alertmanager.url is not None:
        findings.append((Section.SERVERS, servers.receivers(alertmanager)))
    if prometheus.url is not None or alertmanager.url is not None:
        findings.append((Section.SERVERS, servers.watchdog(prometheus, alertmanager)))
    return Report(url, findings, is_strict=options.strict)


def _visit(url: str, access: Access, config_problem: str, *, is_named: bool) -> tuple[Program | None, Finding]:
    """Look at the program; return with it what is found where none answers: a failure where it was named."""
    status = Status.FAIL if is_named else Status.UNKNOWN
    try:
        return visit(url, access), Finding("answers", status, "The program does not answer", url)
    except UnreachableError as error:
        evidence = f"{url}: {error}"
        if config_problem and not is_named:
            evidence += f" (the default address, since the settings cannot be read: {config_problem})"
        return None, Finding("answers", status, "The program does not answer", evidence, error.fix)


def _config() -> tuple[Config, str]:
    """Read the settings; where they cannot be read, go on with the defaults, and say why."""
    try:
        return Config.load(), ""
    except ConfigurationError as error:
        return Config(), str(error)


def _page_of(url: str) -> str:
    """Add the path of the page where a url names a program alone."""
    return f"{url.rstrip('/')}/metrics" if urlsplit(url).path in ("", "/") and not urlsplit(url).query else url


def _default_url(config: Config) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)  # noqa: S104 - compared, not listened on
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    scheme = "http" if config.tls_certificate_file is None else "https"
    return f"{scheme}://{host}:{config.port or 9464}/metrics"


def _access(options: Namespace, config: Config, url: str) -> Access:
    """Gather what the program wants to see; the token of this environment goes to no other machine than its own."""
    if not 0 < options.timeout <= _MOST_SECONDS:  # not so for a number that is none, too
        raise ConfigurationError(f"--timeout {options.timeout}: give a number of seconds above 0 and up to {_MOST_SECONDS:.0f}")
    token = config.bearer_token if not options.url or is_loopback(url) else None
    if options.token_file:
        token = _token(options.token_file)
    if options.key_file and not options.certificate_file:
        raise ConfigurationError("--key-file works with --certificate-file: give both")
    for option in ("ca_file", "certificate_file", "key_file"):
        if getattr(options, option):
            checked_path(f"--{option.replace('_', '-')}", getattr(options, option), is_directory=False)
    urls = (url, options.prometheus, options.alertmanager)
    if not options.ca_file and not options.certificate_file and not any(each and each.startswith("https:") for each in urls):
        return Access(options.timeout, token)  # the system's authorities take a while to load
    try:
        tls = ssl.create_default_context(cafile=options.ca_file)
        of_stranger = ssl.create_default_context(cafile=options.ca_file)
        if options.certificate_file:
            tls.load_cert_chain(options.certificate_file, options.key_file, password="")  # without, it would ask the terminal
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise ConfigurationError("--ca-file, --certificate-file, --key-file: give PEM files that belong together") from None
    return Access(options.timeout, token, tls, of_stranger)


def _token(path: str) -> str:
    checked_path("--token-file", path, is_directory=False)
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        raise ConfigurationError(f"--token-file {path!r}: it cannot be read, or holds no ASCII text") from None
    if not token or not token.isprintable() or " " in token:
        raise ConfigurationError(f"--token-file {path!r}: it does not hold one token")
    return token


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; nothing more is written, not even when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
