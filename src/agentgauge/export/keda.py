"""A ScaledObject of KEDA: as many replicas as the work needs that waits and goes on, and as its programs plan for themselves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.export.addresses import checked_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROMETHEUS_URL", "Scaling", "capacity_query", "query", "scaled_object"]

PROMETHEUS_URL = "http://prometheus-operated:9090"
"""Where the Prometheus operator's servers answer in their own namespace."""

_LOOK_BACK = "15m"
_LOOK_AHEAD_SECONDS = 300
_DEPLOYMENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?")  # names of its pods, of at most 63 characters, begin with it


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is scaled, and how far.

    Attributes:
        deployment: The name of the Deployment.
        tasks_per_replica: How many tasks a replica shall have, those that wait and those in progress.
        most_replicas: How many replicas there are at the most; one at the least.
        prometheus_url: Where KEDA asks.
        namespace: Which namespace's programs count; None for every one.
        planned: The agent and the task whose planned capacity counts, too, as ``AGENT/TASK``; None for none.

    Raises:
        ConfigurationError: A value cannot work.
    """

    deployment: str
    tasks_per_replica: int = 10
    most_replicas: int = 10
    prometheus_url: str = PROMETHEUS_URL
    namespace: str | None = None
    planned: str | None = None

    def __post_init__(self) -> None:
        if not _DEPLOYMENT.fullmatch(self.deployment):
            raise ConfigurationError(f"--keda {self.deployment!r}: give the name of a Deployment, such as research-agents")
        if self.tasks_per_replica < 1:
            raise ConfigurationError(
                f"--keda-tasks {self.tasks_per_replica}: give how many tasks a replica shall have, 1 or more"
            )
        if self.most_replicas < 1:
            raise ConfigurationError(f"--keda-replicas {self.most_replicas}: give the most replicas there may be, 1 or more")
        if self.planned is not None and not all(self.planned.partition("/")):
            raise ConfigurationError(
                f"--keda-capacity {self.planned!r}: give an agent and its outermost task, such as researcher/research"
            )
        checked_url("--prometheus", self.prometheus_url, PROMETHEUS_URL)


def query(scaling: Scaling) -> str:
    """Return the PromQL: one number, or nothing while no program of the Deployment answers a scrape.

    What is foretold is the sum's trend, not that of each pod: a pod that has gone would be foretold to go on.
    """
    chosen = _selector(scaling)
    none = f"0 * sum(agentgauge_build_info{chosen})"  # they run, and have nothing of it; not known is not none
    work = f"((sum(agent_queue_depth{chosen}) or {none}) + (sum(agent_tasks_in_progress{chosen}) or {none}))"
    foretold = f"clamp_min(predict_linear({work}[{_LOOK_BACK}:30s], {_LOOK_AHEAD_SECONDS}), 0) and {work}"
    return f'max({foretold} or label_replace({work}, "is", "now", "", ""))'


def capacity_query(scaling: Scaling) -> str:
    """Return the PromQL of the replicas that the programs plan for themselves: none of them while they plan none yet.

    Nothing while no program of the Deployment answers a scrape: not known is not none.
    """
    agent, _, task = (scaling.planned or "").partition("/")
    planned = f"agent_capacity_replicas{_selector(scaling, gen_ai_agent_name=agent, agent_task=task)}"
    return f"sum({planned}) or 0 * sum(agentgauge_build_info{_selector(scaling)})"


def _selector(scaling: Scaling, **labels: str) -> str:
    matchers = [f'namespace="{scaling.namespace}"'] if scaling.namespace else []
    matchers.append(f'pod=~"{scaling.deployment}-[a-z0-9]+-[a-z0-9]+"')
    matchers += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items()]  # as PromQL quotes
    return "{" + ",".join(matchers) + "}"


def scaled_object(scaling: Scaling, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make the object.

    Args:
        scaling: What is scaled.
        metadata: Its name and labels.
    """
    triggers = [_trigger(scaling, query(scaling), scaling.tasks_per_replica)]
    if scaling.planned is not None:
        triggers.append(_trigger(scaling, capacity_query(scaling), 1))  # KEDA takes what asks for more
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"name": scaling.deployment},
            "minReplicaCount": 1,  # with none, nothing would be left to tell of work
            "maxReplicaCount": scaling.most_replicas,
            "pollingInterval": 30,
            "fallback": {"failureThreshold": 4, "replicas": 1, "behavior": "currentReplicasIfHigher"},
            "triggers": triggers,
        },
    }


def _trigger(scaling: Scaling, promql: str, threshold: int) -> Mapping[str, Any]:
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": scaling.prometheus_url,
            "query": promql,
            "threshold": str(threshold),
            "ignoreNullValues": "false",  # no answer is no reason to end replicas that are at work
        },
    }
