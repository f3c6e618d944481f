"""The readiness checklist: each item has a state in which it holds and one in which it does not, and the score adds them up."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import textwrap
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

import agentgauge
from agentgauge import Objective, cli, task, track
from agentgauge.doctor import files
from agentgauge.errors import contain_internal_errors
from agentgauge.exposition import asgi_app
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.targets import DEFAULT_THRESHOLDS, Threshold

ROOT = Path(__file__).parents[2]
RECEIVERS = """
route:
  receiver: pager
receivers:
  - name: pager
    webhook_configs:
      - url: https://pager.example/alerts
time_intervals:
  - name: nights
"""
CATEGORIES = ("core", "performance", "reliability", "observability", "alerting")


@task("watched", objective=Objective(success_ratio=0.99))
def watched():
    pass


@task("unwatched")
def unwatched():
    pass


@pytest.fixture
def check_files(doctor, answering, tmp_path):
    """Give a function that lets doctor look at files alone, of a program that is not there."""
    url = answering(lambda _path, _headers: (404, {}, b""))
    return lambda *arguments: doctor("--url", f"{url}/metrics", "--production", *arguments)


@contextmanager
def serving(app):
    """Serve an ASGI app by uvicorn on a free port; give its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    bound = server.config.bind_socket()
    bound.listen()  # who asks before it serves waits
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


def test_a_healthy_program_holds_every_item_that_can_be_checked(visit, tmp_path):
    (tmp_path / "alertmanager.yml").write_text(RECEIVERS)
    watched()
    examined = visit("--production", "--alertmanager-config", tmp_path / "alertmanager.yml", service_name="swarm")
    wrong = [each for each in examined.document["findings"] if each["status"] in ("warn", "fail")]
    assert wrong == []
    assert examined.code == 0
    shown = {each["check"] for each in examined.document["findings"] if each["status"] == "ok"}
    assert {"answers", "ready", "objectives", "overhead", "drain", "label-growth", "internal-errors", "protected"} <= shown
    assert {"processes", "service", "dashboards", "thresholds", "rule-files", "receivers"} <= shown
    unknown = {each["check"] for each in examined.document["findings"] if each["status"] == "unknown"}
    assert unknown == {
        "instrumentors",
        "exemplars",
        "price-coverage",
        "scraped",
        "exemplar-storage",
        "rules-loaded",
        "alertmanager-known",
        "watchdog",
    }


def test_the_score_counts_what_holds_of_what_could_be_checked(visit):
    watched()
    before = visit("--production").document
    with contain_internal_errors("price"):
        raise RuntimeError
    after = visit("--production").document
    for document in (before, after):
        score = document["score"]
        assert tuple(score["categories"]) == CATEGORIES
        for category, one in score["categories"].items():
            statuses = [each["status"] for each in document["findings"] if each["section"] == category]
            assert one["held"] == statuses.count("ok")
            assert one["not_shown"] == statuses.count("unknown")
            assert one["checked"] == len(statuses) - one["not_shown"]
        for key in ("held", "checked", "not_shown"):
            assert score[key] == sum(one[key] for one in score["categories"].values())
        assert score["percent"] == round(100 * score["held"] / score["checked"], 1)
    assert after["score"]["held"] == before["score"]["held"] - 1
    assert before["score"]["categories"]["reliability"]["percent"] == 100
    assert after["score"]["categories"]["reliability"]["percent"] == 85.7  # 6 of 7
    assert (before["exit_code"], after["exit_code"]) == (0, 1)


def test_the_text_heads_each_category_with_its_score(serve, doctor):
    watched()
    lines = doctor("--url", serve().url, "--production", is_text=True).out.splitlines()
    assert "performance: 4 of 4 hold (100 %)" in lines
    assert [line.partition(":")[0] for line in lines if line.partition(":")[0] in CATEGORIES] == list(CATEGORIES)
    assert lines[-1].startswith("score: ")


def test_a_program_that_does_not_answer_fails_once_and_what_it_would_show_is_not_counted(doctor):
    examined = doctor("--production", "--url", "http://127.0.0.1:1/metrics")
    failed = [each["check"] for each in examined.document["findings"] if each["status"] == "fail"]
    assert failed == ["answers"]
    assert examined.code == 1
    assert examined.document["score"]["categories"]["performance"] == {"held": 0, "checked": 0, "not_shown": 4, "percent": None}
    assert (
        "nothing could be checked, 4 not shown" in doctor("--production", "--url", "http://127.0.0.1:1/metrics", is_text=True).out
    )


# --- core -----------------------------------------------------------------------------------------------------------------------


