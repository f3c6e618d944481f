"""The series that real programs and servers show: what the cases of the rules may be about."""

from __future__ import annotations

import re
import tempfile
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from agentgauge.catalogue import FAMILIES
from expressions import load_cases
from mixin_checks import series_names
from programs import running
from stack import Stack

if TYPE_CHECKING:
    from expressions import Mapping

Shape = tuple[str, frozenset[str]]
"""A series' name, and the names of its labels but for those of its target; of some labels with their values."""

CLOSED = {"outcome", "period", "operator", "severity", "kind", "part"}
"""Labels whose values agentgauge decides: a case must use one that is real."""

TARGET = {"job", "instance"}
SERVERS_OWN = {"up", "ALERTS"}
NOT_HERE = ("container_", "hw_", "python_event_loop_", "system_cpu_utilization_ratio")
"""Families of machines that tests do not run on; their labels are compared with the catalogue's."""


def shape(name: str, labels: Mapping[str, str]) -> Shape:
    """Reduce a series to what a case must not invent."""
    own = {label: text for label, text in labels.items() if label not in TARGET and text}
    return name, frozenset(f"{label}={text}" if label in CLOSED else label for label, text in own.items())


def input_shapes() -> dict[Shape, str]:
    """Map what the cases of all rules are about to one of the series that they spell."""
    series = [each["series"] for test in load_cases()["tests"] for each in test["input_series"]]
    return {_shape_of_text(text): text for text in series}


def _shape_of_text(text: str) -> Shape:
    name, _, labels = text.partition("{")
    return shape(name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))


def invented(shapes: Mapping[Shape, str], real: set[Shape]) -> list[str]:
    """Find the series of cases that no real page shows."""
    families = {name: family for family in FAMILIES for name in series_names(family)}
    problems = []
    for (name, labels), text in shapes.items():
        if name in SERVERS_OWN or (name, labels) in real:
            continue
        family = families.get(name)
        own = {label.partition("=")[0] for label in labels}
        if family is not None and name.startswith(NOT_HERE) and own <= {*family.labels, "le"}:
            continue
        problems.append(text)
    return problems


@cache
def real_shapes() -> frozenset[Shape]:
    """Scrape a program with agents and faults, a Prometheus and an Alertmanager, and return what they show."""
    with tempfile.TemporaryDirectory() as folder, running("captured", Path(folder)) as program, Stack([]) as stack:
        url = program.url
        stack.wait_until(lambda: stack.query("vector(1)"), what="an answer")
        own, servers = [url], [f"{stack.prometheus_url}/metrics", f"{stack.alertmanager_url}/metrics"]
        # The page is whole when the last fault has been there: it comes in the third turn of the program's work.
        stack.wait_until(lambda: 'agentgauge_internal_errors_total{hook="planted"}' in _page(url), what="the faults")
        sent = "prometheus_notifications_errors_total{"
        stack.wait_until(lambda: sent in _page(servers[0]), what="an Alertmanager that Prometheus has found")
        stack.wait_until(lambda: "agentgauge_threshold_breached" in _page(url), what="a watched limit")
        pages = [_page(address) for address in (*own, *servers) for _ in range(2)]  # a scrape tells of the one before
    return frozenset(
        shape(sample.name, sample.labels)
        for page in pages
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    )


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()
    except urllib.error.URLError:
        return ""
