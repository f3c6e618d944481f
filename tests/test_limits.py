"""Which limits the shipped rules obey: one table, with which the rules, the documentation and start() agree."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from agentgauge import ConfigurationError, Threshold, start, stop
from agentgauge.catalogue import FAMILIES
from agentgauge.limits import OBEYED, OBEYED_OPERATOR, meant, unobeyed
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.targets import DEFAULT_THRESHOLDS
from expressions import read_yaml

ROOT = Path(__file__).parents[1]
SELECTOR = re.compile(r"([\w:]*agentgauge_threshold(?::max)?)\s*\{([^}]*)\}")


@pytest.fixture
def registry(fresh):
    yield fresh.registry
    stop()


def selectors(rule):
    for name, matchers in SELECTOR.findall(rule["expr"]):
        yield name, dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', matchers))


def looked_at_by_rules():
    """The metric, severity and operator of every limit that an alert looks at, with what its recording rule has chosen before."""
    paths = sorted((ROOT / "alerts" / "rules").glob("*.yml"))
    groups = [group for path in paths for group in read_yaml(path.read_text(encoding="utf-8"))["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"]: matchers for rule in rules if "record" in rule for _, matchers in selectors(rule)}
    for rule in rules:
        for name, matchers in selectors(rule) if "alert" in rule else ():
            chosen = recorded.get(name, {}) | matchers
            yield chosen["metric"], chosen["severity"], chosen["operator"]


def test_the_table_has_the_limits_that_the_shipped_rules_look_at_and_no_others():
    table = {(metric, severity, OBEYED_OPERATOR) for metric, severities in OBEYED.items() for severity in severities}

    assert set(looked_at_by_rules()) == table
    assert OBEYED.keys() <= {family.name for family in FAMILIES}
    assert not any(unobeyed(*limit) for limit in table)
    assert {(limit.metric, limit.severity, limit.operator) for limit in DEFAULT_THRESHOLDS} <= table


def test_the_documentation_has_the_table():
    text = (ROOT / "docs" / "system-metrics.md").read_text(encoding="utf-8")
    table = text.partition("### Limits that the shipped rules obey")[2].partition("\n### ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))

    assert {metric: tuple(re.findall(r"`(\w+)`", severities)) for metric, severities in rows.items()} == dict(OBEYED)
    assert set(re.findall(r"``(\w+)``", Threshold.__doc__ or "")) >= OBEYED.keys()


@pytest.mark.parametrize(
    ("metric", "close"),
    [
        ("agent_queue_depht", "agent_queue_depth"),
        ("agent_queue_dept", "agent_queue_depth"),
        ("system_memory_utilisation_ratio", "system_memory_utilization_ratio"),
        ("process_open_fd", "process_open_fds"),
        ("python_event_loop_stal_seconds", "python_event_loop_stall_seconds"),
        *((name, "") for name in ("agent_queue_depth", "gen_ai_execute_tool_duration_seconds_sum", "process_max_fds")),
        # of the user's own
        *((name, "") for name in ("my_agent_queue_depth", "system_gpu_utilization_ratio", "orders_failed_total")),
        ("agentgauge_scrape_duration_seconds_p99", ""),
    ],
)
def test_a_misspelling_is_told_from_a_metric_of_ones_own(metric, close):
    assert meant(metric) == close


@pytest.mark.parametrize("name", sorted(family.name for family in FAMILIES))
def test_no_family_is_taken_for_a_misspelling(name):
    assert meant(name) == ""


def test_a_limit_on_a_misspelt_metric_ends_start_with_the_name_that_is_meant(registry):
    misspelt = Threshold("agent_queue_depht", 100)
    message = r"^thresholds: there is no metric 'agent_queue_depht', so .*; did you mean 'agent_queue_depth'\?$"
    with pytest.raises(ConfigurationError, match=message):
        start(port=0, registry=registry, thresholds=[misspelt])
    SystemMetricsManager(collectors=(), registry=registry, thresholds=[misspelt]).close()  # it is free to look at anything


@pytest.mark.parametrize(
    ("limit", "shown", "severities"),
    [
        (Threshold("agent_queue_depth", 100, "critical"), "'agent_queue_depth', 100, 'critical', '>'", "warning"),
        (
            Threshold("python_event_loop_stall_seconds", 3, operator=">="),
            "'python_event_loop_stall_seconds', 3, 'warning', '>='",
            "warning or critical",
        ),
    ],
)
def test_a_limit_that_no_rule_obeys_though_they_know_its_metric_is_exported_and_logged_once(
    registry, caplog, limit, shown, severities
):
    thresholds = [*DEFAULT_THRESHOLDS, limit, Threshold("process_resident_memory_bytes", 1, "info", ">=")]
    with caplog.at_level(logging.WARNING, logger="agentgauge"):
        start(port=0, registry=registry, collectors=(), thresholds=thresholds)
        start(thresholds=thresholds)

    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"thresholds: no shipped rule obeys Threshold({shown}): they obey this metric's with severity {severities} and operator "
        "> only; the limit is exported for rules of your own"
    )
    labels = {"metric": limit.metric, "severity": limit.severity, "operator": limit.operator}
    assert registry.get_sample_value("agentgauge_threshold", labels) == limit.limit