def test_tasks_that_ran_need_an_objective_each(serve, doctor):
    url = serve().url
    assert doctor("--url", url, "--production").status("objectives") == "unknown"
    unwatched()
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("fail", "0 of 1 tasks that can have an objective have one; not unwatched")
    watched()
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("warn", "1 of 2 tasks that can have an objective have one; not unwatched")
    with track("", "unwatched", objective=Objective(latency_seconds=3)):
        pass
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("ok", "2 of 2 tasks that can have an objective have one")


def test_a_program_that_is_not_ready_fails(doctor, answering):
    page = b"# TYPE up gauge\nup 1\n"
    url = answering(lambda path, _headers: (503 if path == "/readyz" else 200, {"Content-Type": "text/plain"}, page))
    finding = doctor("--url", f"{url}/metrics", "--production")["ready"]
    assert (finding["status"], finding["evidence"]) == ("fail", "/readyz answers 503")


def test_a_page_that_a_web_framework_has_mounted_is_ready_by_the_probe_beneath_it(doctor, fresh):
    app = FastAPI()
    app.mount("/metrics", asgi_app(fresh.registry))
    with serving(app) as url:
        finding = doctor("--url", f"{url}/metrics")["answers"]
        assert finding["evidence"] == f"{url}/metrics: it answers with status 307: the page is at {url}/metrics/"
        assert finding["fix"] == f"Ask there: --url {url}/metrics/"
        examined = doctor("--url", f"{url}/metrics/", "--production")
        assert (examined.status("answers"), examined.status("ready")) == ("ok", "ok")


@pytest.mark.parametrize(
    ("path", "probe", "status"),
    [
        ("/metrics", "/readyz", "ok"),
        ("/metrics", "/metrics/readyz", "ok"),
        ("/metrics/", "/metrics/readyz", "ok"),
        ("/metrics/", "/readyz", "ok"),
        ("/metrics?name[]=up", "/readyz", "ok"),
        ("/metrics", "/elsewhere", "fail"),
    ],
)
def test_the_probe_is_beside_the_page_or_beneath_it(doctor, answering, path, probe, status):
    def answer(asked, _headers):
        page = asked.partition("?")[0] in (path.partition("?")[0], probe)
        return (200 if page else 404), {"Content-Type": "text/plain"}, b"# TYPE up gauge\nup 1\n"

    assert doctor("--url", f"{answering(answer)}{path}", "--production").status("ready") == status


# --- performance and reliability ------------------------------------------------------------------------------------------------


def test_a_buffer_that_was_full_is_warned_of(visit, fresh):
    fresh.recorder.high_water = 65_536
    finding = visit("--production")["drain"]
    assert finding["status"] == "warn"
    assert finding["evidence"] == "agentgauge_buffer_high_water_records = 65536 of 65536"


def test_an_address_that_others_reach_needs_a_token(serve, doctor, tmp_path):
    (tmp_path / "token").write_text("t0ken")
    open_url = serve().url.replace("127.0.0.1", "0.0.0.0")  # reaches this machine, and says no loopback address
    finding = doctor("--url", open_url, "--production")["protected"]
    assert (finding["status"], finding["evidence"]) == ("fail", f"{open_url} answers without a token")


def test_a_token_that_travels_unencrypted_is_warned_of(serve, doctor, tmp_path):
    (tmp_path / "token").write_text("t0ken")
    url = serve(bearer_token="t0ken").url.replace("127.0.0.1", "0.0.0.0")
    finding = doctor("--url", url, "--production", "--token-file", tmp_path / "token")["protected"]
    assert (finding["status"], finding["title"]) == ("warn", "The token of /metrics travels unencrypted")


def test_a_page_beside_which_nothing_tells_of_readiness_is_unknown(doctor, answering):
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, b"# TYPE up gauge\nup 1\n"))
    examined = doctor("--url", f"{url}/stats?format=prometheus", "--production")
    assert (examined.status("answers"), examined.status("ready")) == ("fail", "unknown")


def test_loopback_needs_no_token(visit):
    assert visit("--production").status("protected") == "ok"


# --- observability --------------------------------------------------------------------------------------------------------------


def test_a_service_has_a_name(serve, doctor):
    assert doctor("--url", serve().url, "--production").status("service") == "warn"


def test_a_service_that_is_named_is_quoted(visit):
    finding = visit("--production", service_name="swarm")["service"]
    assert (finding["status"], finding["evidence"]) == ("ok", 'target_info{service_name="swarm"}')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": ""}, "no dashboard"),
        ({"panels": []}, "no dashboard"),
        ({"uid": None}, "no uid"),
        ({"__inputs": [{"name": "DS_PROMETHEUS"}]}, "has inputs"),
        ({"description": "${DS_PROMETHEUS}"}, "has inputs"),
    ],
)
def test_a_dashboard_that_grafana_could_not_import_fails(check_files, tmp_path, change, said):
    folder = tmp_path / "dashboards"
    folder.mkdir()
    dashboard = json.loads((ROOT / "dashboards" / "agents.json").read_text())
    (folder / "agents.json").write_text(json.dumps(dashboard))
    assert check_files("--dashboards", folder).status("dashboards") == "ok"
    (folder / "agents.json").write_text(json.dumps({**dashboard, **change}))
    finding = check_files("--dashboards", folder)["dashboards"]
    assert finding["status"] == "fail"
    assert finding["evidence"].startswith("agents.json: ")
    assert said in finding["evidence"]


