"""Alertmanager takes the shipped configuration, sends alerts to the right receiver, and mutes what another alert explains."""

import json
import subprocess
import time
import urllib.request

import pytest

from expressions import ALERTMANAGER
from stack import Stack

pytestmark = pytest.mark.servers


def _amtool(*arguments):
    result = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_alertmanager_accepts_its_configuration():
    _amtool("check-config", str(ALERTMANAGER))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=AgentgaugeWatchdog", "severity=info"], "dead-man"),
        (["alertname=AgentgaugeTaskStuck", "severity=warning"], "operators"),
        (["alertname=AnAlertOfSomebodyElse"], "operators"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels, receiver):
    _amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels)


@pytest.fixture(scope="module")
def alertmanager():
    with Stack([], rules=[]) as stack:
        yield f"{stack.alertmanager_url}/api/v2/alerts"


def _muted(url, alerts, expected):
    """Send alerts; return which are muted, by the label ``is``, as soon as it is those, or when time is up."""
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()
    names = {labels["is"] for labels in alerts}
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(url, timeout=5) as response:
            states = {alert["labels"]["is"]: alert["status"]["state"] for alert in json.load(response)}
        muted = {name for name in names if states.get(name) == "suppressed"}
        is_settled = all(states.get(name) in {"active", "suppressed"} for name in names)
        if (is_settled and muted == expected) or time.monotonic() > deadline:
            return muted
        time.sleep(0.05)


def test_what_is_critical_mutes_the_warning_about_the_same_thing_only(alertmanager):
    high = {"alertname": "AgentgaugeErrorRatioHigh", "job": "mute", "gen_ai_agent_name": "r", "agent_task": "t"}
    disk = {"alertname": "AgentgaugeHostDiskFull", "job": "mute", "instance": "a:1"}
    expected = {"muted", "muted disk"}
    muted = _muted(
        alertmanager,
        [
            high | {"severity": "critical", "is": "critical"},
            high | {"severity": "warning", "is": "muted"},
            high | {"severity": "warning", "agent_task": "u", "is": "of another task"},
            disk | {"severity": "critical", "system_filesystem_mountpoint": "/", "is": "critical disk"},
            disk | {"severity": "warning", "system_filesystem_mountpoint": "/", "is": "muted disk"},
            disk | {"severity": "warning", "system_filesystem_mountpoint": "/data", "is": "another disk"},
        ],
        expected,
    )
    assert muted == expected


def test_a_target_that_is_down_mutes_what_is_said_about_it_and_the_absence_of_all_metrics(alertmanager):
    expected = {"muted", "muted absence"}
    muted = _muted(
        alertmanager,
        [
            {"alertname": "AgentgaugeTargetDown", "job": "down", "instance": "a:1", "severity": "critical", "is": "down"},
            {"alertname": "AgentgaugeTaskStuck", "job": "down", "instance": "a:1", "severity": "warning", "is": "muted"},
            {"alertname": "AgentgaugeMetricsAbsent", "severity": "critical", "is": "muted absence"},
            {"alertname": "AgentgaugeTaskStuck", "job": "down", "instance": "a:2", "severity": "warning", "is": "elsewhere"},
            {
                "alertname": "AgentgaugeMetricsAbsent",
                "job": "x",
                "instance": "x:1",
                "severity": "critical",
                "is": "elsewhere too",
            },
            {"alertname": "AgentgaugeErrorRatioHigh", "job": "down", "severity": "warning", "is": "about all instances"},
        ],
        expected,
    )
    assert muted == expected
