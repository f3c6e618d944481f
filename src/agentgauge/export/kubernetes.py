"""The same as objects of Kubernetes: rules and monitors of the Prometheus operator, dashboards for Grafana's sidecar."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.export.keda import Scaling, scaled_object

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JOB_LABEL", "ROOTS", "Cluster", "manifests"]

_FOLDER = "kubernetes"
ROOTS = frozenset({_FOLDER})
"""The folder that all of them lie in."""

JOB_LABEL = "agentgauge-job"
"""The label of a Pod or Service that says its job, unless another is asked for."""

_SELECTED = {"agentgauge": "enabled"}
_JOB = "agentgauge"  # the one of which the rules report a target that never answered, too
_SECRET = {"name": "agentgauge-metrics", "key": "token"}
_PORT = "metrics"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_MOST_BYTES = 1_000_000  # of a ConfigMap: 1 MiB with everything


@dataclass(frozen=True, slots=True)
class Cluster:
    """How it is in the cluster.

    Attributes:
        namespace: Where the objects go; None for wherever they are applied.
        labels: Further labels of each object, such as ``release``, by which a Prometheus may choose.
        is_service: Find the programs by their Services; by their Pods unless so.
        scaling: What KEDA is to scale; None for nothing.
        job_label: Which label of a Pod or Service says its job; where it has none, the job is ``agentgauge``.

    Raises:
        ConfigurationError: A name or label is none that Kubernetes takes.
    """

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    is_service: bool = False
    scaling: Scaling | None = None
    job_label: str = JOB_LABEL

    def __post_init__(self) -> None:
        if self.namespace is not None and not _NAME.fullmatch(self.namespace):
            raise ConfigurationError(f"--namespace {self.namespace!r}: give lower-case letters, digits and dashes, 63 at most")
        if not _LABEL_KEY.fullmatch(self.job_label):
            raise ConfigurationError(
                f"--job-label {self.job_label!r}: Kubernetes takes no such label; give a key such as app.kubernetes.io/name"
            )
        for key, value in self.labels.items():
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                raise ConfigurationError(
                    f"--label {key}={value}: Kubernetes takes no such label; give one such as release=monitoring"
                )


def manifests(shipped: Mapping[str, bytes], cluster: Cluster) -> Mapping[str, bytes]:
    """Make the objects.

    Args:
        shipped: What is shipped, by path.
        cluster: How it is in the cluster.

    Returns:
        One file an object, by path. Those of rules are YAML with the comments of the rule files, the others JSON.

    Raises:
        ConfigurationError: A dashboard is too large for a ConfigMap.
    """
    made: dict[str, bytes] = {}
    for path, content in shipped.items():
        place = PurePosixPath(path)
        name = f"agentgauge-{_as_name(place.stem)}"
        if place.parent.as_posix() == "alerts/rules":
            made[f"{_FOLDER}/rules-{_as_name(place.stem)}.yaml"] = _rule(name, content.decode(), cluster).encode()
        elif place.parent.as_posix() == "dashboards":
            made[f"{_FOLDER}/dashboard-{_as_name(place.stem)}.json"] = _as_json(_dashboard(name, place.name, content, cluster))
    kind = "service-monitor" if cluster.is_service else "pod-monitor"
    made[f"{_FOLDER}/{kind}.json"] = _as_json(_monitor(cluster))
    if cluster.scaling is not None:
        scaled = scaled_object(cluster.scaling, _metadata(f"agentgauge-{cluster.scaling.deployment}"[:63].rstrip("-"), cluster))
        made[f"{_FOLDER}/scaled-object.json"] = _as_json(scaled)
    return dict(sorted(made.items()))


def _rule(name: str, rules: str, cluster: Cluster) -> str:
    """Make a PrometheusRule around the text of a rule file: its spec is what a rule file is."""
    head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": _metadata(name, cluster)}
    lines = [f"{key}: {json.dumps(value)}" for key, value in head.items()]  # JSON is YAML
    return "\n".join([*lines, "spec:", textwrap.indent(rules, "  ")])


def _dashboard(name: str, file: str, content: bytes, cluster: Cluster) -> Mapping[str, Any]:
    metadata = _metadata(name, cluster)
    metadata["labels"]["grafana_dashboard"] = "1"
    metadata["annotations"] = {"grafana_folder": "agentgauge"}
    text = json.dumps(json.loads(content), separators=(",", ":"))  # of what is over 256 KiB, kubectl apply keeps no copy
    if len(text) > _MOST_BYTES:
        raise ConfigurationError(f"dashboards/{file}: {len(text)} bytes do not fit in a ConfigMap; provision it as a file")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {file: text}}


def _monitor(cluster: Cluster) -> Mapping[str, Any]:
    endpoint = {
        "port": _PORT,
        "path": "/metrics",
        "interval": "15s",
        "scrapeTimeout": "10s",
        "authorization": {"type": "Bearer", "credentials": dict(_SECRET)},
        "relabelings": _job_relabelings(cluster),
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor" if cluster.is_service else "PodMonitor",
        "metadata": _metadata("agentgauge", cluster),
        "spec": {
            "selector": {"matchLabels": dict(_SELECTED)},
            "endpoints" if cluster.is_service else "podMetricsEndpoints": [endpoint],
        },
    }


def _job_relabelings(cluster: Cluster) -> list[Mapping[str, Any]]:
    """Say the job: the label's value, ``agentgauge`` without one.

    The monitor's own ``jobLabel`` does the first; without the label it leaves the name of the monitor or of the Service.
    """
    role = "service" if cluster.is_service else "pod"
    source = f"__meta_kubernetes_{role}_label_" + re.sub("[^A-Za-z0-9_]", "_", cluster.job_label)  # as Prometheus spells it
    return [
        {"action": "replace", "targetLabel": "job", "replacement": _JOB},
        {"action": "replace", "sourceLabels": [source], "regex": "(.+)", "targetLabel": "job", "replacement": "$1"},
    ]


def _metadata(name: str, cluster: Cluster) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "agentgauge", **cluster.labels}
    return {"name": name, **({"namespace": cluster.namespace} if cluster.namespace else {}), "labels": labels}


def _as_name(stem: str) -> str:
    return re.sub("[^a-z0-9]+", "-", stem.lower()).strip("-")


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
