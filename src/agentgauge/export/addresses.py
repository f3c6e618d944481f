"""Where alerts lead to: the addresses of runbooks and dashboards, rewritten for those who keep their own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from agentgauge.errors import ConfigurationError

__all__ = ["checked_url", "with_addresses", "without_grafana"]

_RUNBOOK = re.compile(r"(\brunbook_url:\s+(?:>-\s+)?)https://\S+/docs/runbooks/(\w+)\.md(?=\s)")
_DASHBOARD = re.compile(r"(\bdashboard_url:\s+(?:>-\s+)?)(?=/d/)")
_GRAFANA = re.compile(r'(\{\{ define "agentgauge\.grafana" \}\})[^{]*(\{\{ end \}\})')
_SAFE = re.compile(r"[\w.~:/@!$&()*+,;=%?#\[\]-]+", re.ASCII)  # what YAML and Alertmanager's templates leave alone
_ALERT = "{alert}"


def checked_url(option: str, text: str, example: str, *, may_name_alert: bool = False) -> str:
    """Return an address that can stand in an exported file.

    Args:
        option: The option that names it.
        text: The address.
        example: One that would do.
        may_name_alert: Whether ``{alert}`` in it stands for the name of an alert. Only such an address may have ``?`` or ``#``:
            to any other a path is added.

    Raises:
        ConfigurationError: It is no such address, or has a user's name or password.
    """
    is_whole = may_name_alert and _ALERT in text
    plain = text.replace(_ALERT, "Alert") if is_whole else text
    if "@" in re.split(r"[/?#]", plain.partition("//")[2])[0]:  # it is not shown: others may see what is printed
        raise ConfigurationError(f"{option}: others can read the exported files; give the address without a user and password")
    try:
        parts = urlsplit(plain)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    is_address = is_address and bool(_SAFE.fullmatch(plain)) and not plain.endswith(":")  # for YAML, a key would end there
    if not is_address or (not is_whole and re.search("[?#]", plain)):
        shown = "" if "@" in text else f" {text!r}"
        raise ConfigurationError(f"{option}{shown}: give an address such as {example}")
    return text


def with_addresses(rules: str, runbook_base: str | None, dashboard_base: str | None) -> str:
    """Return a rule file whose alerts lead elsewhere.

    Args:
        rules: The text of the file.
        runbook_base: What the address of a runbook begins with, or all of it where it has ``{alert}``; None to leave them.
        dashboard_base: Where Grafana is; None to leave paths, which Alertmanager's templates complete.
    """
    if runbook_base is not None:
        whole = runbook_base if _ALERT in runbook_base else f"{runbook_base.rstrip('/')}/{_ALERT}.md"
        rules = _RUNBOOK.sub(lambda found: found[1] + whole.replace(_ALERT, found[2]), rules)
    if dashboard_base is not None:
        rules = _DASHBOARD.sub(lambda found: found[1] + dashboard_base.rstrip("/"), rules)
    return rules


def without_grafana(template: str) -> str:
    """Return Alertmanager's template without the address that it puts before a dashboard's path: rules have all of it."""
    return _GRAFANA.sub(r"\1\2", template)
