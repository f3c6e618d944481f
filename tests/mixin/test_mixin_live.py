"""Running programs, scraped by a real Prometheus with the shipped rules: every panel shows something, every name is emitted.

Two programs run: the demo, with faults, and one that does what the demo does not.
"""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agentgauge.catalogue import FAMILIES
from answers import answer_problems
from expressions import (
    ALL,
    ROOT,
    dashboard_expressions,
    load_dashboards,
    load_rules,
    rule_expressions,
    runbook_expressions,
    scaled_rules,
)
from mixin_checks import known_series, name_problems, series_names
from stack import Stack

pytestmark = pytest.mark.servers

_SCALE = 1 / 60  # minutes become seconds
_PATIENCE_SECONDS = 120
_RANGE_SECONDS = 30
_BANDS = "a band needs six hours of history"
_NOT_LIVE = {
    **dict.fromkeys(
        [
            (f"GPU {what}", "{{instance}} {{hw_name}} {{hw_id}}")
            for what in ("in use", "memory in use", "memory", "temperature", "power")
        ],
        "there is no GPU",
    ),
    ("GPU memory", "{{instance}} {{hw_name}} {{hw_id}} limit"): "there is no GPU",
    ("GPU power", "{{instance}} {{hw_name}} {{hw_id}} limit"): "there is no GPU",
    ("GPU errors", "{{instance}} {{hw_name}} {{hw_id}} {{error_type}}"): "there is no GPU",
    **{
        (f"{what} and its band", "{{job}} {{gen_ai_agent_name}} upper limit"): _BANDS
        for what in ("Duration of runs", "Failed share", "Spending in five minutes")
    },
    ("Spending in five minutes and its band", "{{job}} {{gen_ai_agent_name}} lower limit"): _BANDS,
    ("Traffic beside the day before", "{{gen_ai_agent_name}} the day before"): "there was no day before",
    ("Where the budgets will end", "{{job}} {{gen_ai_agent_name}} {{period}}"): "a forecast needs an hour of history",
}
"""Queries that a program cannot answer in its first half minute, by panel and legend; injected series prove them."""


_OURS = {name for family in FAMILIES for name in series_names(family) if not name.startswith("hw_")}
_DECLARED = {
    name: labels
    for name, labels in known_series(rule for rule in rule_expressions(load_rules()) if rule.kind == "record").items()
    if name not in _OURS
}
"""What no program need emit: Prometheus's own series, those of recording rules, and those of a GPU."""


@dataclass
class Live:
    stack: Stack
    urls: list[str]


@contextmanager
def _running(*command, **options):
    with subprocess.Popen(
        [sys.executable, *map(str, command)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    ) as program:
        try:
            yield re.search(r"metrics: (\S+)", program.stdout.readline()).group(1)
        finally:
            program.kill()
            program.stdout.read()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump(scaled_rules(load_rules(), _SCALE)), encoding="utf-8")
    demo = (ROOT / "examples" / "research_swarm.py", "--faults", "heavy", "--speed", 0.2, "--concurrency", 8, "--port", 0)
    path = os.pathsep.join(str(ROOT / "tests" / name) for name in ("mixin", "collectors"))
    exercise = (ROOT / "tests" / "mixin" / "exercise.py", folder / "container")
    with (
        _running(*demo, "--hang", 300) as swarm,
        _running(*exercise, env=os.environ | {"PYTHONPATH": path}) as other,
        Stack([urlsplit(url).netloc for url in (swarm, other)], folder, rules=[rules]) as stack,
    ):
        yield Live(stack, [swarm, other])


@pytest.fixture(scope="module")
def emitted(live):
    """The labels of every series that the running programs show, by its name, as soon as none is missing, or time is up."""
    labels, deadline = defaultdict(set), time.monotonic() + _PATIENCE_SECONDS
    while True:
        for url in live.urls:
            with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as response:
                for family in text_string_to_metric_families(response.read().decode()):
                    for shown in family.samples:
                        labels[shown.name] |= set(shown.labels)
        if not _missing(labels) or time.monotonic() > deadline:
            return labels
        time.sleep(0.5)


def _missing(emitted):
    """Map each family that was not shown, or not with each of its labels, to the labels that are missing."""
    missing = {}
    for family in FAMILIES:
        if family.name.startswith("hw_"):  # there is no GPU; the collector's own tests read one
            continue
        shown = set().union(*(emitted.get(name, set()) for name in series_names(family)))
        if not any(name in emitted for name in series_names(family)) or set(family.labels) - shown:
            missing[family.name] = set(family.labels) - shown
    return missing


def _left(live, expressions):
    now = time.time()
    ranges = (now - _RANGE_SECONDS, now, 1)
    return [each for each in expressions if answer_problems(live.stack.prometheus_url, [each], *ranges)]


def test_every_query_of_every_board_shows_something_of_running_programs(live):
    variables = ALL | {"__rate_interval": "5s", "__range": "1m"}
    expressions = [each for board in load_dashboards().values() for each in dashboard_expressions(board, variables)]
    excepted = [each for each in expressions if (each.title, each.legend) in _NOT_LIVE]
    assert {(each.title, each.legend) for each in excepted} == set(_NOT_LIVE)
    left = [each for each in expressions if each not in excepted]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := _left(live, left)) and time.monotonic() < deadline:
        time.sleep(0.5)
    now = time.time()
    if problems := answer_problems(live.stack.prometheus_url, left, now - _RANGE_SECONDS, now, 1):
        pytest.fail("\n".join(problems))  # an assertion would cut the list


def test_every_family_and_each_of_its_labels_is_emitted_by_a_running_program(emitted):
    assert _missing(emitted) == {}


def test_what_dashboards_rules_and_runbooks_name_is_emitted_by_a_running_program(emitted):
    shown = {name: frozenset({*labels, "job", "instance"}) for name, labels in emitted.items()}
    panels = [each for board in load_dashboards().values() for each in dashboard_expressions(board)]
    rules = list(rule_expressions(load_rules()))
    assert name_problems([*panels, *rules, *runbook_expressions()], shown | _DECLARED) == []


def test_the_documentation_names_only_metrics_that_a_running_program_emits(emitted):
    declared = {name for family in FAMILIES for name in (family.name, *series_names(family))}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    words = {word for page in pages for word in re.findall(r"`(\w+)(?:{[^`]*})?`", page.read_text(encoding="utf-8"))}
    named = {word for word in words & declared if not word.startswith("hw_")}
    shown = set(emitted) | {name.removesuffix("_count") for name in emitted}
    assert len(named) > len(FAMILIES) / 2
    assert named - shown == set()


@pytest.mark.parametrize(
    ("series", "label"),
    [("agent_task_duration_seconds_count", None), ("agent_cost_usd_total", "gen_ai_request_model"), ("up", "job")],
)
def test_a_program_that_emits_something_else_is_noticed(emitted, series, label):
    shown = {name: frozenset({*labels, "job", "instance"}) for name, labels in emitted.items()} | _DECLARED
    panels = [each for board in load_dashboards().values() for each in dashboard_expressions(board)]
    assert name_problems(panels, shown) == []
    left = shown[series] - {label}
    changed = {name: labels for name, labels in shown.items() if name != series} | ({series: left} if label else {})
    assert name_problems(panels, changed)
