"""The options of ``agentgauge export``, and its course."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge import bundle
from agentgauge.errors import ConfigurationError
from agentgauge.export import kubernetes
from agentgauge.export.addresses import checked_url, with_addresses, without_grafana
from agentgauge.export.folder import ExportError, Written, write
from agentgauge.export.keda import PROMETHEUS_URL, Scaling

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

__all__ = ["add_arguments", "main"]

_FAILED = 1
_WRONG_USAGE = 2
_FORMATS = ("files", "kubernetes")
_OF_KUBERNETES = {
    "namespace": "--namespace",
    "label": "--label",
    "monitor": "--monitor",
    "job_label": "--job-label",
    "keda": "--keda",
    "keda_tasks": "--keda-tasks",
    "keda_replicas": "--keda-replicas",
    "keda_capacity": "--keda-capacity",
    "prometheus": "--prometheus",
}
_GUIDE = "https://github.com/agentgauge/agentgauge/blob/main/docs/export.md#kubernetes"  # an installation has no docs
_OF_KEDA = ("keda_tasks", "keda_replicas", "keda_capacity", "prometheus")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("folder", metavar="DIR", help="where to write to; it is made where it is not there")
    parser.add_argument("--format", choices=_FORMATS, default="files", help="plain files (default), or objects for kubectl apply")
    parser.add_argument("--force", action="store_true", help="replace files that no export wrote, or that were changed since")
    parser.add_argument(
        "--runbook-url",
        metavar="URL",
        help="where your copies of the runbooks are: a folder, or an address with {alert} for the alert's name",
    )
    parser.add_argument("--dashboard-url", metavar="URL", help="where your Grafana is, such as https://grafana.example.com")
    cluster = parser.add_argument_group("with --format kubernetes")
    cluster.add_argument("--namespace", metavar="NAME", help="the namespace of the objects (default: where they are applied)")
    cluster.add_argument(
        "--label", action="append", type=_label, metavar="KEY=VALUE", help="a label of each object, such as release=monitoring"
    )
    cluster.add_argument("--monitor", choices=("pod", "service"), help="find programs by their Pods (default) or Services")
    cluster.add_argument(
        "--job-label",
        metavar="KEY",
        help=f"the label of a Pod or Service that is its job (default: {kubernetes.JOB_LABEL}; without the label, agentgauge)",
    )
    cluster.add_argument("--keda", metavar="DEPLOYMENT", help="also write a ScaledObject, by which KEDA scales this Deployment")
    cluster.add_argument("--keda-tasks", type=int, metavar="NUMBER", help="how many tasks a replica shall have (default: 10)")
    cluster.add_argument("--keda-replicas", type=int, metavar="NUMBER", help="how many replicas at the most (default: 10)")
    cluster.add_argument(
        "--keda-capacity",
        metavar="AGENT/TASK",
        help="also scale by the replicas that programs with is_analysis_enabled plan for this task (agent_capacity_replicas)",
    )
    cluster.add_argument("--prometheus", metavar="URL", help=f"where KEDA asks (default: {PROMETHEUS_URL})")


def main(options: Namespace) -> int:
    """Write the files, and say what was done.

    Args:
        options: What ``add_arguments`` made of the command line.

    Returns:
        0, 1 where something stands in the way of the files, 2 for a wrong option.
    """
    try:
        contents = _contents(options)
        roots = kubernetes.ROOTS if options.format == "kubernetes" else bundle.ROOTS
        done = write(Path(options.folder), contents, roots, is_forced=options.force)
    except ConfigurationError as error:
        return _fail(error, _WRONG_USAGE)
    except ExportError as error:
        return _fail(error, _FAILED)
    sys.stdout.write(_told(options, done))
    return 0


def _contents(options: Namespace) -> Mapping[str, bytes]:
    runbook_base, dashboard_base = options.runbook_url, options.dashboard_url
    if runbook_base is not None:
        checked_url("--runbook-url", runbook_base, "https://docs.example.com/runbooks", may_name_alert=True)
    if dashboard_base is not None:
        checked_url("--dashboard-url", dashboard_base, "https://grafana.example.com")
    given = [name for name in _OF_KUBERNETES if getattr(options, name) is not None]
    if options.format != "kubernetes" and given:
        raise ConfigurationError(f"{_OF_KUBERNETES[given[0]]} works with --format kubernetes: give both")
    cluster = _cluster(options)
    contents = dict(bundle.shipped_files())
    for path, content in contents.items():
        if path.startswith("alerts/rules/"):
            contents[path] = with_addresses(content.decode(), runbook_base, dashboard_base).encode()
        elif path.startswith("alerts/templates/") and dashboard_base is not None:
            contents[path] = without_grafana(content.decode()).encode()
    return kubernetes.manifests(contents, cluster) if options.format == "kubernetes" else contents


def _cluster(options: Namespace) -> kubernetes.Cluster:
    scaling = None
    if options.keda is not None:
        asked = {
            "tasks_per_replica": options.keda_tasks,
            "most_replicas": options.keda_replicas,
            "planned": options.keda_capacity,
            "prometheus_url": options.prometheus,
            "namespace": options.namespace,
        }
        scaling = Scaling(options.keda, **{name: value for name, value in asked.items() if value is not None})
    elif lonely := [name for name in _OF_KEDA if getattr(options, name) is not None]:
        raise ConfigurationError(f"{_OF_KUBERNETES[lonely[0]]} works with --keda DEPLOYMENT: give both")
    return kubernetes.Cluster(
        options.namespace,
        dict(options.label or ()),
        options.monitor == "service",
        scaling,
        kubernetes.JOB_LABEL if options.job_label is None else options.job_label,
    )


def _told(options: Namespace, done: Written) -> str:
    same = f", {len(done.unchanged)} were there" if done.unchanged else ""
    lines = [f"{options.folder}: {len(done.written)} files written{same}"]
    lines += [f"  removed, since this export does not make it: {path}" for path in done.removed]
    lines += [f"  left, though this export does not make it, since someone has changed it: {path}" for path in done.left]
    if options.format == "kubernetes":
        if done.removed:
            lines.append("What was applied of the removed stays in the cluster until kubectl delete takes it out")
        lines.append(f"Apply them: kubectl apply --filename {options.folder}/kubernetes")
        lines.append(f"What they need: {_GUIDE}")
    else:
        lines.append("Where each goes: Prometheus takes alerts/rules, Alertmanager the rest of alerts, Grafana dashboards")
    return "\n".join(lines) + "\n"


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("give KEY=VALUE, such as release=monitoring")
    return key, value


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"agentgauge export: {error}\n")
    return status
