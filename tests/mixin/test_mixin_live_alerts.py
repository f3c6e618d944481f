"""Faults that are planted in real agents fire the alerts whose runbooks name them, in a real Prometheus.

One run serves all tests. Minutes are seconds in it, and for the adaptive bands, which want six hours of history, tenths of them.
"""

from __future__ import annotations

import time

import pytest
import yaml

from expressions import RULES, load_rules, scaled_rules
from programs import running
from stack import Stack, _free_addresses

pytestmark = pytest.mark.servers

SCALE, ADAPTIVE_SCALE = 1 / 60, 1 / 600
PATIENCE_SECONDS = 240.0
TROUBLED, OFTEN = "agentgauge", "agentgauge-often"
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
    "AgentgaugeErrorBudgetBurnFast": TROUBLED,
    "AgentgaugeHostMemoryHigh": TROUBLED,
    "AgentgaugeContainerMemoryHigh": TROUBLED,
    "AgentgaugeDescriptorsHigh": TROUBLED,
    "AgentgaugeErrorRatioUnusual": OFTEN,
    "AgentgaugeSeriesCapped": TROUBLED,
    "AgentgaugeInternalErrors": TROUBLED,
    "AgentgaugeScrapeSlow": TROUBLED,
    "AgentgaugeInstrumentorFailing": TROUBLED,
    "AgentgaugeThresholdBreached": TROUBLED,
    "AgentgaugeComponentDown": TROUBLED,
    "AgentgaugeComponentDegraded": TROUBLED,
    "AgentgaugeComponentFlapping": TROUBLED,
    "AgentgaugeHealthChecksStale": TROUBLED,
    "AgentgaugeCircuitBreakerOpen": TROUBLED,
    "AgentgaugeRecoveryEscalated": TROUBLED,
    "AgentgaugeRecoveryFlapping": TROUBLED,
    "AgentgaugeRequestsShed": TROUBLED,
    "AgentgaugeAlertHandlersFailing": TROUBLED,
    "AgentgaugeCriticalUnresolved": TROUBLED,
    "AgentgaugeAnomalyDetected": TROUBLED,
    "AgentgaugeAnalysisStale": TROUBLED,
    "AgentgaugeHistoryNotWritten": TROUBLED,
    "AgentgaugeRuleEvaluationFailing": "prometheus",
    "AgentgaugeNotificationsFailing": "alertmanager",
}


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
    """Give the servers that scrape a troubled program, themselves, and a program that is not there."""
    folder = tmp_path_factory.mktemp("live")
    [nobody] = _free_addresses(1)
    with running("troubled", folder) as program:
        servers = Stack([], folder, rules=[_rules(folder)], alertmanager_config=_alertmanager(folder, nobody))
        servers._config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
        jobs = {
            TROUBLED: [program.address, nobody, servers.alertmanager_address],  # the last has no metrics of ours
            OFTEN: [program.address],
            "prometheus": [servers.prometheus_address],
            "alertmanager": [servers.alertmanager_address],
        }
        servers._config["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
        ]
        for scraped in servers._config["scrape_configs"]:
            if scraped["job_name"] == OFTEN:  # what is five minutes for the bands is half a second here
                scraped |= {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
        with servers:
            servers.program, servers.began = program, time.monotonic()
            yield servers


@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_fires_its_alert(stack, name):
    def fired():
        stack.program.check()
        return stack.query(f'last_over_time(ALERTS{{alertstate="firing",alertname="{name}",job="{EXPECTED[name]}"}}[1h])')

    left = max(1.0, PATIENCE_SECONDS - (time.monotonic() - stack.began))
    assert stack.wait_until(fired, timeout_seconds=left, what=name)