def test_a_dashboard_that_is_cut_short_or_missing_fails(check_files, tmp_path):
    assert check_files("--dashboards", tmp_path).status("dashboards") == "fail"
    (tmp_path / "agents.json").write_text('{"title": "Agents')
    assert check_files("--dashboards", tmp_path)["dashboards"]["evidence"] == "agents.json: no JSON"
    (tmp_path / "agents.json").write_text("[" * 100_000)
    assert check_files("--dashboards", tmp_path)["dashboards"]["evidence"] == "agents.json: no JSON"


# --- alerting -------------------------------------------------------------------------------------------------------------------


def test_thresholds_are_counted_and_their_absence_fails(serve, doctor):
    finding = doctor("--url", serve(thresholds=()).url, "--production")["thresholds"]
    assert (finding["status"], finding["evidence"]) == ("fail", "no agentgauge_threshold series")


def test_default_thresholds_are_quoted(visit):
    finding = visit("--production")["thresholds"]
    assert finding["status"] == "ok"
    assert finding["evidence"].startswith("6 agentgauge_threshold series: system_cpu_utilization_ratio > 0.9, ")


def test_limits_that_were_removed_by_giving_one_are_warned_of(serve, doctor):
    url = serve(thresholds=[Threshold("system_memory_utilization_ratio", 0.95)]).url
    finding = doctor("--url", url, "--production")["thresholds"]
    assert finding["status"] == "warn"
    assert finding["evidence"] == (
        "1 agentgauge_threshold series: system_memory_utilization_ratio > 0.95; not system_cpu_utilization_ratio (warning), "
        "system_cpu_utilization_ratio (critical), system_memory_utilization_ratio (critical), "
        "system_filesystem_utilization_ratio (warning), system_filesystem_utilization_ratio (critical)"
    )
    assert "thresholds=(*DEFAULT_THRESHOLDS, ...)" in finding["fix"]


def test_limits_that_no_shipped_rule_obeys_are_named(serve, doctor):
    others = (Threshold("agent_queue_depth", 100, "critical"), Threshold("process_open_fds", 5), Threshold("orders_lost", 1))
    finding = doctor("--url", serve(thresholds=(*DEFAULT_THRESHOLDS, *others)).url, "--production")["thresholds"]
    assert (finding["status"], finding["title"]) == ("warn", "Limits are exported that no shipped rule obeys")
    assert finding["evidence"].endswith(
        "; for rules of your own alone: orders_lost > (warning); obeyed by no shipped rule: agent_queue_depth (critical, >; "
        "obeyed with severity warning and operator > only)"
    )


def test_limits_for_rules_of_ones_own_are_well(serve, doctor):
    url = serve(thresholds=(*DEFAULT_THRESHOLDS, Threshold("agent_queue_depth", 100), Threshold("orders_lost", 1))).url
    finding = doctor("--url", url, "--production")["thresholds"]
    assert finding["status"] == "ok"
    assert finding["evidence"].endswith("; for rules of your own alone: orders_lost > (warning)")


def test_a_limit_that_a_manager_obeys_is_well_and_a_misspelt_one_is_not(serve, doctor, fresh):
    url = serve(thresholds=DEFAULT_THRESHOLDS).url
    limits = [Threshold("agent_queue_depth", 100, "critical"), Threshold("agent_queue_depht", 100)]
    manager = SystemMetricsManager(collectors=(), thresholds=limits, registry=fresh.registry)
    manager.add_collector("queue", type("Queue", (), {"collect": lambda _self: {"agent_queue_depth": 3}})())
    asyncio.run(manager.start_collection())
    try:
        finding = doctor("--url", url, "--production")["thresholds"]
    finally:
        manager.close()
    assert finding["status"] == "warn"
    assert finding["evidence"].endswith("; obeyed by no shipped rule: agent_queue_depht (no such metric; agent_queue_depth?)")


@pytest.mark.parametrize("name", ["HostCpuHigh", "HostDiskFull", "HostMemoryHigh"])
def test_who_raises_a_limit_as_its_runbook_says_keeps_the_others(doctor, fresh, name):
    runbook = (ROOT / "docs" / "runbooks" / f"Agentgauge{name}.md").read_text()
    code = textwrap.dedent(re.search(r"```python\n(.*?)```", runbook, re.DOTALL)[1])
    ending = code.replace("agentgauge.start(", "start(registry=registry, port=0, instrumentors=(), ")
    assert ending != code
    try:
        exec(ending, {"start": agentgauge.start, "registry": fresh.registry})
        thresholds = doctor("--url", agentgauge.start().url, "--production")["thresholds"]
    finally:
        agentgauge.stop()
    assert (thresholds["status"], thresholds["evidence"][:30]) == ("ok", "6 agentgauge_threshold series:")


