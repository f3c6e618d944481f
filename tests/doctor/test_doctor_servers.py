"""What doctor says of a real Prometheus and a real Alertmanager, well and badly set up, and of what is neither."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

import agentgauge
from agentgauge.doctor import files
from agentgauge.errors import ConfigurationError
from expressions import read_yaml
from stack import Stack, _find, _free_addresses


def rules_of(path):
    return [rule for group in read_yaml(path.read_text())["groups"] for rule in group["rules"]]


SERVERS = ("scraped", "exemplar-storage", "rules-loaded", "alertmanager-known", "receivers", "watchdog")

RULES = Path(__file__).parents[2] / "alerts" / "rules"
SHIPPED = len({rule["alert"] for path in RULES.glob("*.yml") for rule in rules_of(path) if "alert" in rule})


@pytest.mark.servers
def test_servers_that_are_set_up_as_shipped_hold_every_item(serve, doctor, tmp_path):
    url = serve().url
    with Stack([url.split("/")[2]], tmp_path) as stack:
        arguments = ("--url", url, "--prometheus", stack.prometheus_url, "--alertmanager", stack.alertmanager_url)
        stack.wait_until(lambda: stack.query('up{job="agentgauge"} == 1'), what="a scrape")
        expected = dict.fromkeys(SERVERS, "ok") | {"receivers": "warn"}  # the shipped receivers are examples

        def examined_as_expected(*options):
            examined = doctor(*arguments, *options)
            return examined if {check: examined.status(check) for check in SERVERS} == expected else None

        # the watchdog takes a while to Alertmanager, and on a busy machine a scrape may come too late now and then
        examined = stack.wait_until(examined_as_expected, what=f"what doctor says: {expected}")
        assert examined["scraped"]["evidence"] == f'up{{job=~"agentgauge(-.+)?"}} = 1 for {url}'
        assert "exemplar-storage" in examined["exemplar-storage"]["evidence"]
        assert examined["rules-loaded"]["evidence"] == f"{SHIPPED} of {SHIPPED} alerts loaded"
        evidence = examined["receivers"]["evidence"]
        assert "operators" in evidence
        for address in ("127.0.0.1:9095", "smtp.example", "@example.com"):
            assert address in evidence
        assert "agentgauge.tmpl" in evidence  # Alertmanager tells where its templates are
        production = stack.wait_until(lambda: examined_as_expected("--production"), what="the same of the checklist")
        assert production.document["score"]["categories"]["alerting"]["not_shown"] == 0
        assert doctor(*arguments[:4]).status("watchdog") == "ok"  # by Prometheus' own word
        agentgauge.stop()
        stack.wait_until(lambda: stack.query('up{job="agentgauge"} == 0'), what="a scrape that fails")
        down = doctor("--prometheus", stack.prometheus_url)["scraped"]
        assert (down["status"], down["title"]) == ("fail", "A target of the job agentgauge is not up")
        assert url in down["evidence"]


@pytest.fixture
def bare_prometheus(tmp_path):
    """Start a Prometheus that was told nothing."""
    (address,) = _free_addresses(1)
    (tmp_path / "bare.yml").write_text("{}")
    command = [
        _find("prometheus"),
        f"--config.file={tmp_path / 'bare.yml'}",
        f"--storage.tsdb.path={tmp_path / 'bare'}",
        f"--web.listen-address={address}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if "Server is ready to receive web requests" in line:
                break
        with urlopen(f"http://{address}/-/ready", timeout=10) as ready:
            assert ready.status == 200
        yield f"http://{address}"
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.servers
def test_a_prometheus_that_was_told_nothing_holds_no_item(doctor, bare_prometheus):
    examined = doctor("--prometheus", bare_prometheus)
    assert {check: examined.status(check) for check in SERVERS if check != "receivers"} == {
        "scraped": "fail",
        "exemplar-storage": "warn",
        "rules-loaded": "fail",
        "alertmanager-known": "fail",
        "watchdog": "fail",
    }
    assert examined["rules-loaded"]["evidence"].startswith(f"0 of {SHIPPED} alerts loaded; not Agentgauge")
    assert examined.code == 1


def test_servers_that_were_not_named_are_not_asked_and_unknown_in_the_checklist(doctor):
    assert not {"scraped", "receivers"} & {finding["check"] for finding in doctor().document["findings"]}
    examined = doctor("--production")
    unnamed = [examined[check] for check in ("scraped", "exemplar-storage", "rules-loaded", "alertmanager-known", "watchdog")]
    assert {(finding["status"], finding["fix"]) for finding in unnamed} == {
        ("unknown", "Name it with --prometheus http://HOST:PORT.")
    }


@pytest.mark.parametrize(
    ("job", "status"), [("agentgauge", "ok"), ("agentgauge-billing", "ok"), ("agentgauged", "fail"), ("agentgauge-", "fail")]
)
def test_a_job_that_promises_the_metrics_by_its_name_is_scraped(doctor, answering, job, status):
    target = {"labels": {"job": job}, "scrapeUrl": "http://a:1/metrics", "health": "up", "lastError": ""}
    body = json.dumps({"status": "success", "data": {"activeTargets": [target]}}).encode()
    url = answering(lambda _path, _headers: (200, {"Content-Type": "application/json"}, body))
    assert doctor("--prometheus", url).status("scraped") == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"no JSON"),
        (200, b"[" * 100_000),
        (200, b"9" * 5_000),
        (200, b'{"status": "success", "data": {"groups": 3, "activeTargets": [{}], "activeAlertmanagers": [1], "alerts": {}}}'),
        (404, b""),
        (500, b"{}"),
    ],
)
def test_what_is_neither_prometheus_nor_alertmanager_fails_without_a_traceback(doctor, answering, status, body):
    url = answering(lambda _path, _headers: (status, {"Content-Type": "application/json"}, body))
    examined = doctor("--prometheus", url, "--alertmanager", url)
    assert examined.code == 1
    failed = {check for check in SERVERS if examined.status(check) in ("fail", "warn")}
    assert failed == set(SERVERS)
    assert all(examined[check]["fix"] for check in SERVERS)


def test_a_server_that_is_not_there_fails_with_its_option(doctor):
    examined = doctor("--prometheus", "http://127.0.0.1:1")
    assert examined.code == 1
    assert examined["scraped"]["evidence"] == "Prometheus at http://127.0.0.1:1: nothing listens there"
    assert examined["scraped"]["fix"] == "Is --prometheus the address of Prometheus, and does it run?"


def prometheus(**answers):
    """Answer as Prometheus does: ``targets``, ``rules`` and so on, by the last part of the path."""

    def answer(path, _headers):
        data = answers.get(path.partition("?")[0].rpartition("/")[2], {})
        return 200, {"Content-Type": "application/json"}, json.dumps({"status": "success", "data": data}).encode()

    return answer


def test_a_target_that_was_not_scraped_yet_is_no_failure(serve, doctor, answering):
    url = serve().url
    target = {"labels": {"job": "agentgauge"}, "health": "unknown", "lastError": "", "scrapeUrl": url}
    finding = doctor("--url", url, "--prometheus", answering(prometheus(targets={"activeTargets": [target]})))["scraped"]
    assert (finding["status"], finding["evidence"]) == ("unknown", url)
    assert finding["fix"] == "Look again after one scrape_interval."
    broken = {**target, "health": "down", "lastError": "connection refused"}
    finding = doctor("--url", url, "--prometheus", answering(prometheus(targets={"activeTargets": [target, broken]})))["scraped"]
    assert (finding["status"], finding["evidence"]) == ("fail", f"{url}: connection refused")


def test_a_prometheus_that_scrapes_another_port_is_warned_of(serve, doctor, answering):
    target = {"labels": {"job": "agentgauge"}, "scrapeUrl": "http://127.0.0.1:1/metrics", "health": "up", "lastError": ""}
    url = answering(prometheus(targets={"activeTargets": [target]}))
    finding = doctor("--url", serve().url, "--prometheus", url)["scraped"]
    assert finding["status"] == "warn"
    assert finding["title"].startswith("No target has the port of http://127.0.0.1:")


def test_a_rule_that_fails_when_it_is_evaluated_fails(doctor, answering, tmp_path):
    (tmp_path / "rules.yml").write_text("groups: [{rules: [{\nalert: AgentgaugeOne\n}]}]")
    rule = {"name": "AgentgaugeOne", "type": "alerting", "health": "err", "lastError": "many-to-many matching not allowed"}
    url = answering(prometheus(rules={"groups": [{"name": "agentgauge-tasks", "rules": [rule]}]}))
    finding = doctor("--prometheus", url, "--rules", tmp_path)["rules-loaded"]
    assert finding["status"] == "fail"
    assert finding["evidence"] == "AgentgaugeOne: many-to-many matching not allowed"


def loaded(*paths):
    """Say what Prometheus says where these rule files are loaded."""
    rules = [
        {"name": rule["alert"], "type": "alerting", "health": "ok"}
        for path in paths
        for rule in rules_of(path)
        if "alert" in rule
    ]
    return prometheus(rules={"groups": [{"name": "agentgauge-self", "rules": rules}]})


def test_where_no_rule_files_lie_the_shipped_ones_tell_what_is_missing(doctor, answering, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_SOURCES", tmp_path)
    some = len({rule["alert"] for rule in rules_of(RULES / "self.yml") if "alert" in rule})
    finding = doctor("--prometheus", answering(loaded(RULES / "self.yml")))["rules-loaded"]
    assert finding["status"] == "fail"
    assert finding["evidence"].startswith(f"{some} of {SHIPPED} alerts loaded; not Agentgauge")
    assert "agentgauge export DIR" in finding["fix"]
    finding = doctor("--prometheus", answering(loaded(*RULES.glob("*.yml"))))["rules-loaded"]
    assert (finding["status"], finding["evidence"]) == ("ok", f"{SHIPPED} of {SHIPPED} alerts loaded")


def test_without_any_rule_files_whether_all_rules_are_loaded_is_unknown(doctor, answering, tmp_path, monkeypatch):
    def nothing():
        raise ConfigurationError("this installation is not whole")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_SOURCES", tmp_path)
    monkeypatch.setattr(files, "shipped_files", nothing)
    some = len({rule["alert"] for rule in rules_of(RULES / "self.yml") if "alert" in rule})
    finding = doctor("--prometheus", answering(loaded(RULES / "self.yml")))["rules-loaded"]
    assert (finding["status"], finding["fix"]) == ("unknown", "Name the directory of the rule files with --rules.")
    assert finding["evidence"] == f"{some} alerts of agentgauge loaded, and no rule files here"


def test_who_asks_for_the_watchdog_right_after_a_start_is_told_to_wait(doctor, answering):
    url = answering(lambda _path, _headers: (200, {"Content-Type": "application/json"}, b"[]"))
    finding = doctor("--alertmanager", url)["watchdog"]
    assert (finding["status"], finding["evidence"]) == (
        "fail",
        "AgentgaugeWatchdog is not among the alerts in Alertmanager (0 alerts)",
    )
    assert finding["fix"].startswith("Wait a minute where Prometheus or Alertmanager has just started")
    one = b'[{"labels": {"alertname": "AgentgaugeWatchdog"}}]'
    url = answering(lambda _path, _headers: (200, {"Content-Type": "application/json"}, one))
    assert doctor("--alertmanager", url)["watchdog"]["evidence"] == "AgentgaugeWatchdog fires in Alertmanager (1 alert)"
