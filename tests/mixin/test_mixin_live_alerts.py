"""Faults that are planted in real agents fire the alerts whose runbooks name them, in a real Prometheus; good work fires none.

One run serves all tests. Minutes are seconds in it, and for the adaptive bands, which want six hours of history, tenths of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from expressions import RULES, load_rules, scaled_rules
from stack import Stack, _free_addresses

pytestmark = pytest.mark.servers

SCALE, ADAPTIVE_SCALE = 1 / 60, 1 / 600
HEALTHY_SECONDS = float(os.environ.get("AGENTGAUGE_HEALTHY_SECONDS", "75"))
PATIENCE_SECONDS = 150.0
TROUBLED, HEALTHY = "agentgauge", "healthy"
BROKEN = {"name": "agentgauge-broken", "rules": [{"record": "a:b:c", "expr": "up + on () group_left () up"}]}
EXPECTED = {
    "AgentgaugeTargetDown": TROUBLED,
    "AgentgaugeMetricsAbsent": TROUBLED,
    "AgentgaugeErrorRatioHigh": TROUBLED,
    "AgentgaugeTaskStuck": TROUBLED,
    "AgentgaugeCallsCancelled": TROUBLED,
    "AgentgaugeLoopSuspected": TROUBLED,
    "AgentgaugeHandoffFailing": TROUBLED,
    "AgentgaugeQueueGrowing": TROUBLED,
    "AgentgaugeLmErrorRatioHigh": TROUBLED,
    "AgentgaugeLmRateLimited": TROUBLED,
    "AgentgaugeLmFirstChunkSlow": TROUBLED,
    "AgentgaugeLmModelUnpriced": TROUBLED,
    "AgentgaugeLmOutputParseFailures": TROUBLED,
    "AgentgaugeBudgetExhaustedSoon": TROUBLED,
    "AgentgaugeToolErrorRatioHigh": TROUBLED,
    "AgentgaugeToolSlow": TROUBLED,
    "AgentgaugeErrorRatioUnusual": TROUBLED,
    "AgentgaugeSeriesCapped": TROUBLED,
    "AgentgaugeInternalErrors": TROUBLED,
    "AgentgaugeScrapeSlow": TROUBLED,
    "AgentgaugeInstrumentorFailing": TROUBLED,
    "AgentgaugeThresholdBreached": TROUBLED,
    "AgentgaugeRuleEvaluationFailing": "prometheus",
    "AgentgaugeNotificationsFailing": "alertmanager",
}


def _program(kind):
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("troubled.py"), kind],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _rules(folder):
    adaptive = RULES / "adaptive.yml"
    groups = [
        *scaled_rules(load_rules(adaptive), ADAPTIVE_SCALE)["groups"],
        *[
            group
            for path in sorted(RULES.glob("*.yml"))
            if path != adaptive
            for group in scaled_rules(load_rules(path), SCALE)["groups"]
        ],
        BROKEN,
    ]
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return path


def _alertmanager(folder, nobody):
    path = folder / "alertmanager.yml"
    waits = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "5s"}
    receiver = {"name": "gone", "webhook_configs": [{"url": f"http://{nobody}/"}]}
    path.write_text(yaml.safe_dump({"route": {"receiver": "gone", **waits}, "receivers": [receiver]}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Give the servers that scrape a troubled and a healthy program, themselves, and a program that is not there."""
    folder = tmp_path_factory.mktemp("live")
    [nobody] = _free_addresses(1)
    programs = [_program(kind) for kind in ("troubled", "healthy")]
    try:
        troubled, healthy = [urlsplit(program.stdout.readline().strip()).netloc for program in programs]
        servers = Stack([], folder, rules=[_rules(folder)], alertmanager_config=_alertmanager(folder, nobody))
        servers._config["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "500ms"}
        jobs = {
            TROUBLED: [troubled, nobody, servers.alertmanager_address],  # the last has no metrics of ours
            HEALTHY: [healthy],
            "prometheus": [servers.prometheus_address],
            "alertmanager": [servers.alertmanager_address],
        }
        servers._config["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
        ]
        with servers:
            servers.began = time.monotonic()
            yield servers
    finally:
        for program in programs:
            program.terminate()
            program.communicate(timeout=20)


def _fired(stack, matchers):
    selector = f'last_over_time(ALERTS{{alertstate="firing",{matchers}}}[1h])'
    return [series["metric"] for series in stack.query(selector)]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_fires_its_alert(stack, name):
    left = max(1.0, PATIENCE_SECONDS - (time.monotonic() - stack.began))
    matchers = f'alertname="{name}",job="{EXPECTED[name]}"'
    assert stack.wait_until(lambda: _fired(stack, matchers), timeout_seconds=left, what=name)


def test_agents_that_do_well_fire_nothing_but_the_watchdog(stack):
    # Scraped five times a second, seventy times as often as usual, it does spend more on that than on its little work.
    matchers = f'job="{HEALTHY}",alertname!="AgentgaugeOverheadHigh"'
    remaining = HEALTHY_SECONDS - (time.monotonic() - stack.began)
    if remaining > 0:
        with pytest.raises(TimeoutError):
            stack.wait_until(lambda: _fired(stack, matchers), timeout_seconds=remaining)
    assert _fired(stack, matchers) == []
    assert stack.query('sum(increase(agent_task_duration_seconds_count{job="healthy",outcome="success"}[1m])) > 100')
    assert stack.query('count(job_agent:agent_task_failures:ratio_rate5m_avg1d{job="healthy"}) > 0'), "it has no history yet"
    # Of what is about no job, what fires now: before the first scrape, which takes five seconds, all metrics were absent.
    about_no_job = stack.query('ALERTS{alertstate="firing",job=""}')
    assert [series["metric"]["alertname"] for series in about_no_job] == ["AgentgaugeWatchdog"]
