from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stack import ServersMissingError, Stack

pytestmark = pytest.mark.servers

ALERTMANAGER = """
route: {receiver: pager, group_wait: 0s, group_interval: 1s}
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:9/nobody"}]}]
"""
RULES = """
groups: [{name: test, rules: [{alert: TargetDown, expr: "up == 0"}]}]
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def page():
    """The address of a target that exports one series, and the bodies that were posted to it."""
    posted = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"answer 42\n")

        def do_POST(self):
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER)
    (tmp_path / "rules.yml").write_text(RULES)
    return tmp_path


def test_the_stack_scrapes_evaluates_alerts_and_leaves_nothing_behind(page, files):
    address, posted = page
    before = set(files.iterdir())
    started = time.time()
    with Stack(
        [address, "127.0.0.1:9"],
        files,
        rules=[files / "rules.yml"],
        alertmanager_config=files / "alertmanager.yml",
        webhook_url=f"http://{address}/hook",
        job="tested",
        labels={"team": "red"},
    ) as stack:
        pids = stack.pids
        assert len(pids) == 2
        [series] = stack.wait_until(lambda: stack.query('answer{job="tested", team="red"}'), what="a scrape")
        assert series["value"][1] == "42"
        [series] = stack.wait_until(lambda: stack.query_range("answer", started, time.time()), what="a step after the scrape")
        assert {value for _, value in series["values"]} == {"42"}
        assert stack.exemplars("answer", started, time.time()) == []
        stack.wait_until(lambda: any("TargetDown" in body for body in posted), what="the alert at the webhook")
        assert [alert["labels"]["instance"] for alert in stack.alerts()] == ["127.0.0.1:9"]
        with pytest.raises(ValueError, match="parse error"):
            stack.query("sum(")
    assert not any(map(is_alive, pids))
    assert set(files.iterdir()) == before


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_behind(files):
    (files / "alertmanager.yml").write_text("route: {}\nreceivers: []\n")
    before = set(files.iterdir())
    stack = Stack([], files, rules=[], alertmanager_config=files / "alertmanager.yml")
    with pytest.raises(RuntimeError, match="must specify a default receiver"):
        stack.start()
    assert stack.pids == []
    assert set(files.iterdir()) == before


def test_the_shipped_rules_and_receivers_load(tmp_path):
    with Stack([], tmp_path) as stack:
        stack.wait_until(
            lambda: "AgentgaugeWatchdog" in {alert["labels"]["alertname"] for alert in stack.alerts()}, what="the watchdog"
        )


def test_waiting_in_vain_tells_what_for(files):
    stack = Stack([], files, rules=[], alertmanager_config=files / "alertmanager.yml")
    with pytest.raises(TimeoutError, match=r"the moon did not come true in 0.01 s; the last value was \[\]"):
        stack.wait_until(list, timeout_seconds=0.01, what="the moon")


def test_a_missing_server_is_named_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServersMissingError, match="apt-get install prometheus prometheus-alertmanager"):
        Stack([])
