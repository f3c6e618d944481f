"""The loop closes through a real Prometheus and a real Alertmanager: a fault, its alert, the recovery, the alert's end.

One run serves all tests: one agent hangs and is restarted, another fails whatever is done about it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from recovery_world import wait_until

import agentgauge
from agentgauge import agent, task
from agentgauge.recovery import (
    AlertReceiver,
    AlertRoute,
    Backoff,
    Budget,
    Call,
    Recoveries,
    Recovery,
    RestartTask,
    read_audit,
)
from stack import Stack

pytestmark = pytest.mark.servers

TOKEN = "letmein-letmein"
RULES = {
    "groups": [
        {
            "name": "test",
            "rules": [
                {
                    "alert": "TaskStuck",
                    "expr": 'time() - agent_task_oldest_start_timestamp_seconds{gen_ai_agent_name="recovery-hanger"} > 2',
                    "labels": {"severity": "critical"},
                    "annotations": {"summary": "A task of {{ $labels.gen_ai_agent_name }} hangs."},
                },
                {
                    "alert": "ErrorRatioHigh",
                    "expr": (
                        "sum by (job, gen_ai_agent_name) (increase(agent_task_duration_seconds_count"
                        '{gen_ai_agent_name="recovery-failer",outcome="error"}[4s])) > 1'
                    ),
                    "labels": {"severity": "warning"},
                },
            ],
        }
    ]
}


@agent("recovery-hanger")
class Hanger:
    """Files one note after another, until one of them hangs."""

    def __init__(self):
        self.hangs = False
        self.filed = 0

    @task
    async def file(self):
        if self.hangs:
            self.hangs = False
            await asyncio.Event().wait()
        await asyncio.sleep(0.02)
        self.filed += 1

    async def work(self):
        while True:
            await self.file()


@agent("recovery-failer")
class Failer:
    """Fails for ever."""

    @task
    async def ask(self):
        raise ConnectionError

    async def work(self):
        while True:
            try:
                await self.ask()
            except ConnectionError:
                await asyncio.sleep(0.05)


@dataclass
class Run:
    stack: Stack
    hanger: Hanger
    recoveries: Recoveries
    url: str
    audit: Any
    escalated: list[Any]
    told: list[Any]
    broken_at: float = 0.0

    def results(self, component):
        return [result for result in self.recoveries.results if result.failure.component == component]

    def value(self, family, **labels):
        import urllib.request

        from prometheus_client.parser import text_string_to_metric_families

        with urllib.request.urlopen(self.url, timeout=60) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [sample for each in families for sample in each.samples if sample.name == family]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    hanger, failer = Hanger(), Failer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    working = RestartTask(hanger.work)
    failing = RestartTask(failer.work, name="restart_failer")

    async def begin():
        working.start()
        failing.start()

    asyncio.run_coroutine_threadsafe(begin(), loop).result()

    def is_filing():
        before = hanger.filed
        time.sleep(0.2)
        return hanger.filed > before

    escalated, told = [], []
    recoveries = Recoveries(
        [
            Recovery(component="recovery-hanger", actions=[working], check=is_filing, check_interval_seconds=0.1),
            Recovery(
                component="recovery-failer",
                conditions=["errors"],
                actions=[failing, Call("reset", lambda: None)],
                verify_seconds=0.5,
                budget=Budget(attempts=3),
                backoff=Backoff(first_seconds=0.1),
                escalate=escalated.append,
            ),
        ],
        audit=folder / "audit.jsonl",
        loop=loop,
    )
    recoveries.add_alert_handler(told.append)
    receiver = AlertReceiver(
        recoveries,
        bearer_token=TOKEN,
        mapping=[AlertRoute(component="recovery-failer", labels={"alertname": "ErrorRatioHigh"}, condition="errors")],
    )
    monitor = agentgauge.start(port=0, collectors=(), receivers=[receiver])
    rules, config = folder / "rules.json", folder / "alertmanager.json"
    rules.write_text(json.dumps(RULES))
    webhook = {
        "url": urljoin(monitor.url, receiver.path),
        "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials": TOKEN}},
    }
    route = {
        "receiver": "recovery",
        "group_by": ["alertname"],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1s",
    }
    config.write_text(json.dumps({"route": route, "receivers": [{"name": "recovery", "webhook_configs": [webhook]}]}))
    try:
        with Stack([urlsplit(monitor.url).netloc], folder, rules=[rules], alertmanager_config=config) as stack:
            made = Run(stack, hanger, recoveries, monitor.url, folder / "audit.jsonl", escalated, told)
            wait_until(is_filing)
            made.broken_at = time.time()
            hanger.hangs = True
            yield made
    finally:
        recoveries.close()
        agentgauge.stop()
        loop.call_soon_threadsafe(working.task.cancel)
        loop.call_soon_threadsafe(failing.task.cancel)
        loop.call_soon_threadsafe(loop.call_later, 0.1, loop.stop)
        thread.join()
        loop.close()


def test_an_agent_that_hangs_is_restarted_by_its_alert_and_the_alert_resolves(run):
    (result,) = wait_until(lambda: run.results("recovery-hanger"))
    assert result.kind == "recovered"
    assert [(each.action, each.outcome) for each in result.attempts] == [("restart_task", "recovered")]
    assert result.failure.signature == ("recovery-hanger", "TaskStuck", "")
    assert result.failure.summary == "A task of recovery-hanger hangs."
    before = run.hanger.filed
    wait_until(lambda: run.hanger.filed > before)
    assert run.value("agent_recovery_attempts_total", component="recovery-hanger", outcome="recovered") == 1
    wait_until(lambda: not run.stack.query('ALERTS{alertname="TaskStuck",alertstate="firing"}'))
    wait_until(lambda: run.value("agent_recovery_requests_total", result="resolved") >= 1)


def test_the_time_to_recover_is_measured_from_the_start_of_the_failure(run):
    (result,) = wait_until(lambda: run.results("recovery-hanger"))
    assert run.value("agent_recovery_time_to_recover_seconds_count", component="recovery-hanger") == 1
    seconds = run.value("agent_recovery_time_to_recover_seconds_sum", component="recovery-hanger")
    assert seconds == pytest.approx(result.seconds)
    assert 0 < seconds < time.time() - run.broken_at
    assert result.failure.started_at > run.broken_at


def test_a_recovery_that_does_not_help_stops_at_its_budget_and_escalates_once(run):
    (result,) = wait_until(lambda: run.results("recovery-failer"))
    assert (result.kind, result.reason, len(result.attempts)) == ("escalated", "budget", 3)
    assert {each.outcome for each in result.attempts} == {"not_recovered"}
    wait_until(lambda: run.told)
    before = run.value("agent_recovery_requests_total", result="duplicate")
    wait_until(lambda: run.value("agent_recovery_requests_total", result="duplicate") > before)  # Alertmanager repeats it
    assert run.escalated == [result]
    assert [(str(each.event), each.alert.condition) for each in run.told] == [("started", "budget")]
    assert len(run.results("recovery-failer")) == 1
    assert run.value("agent_recovery_escalations_total", component="recovery-failer", reason="budget") == 1
    assert run.value("agent_recovery_attempts_left", component="recovery-failer") == 0
    assert run.stack.query('ALERTS{alertname="ErrorRatioHigh",alertstate="firing"}')


def test_every_act_of_the_run_is_in_the_audit_log(run):
    wait_until(lambda: run.results("recovery-failer") and run.results("recovery-hanger"))
    trail = read_audit(run.audit)
    acts = [(each.component, each.action, each.outcome) for each in trail.entries if each.event == "outcome"]
    assert ("recovery-hanger", "restart_task", "recovered") in acts
    assert [each[2] for each in acts if each[0] == "recovery-failer"] == ["not_recovered"] * 3
    assert [each.reason[:7] for each in trail.entries if each.event == "escalation"] == ["budget:"]
    assert {each.source for each in trail.entries} == {"alertmanager"}
    assert trail.unfinished == ()
