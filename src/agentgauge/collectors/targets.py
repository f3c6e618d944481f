"""What the program declares once: its thresholds, its budgets, and who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from agentgauge.catalogue import AGENT, BUDGET, TARGET_INFO, THRESHOLD
from agentgauge.recording.points import clean_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agentgauge.catalogue import Family
    from agentgauge.targets import Budget, Threshold

__all__ = ["TargetsCollector", "threshold_metric"]


class TargetsCollector:
    """Shows thresholds, budgets and resource attributes as series for as long as it is registered.

    Args:
        thresholds: The limits on readings; no two of one metric, severity and operator.
        attributes: The resource attributes of the service by their OpenTelemetry names.
        budgets: What LM calls may cost; no two of one agent and period.

    Attributes:
        thresholds: The limits that it shows.
    """

    def __init__(
        self, thresholds: Iterable[Threshold], attributes: Mapping[str, str | None], budgets: Iterable[Budget] = ()
    ) -> None:
        self.thresholds = tuple(thresholds)
        self._budgets = tuple(budgets)
        self._target = _labels_of(attributes)

    def describe(self) -> list[Metric]:
        """Declare nothing, so that a family's first owner keeps it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the families, each where it has a series."""
        if self.thresholds:
            yield threshold_metric(self.thresholds)
        if self._budgets:
            metric = _metric(BUDGET)
            for budget in self._budgets:
                labels = {AGENT: clean_label(budget.agent or ""), "period": budget.period}  # as the agent's calls have it
                metric.add_sample(BUDGET.name, labels, budget.usd)
            yield metric
        if self._target:
            metric = _metric(TARGET_INFO)
            metric.add_sample(TARGET_INFO.name, self._target, 1)
            yield metric


def threshold_metric(thresholds: Iterable[Threshold]) -> Metric:
    """Return ``agentgauge_threshold`` with a series for each limit, in its metric's own unit."""
    metric = _metric(THRESHOLD)
    for limit in thresholds:
        labels = {"metric": limit.metric, "severity": limit.severity, "operator": limit.operator}
        metric.add_sample(THRESHOLD.name, labels, limit.limit)
    return metric


def _metric(family: Family) -> Metric:
    return Metric(family.base_name, family.help, family.kind.value, family.unit)


def _labels_of(attributes: Mapping[str, str | None]) -> dict[str, str]:
    """Make labels of resource attributes; where two have the same name as a label, join their values with ``;``.

    Source: OpenTelemetry specification, Prometheus and OpenMetrics compatibility, "Metric Attributes".
    """
    labels: dict[str, str] = {}
    for attribute, value in sorted(attributes.items()):
        if value:
            name = _label_name(attribute)
            text = value.encode(errors="replace").decode()
            labels[name] = f"{labels[name]};{text}" if name in labels else text
    return labels


def _label_name(attribute: str) -> str:
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in attribute)
    name = "_" + name.lstrip("_") if name.startswith("__") else name  # names that begin with __ are Prometheus' own
    return f"_{name}" if name[:1].isdigit() else name
