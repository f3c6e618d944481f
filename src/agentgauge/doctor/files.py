"""The files that are deployed beside a program: rules, dashboards, the configuration of Alertmanager."""

from __future__ import annotations

import glob
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgauge.bundle import shipped_files
from agentgauge.doctor.finding import Finding, Status, counted, listed
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["alert_names", "checked_path", "dashboards", "deployed", "receivers_in", "rule_files", "shipped", "wanted_alerts"]

_SOURCES = Path(__file__).resolve().parents[3]
_ALERT = re.compile(r"^\s*(?:-\s+)?alert:\s*['\"]?([\w:-]+)", re.MULTILINE)
_RECEIVER = re.compile(r"^\s*-?\s*name:\s*['\"]?([^'\"\s]+)", re.MULTILINE)
_RECEIVERS = re.compile(r"^receivers:(.*?)(?=^\w|\Z)", re.MULTILINE | re.DOTALL)
_PROMTOOL_SECONDS = 30
_TEMPLATES = re.compile(r"^templates:(.*?)(?=^\w|\Z)", re.MULTILINE | re.DOTALL)
_TEMPLATE = re.compile(r"[^\s\[\],'\"]+\.\w+")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_EXAMPLES = ("127.0.0.1:9095", "smtp.example", "@example.com", "grafana.example")
"""The addresses of ``alerts/alertmanager.yml`` and its templates, which are nobody's."""


def shipped(name: str) -> Path | None:
    """Find a file or folder that agentgauge ships: in the working directory, or in the checkout that is installed."""
    return next((path for root in (Path.cwd(), _SOURCES) if (path := root / name).exists()), None)


def checked_path(option: str, text: str, *, is_directory: bool) -> Path:
    """Return the path that an option names.

    Raises:
        ConfigurationError: It is not there.
    """
    path = Path(text)
    if not (path.is_dir() if is_directory else path.is_file()):
        raise ConfigurationError(f"{option} {text!r}: there is no such {'directory' if is_directory else 'file'}")
    return path


def deployed(option: str, text: str, name: str) -> Path:
    """Return the directory that an option names, or the part of it where it is one that ``agentgauge export`` wrote.

    Args:
        option: The option.
        text: What it is given.
        name: Where an export has such files, as in ``alerts/rules``.

    Raises:
        ConfigurationError: It is not there.
    """
    path = checked_path(option, text, is_directory=True)
    return path / name if (path / name).is_dir() else path


def alert_names(directory: Path | None) -> set[str]:
    """Return the names of the alerts that the rule files of a directory define."""
    return set() if directory is None else {name for path in _yaml(directory) for name in _ALERT.findall(_text(path))}


def wanted_alerts(directory: Path | None) -> set[str]:
    """Return the names of the alerts that Prometheus should have: those of the directory, else those that agentgauge ships.

    Nothing comes back where there are neither: an installation that is not whole.
    """
    names = alert_names(directory)
    if names:
        return names
    try:
        texts = [content.decode() for path, content in shipped_files().items() if path.startswith("alerts/rules/")]
    except ConfigurationError:
        return set()
    return {name for text in texts for name in _ALERT.findall(text)}


def rule_files(directory: Path | None) -> Finding:
    """Check that there are rules, and that promtool accepts them, where it is installed."""
    check = "rule-files"
    if directory is None:
        fix = "`agentgauge export DIR` writes them; name them with --rules DIR."
        return Finding(check, Status.UNKNOWN, "No rule files were found", "no alerts/rules here", fix)
    files, names = list(_yaml(directory)), alert_names(directory)
    evidence = f"{counted(len(names), 'alert')} in {counted(len(files), 'file')} of {directory}"
    if not names:
        return Finding(check, Status.FAIL, "The directory of rules has no alert", evidence, "Name another one with --rules.")
    promtool = shutil.which("promtool")
    if promtool is None:
        return Finding(check, Status.OK, "There are alert rules", f"{evidence}; promtool is not on PATH to check them")
    command = [promtool, "check", "rules", *map(str, files)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_PROMTOOL_SECONDS, check=False)  # noqa: S603 - files as arguments
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(check, Status.UNKNOWN, "promtool could not check the rules", f"{evidence}; {type(error).__name__}")
    if ended.returncode:
        said = " ".join((ended.stdout + ended.stderr).decode("utf-8", "replace").split())[-300:]
        return Finding(check, Status.FAIL, "promtool refuses the rules", f"{evidence}: {said}", "Correct what it names.")
    return Finding(check, Status.OK, "promtool accepts the alert rules", evidence)