@pytest.mark.servers
def test_rules_that_promtool_refuses_fail_with_its_words(check_files, tmp_path):
    shutil.copytree(ROOT / "alerts" / "rules", tmp_path, dirs_exist_ok=True)
    assert check_files("--rules", tmp_path).status("rule-files") == "ok"
    (path,) = (path for path in tmp_path.glob("*.yml") if "expr: vector(1)" in path.read_text())
    path.write_text(path.read_text().replace("expr: vector(1)", "expr: vector(1"))
    finding = check_files("--rules", tmp_path)["rule-files"]
    assert finding["status"] == "fail"
    assert "unclosed left parenthesis" in finding["evidence"]


def test_rules_are_counted_where_promtool_is_missing(check_files, tmp_path, monkeypatch):
    shutil.copy(ROOT / "alerts" / "rules" / "agents.yml", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = check_files("--rules", tmp_path)["rule-files"]
    assert finding["status"] == "ok"
    assert finding["evidence"].endswith(f" alerts in 1 file of {tmp_path}; promtool is not on PATH to check them")


def test_a_directory_without_alerts_fails(check_files, tmp_path):
    finding = check_files("--rules", tmp_path)["rule-files"]
    assert (finding["status"], finding["title"]) == ("fail", "The directory of rules has no alert")


@pytest.mark.parametrize(
    ("configuration", "status"),
    [
        (RECEIVERS, "ok"),
        (RECEIVERS.replace("https://pager.example", "http://127.0.0.1:9095"), "warn"),
        ("route:\n  receiver: nobody\nreceivers:\n  - name: nobody\ntemplates_configs: []\n", "fail"),
        ("", "fail"),
    ],
)
def test_alerts_must_reach_somebody(check_files, tmp_path, configuration, status):
    (tmp_path / "alertmanager.yml").write_text(configuration)
    finding = check_files("--alertmanager-config", tmp_path / "alertmanager.yml")["receivers"]
    assert finding["status"] == status
    assert status == "fail" or "1 receiver: pager" in finding["evidence"]


@pytest.mark.parametrize("left", ["127.0.0.1:9095", "smtp.example", "@example.com", "grafana.example"])
def test_every_address_of_the_example_must_go(check_files, tmp_path, left):
    shutil.copytree(ROOT / "alerts" / "templates", tmp_path / "templates")
    configuration, template = tmp_path / "alertmanager.yml", tmp_path / "templates" / "agentgauge.tmpl"
    own = {"127.0.0.1:9095": "pager:80", "smtp.example": "mail:25", "@example.com": "@team", "grafana.example": "grafana"}
    for path, origin in ((configuration, ROOT / "alerts" / "alertmanager.yml"), (template, template)):
        text = origin.read_text()
        for address in own.keys() - {left}:
            text = text.replace(address, own[address])
        path.write_text(text)
    finding = check_files("--alertmanager-config", configuration)["receivers"]
    where = f"{left} in {template}" if left == "grafana.example" else left
    assert (finding["status"], finding["evidence"].partition("; still there: ")[2]) == ("warn", where)
    for path in (configuration, template):
        path.write_text(path.read_text().replace(left, own[left]))
    assert check_files("--alertmanager-config", configuration).status("receivers") == "ok"


def test_files_that_are_nowhere_are_unknown(check_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_SOURCES", tmp_path)
    examined = check_files()
    assert {examined.status(check) for check in ("rule-files", "dashboards", "receivers")} == {"unknown"}
    for check, option in (("rule-files", "--rules"), ("dashboards", "--dashboards")):
        assert examined[check]["fix"] == f"`agentgauge export DIR` writes them; name them with {option} DIR."


def test_the_folder_of_an_export_stands_for_the_rules_and_the_dashboards_in_it(check_files, tmp_path, monkeypatch):
    assert cli.main(["export", str(tmp_path / "monitoring")]) == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_SOURCES", tmp_path)
    examined = check_files("--rules", "monitoring", "--dashboards", "monitoring")
    assert {examined.status(check) for check in ("rule-files", "dashboards")} == {"ok"}
    assert "files of monitoring/alerts/rules" in examined["rule-files"]["evidence"]
    assert "agents.json" in examined["dashboards"]["evidence"]
    monkeypatch.chdir("monitoring")  # there, nothing needs a name
    examined = check_files()
    assert {examined.status(check) for check in ("rule-files", "dashboards")} == {"ok"}