def dashboards(directory: Path | None) -> Finding:
    """Check that Grafana could import the dashboards."""
    check = "dashboards"
    if directory is None:
        fix = "`agentgauge export DIR` writes them; name them with --dashboards DIR."
        return Finding(check, Status.UNKNOWN, "No dashboards were found", "no dashboards here", fix)
    files = sorted(directory.glob("*.json"))
    if not files:
        return Finding(
            check, Status.FAIL, "The directory of dashboards has none", f"no *.json in {directory}", "Name another one."
        )
    problems = [f"{path.name}: {problem}" for path in files if (problem := _dashboard_problem(_text(path)))]
    seen = listed(path.name for path in files)
    if problems:
        return Finding(check, Status.FAIL, "Grafana cannot import a dashboard as it is", listed(problems), "Export it anew.")
    return Finding(check, Status.OK, "The dashboards can be imported", f"{seen}: a title, a uid and panels, no unresolved input")


def receivers_in(source: str, configuration: str, folder: Path | None) -> Finding:
    """Check that a configuration of Alertmanager sends alerts somewhere.

    Args:
        source: Where it is from.
        configuration: Its text.
        folder: Where its templates are looked for; None where they are another machine's.
    """
    check = "receivers"
    configuration = _COMMENT.sub("", configuration)
    section = "".join(_RECEIVERS.findall(configuration))
    names = _RECEIVER.findall(section)
    evidence = f"{source}: {counted(len(names), 'receiver')}: {listed(names)}" if names else f"{source}: no receivers"
    if not names or "_configs:" not in section:
        fix = "Give it one that reaches a person; alerts/alertmanager.yml is an example."
        return Finding(check, Status.FAIL, "Alertmanager has no receiver that sends anything", evidence, fix)
    left = [address for address in _EXAMPLES if address in configuration]
    left += [
        f"{address} in {path}" for path in _templates(configuration, folder) for address in _EXAMPLES if address in _text(path)
    ]
    if left:
        fix = "Replace each by an address of your own, or leave out what has it."
        return Finding(check, Status.WARN, "Alerts go to an example's address", f"{evidence}; still there: {listed(left)}", fix)
    return Finding(check, Status.OK, "Alertmanager has receivers", evidence)


def _templates(configuration: str, folder: Path | None) -> list[Path]:
    """Find the files that a configuration of Alertmanager names as its templates, as far as they are on this machine."""
    if folder is None:
        return []
    patterns = _TEMPLATE.findall("".join(_TEMPLATES.findall(configuration)))
    return sorted({Path(path) for pattern in patterns for path in glob.glob(str(folder / pattern))})  # noqa: PTH207 - Path.glob() takes none that is absolute


def _yaml(directory: Path) -> Iterator[Path]:
    yield from sorted(path for pattern in ("*.yml", "*.yaml") for path in directory.glob(pattern))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _dashboard_problem(text: str) -> str | None:
    try:
        dashboard: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(dashboard, dict) or not dashboard.get("title") or not dashboard.get("panels"):
        return "no dashboard: a title or panels are missing"
    if not dashboard.get("uid"):
        return "no uid: links to it would break at each import"
    if "${DS_" in text or dashboard.get("__inputs"):
        return "it has inputs (${DS_...}) that provisioning leaves unresolved"
    return None
