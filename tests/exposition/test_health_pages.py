"""``/readyz`` and ``/healthz`` with a source of health reports, and ``/livez`` in spite of it."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from made_up_series import one_of_each_kind, registry_of
from prometheus_client import CollectorRegistry
from server_clients import PATIENCE_SECONDS, holds_in_a_child, wait_until
from test_mounted_apps import ask_asgi, ask_wsgi

import agentgauge
from agentgauge import probe
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.exposition import asgi_app, health_pages, wsgi_app
from agentgauge.exposition.health_pages import HealthPages
from agentgauge.exposition.receivers import Receivers
from agentgauge.exposition.response import respond
from agentgauge.health import ComponentType, Finding, Schedule, Status, SystemHealthMonitor

SINCE = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HEALTH_JSON = "application/health+json"
TOKEN = "s3cr3t-t0ken"


@dataclass(frozen=True)
class Component:
    name: str
    component_type: str
    status: str
    message: str = ""
    since: datetime = SINCE
    is_required: bool = True


@dataclass(frozen=True)
class Report:
    is_ready: bool
    status: str
    components: tuple[Component, ...] = ()


class Source:
    """Gives one report, and counts how often it is asked."""

    def __init__(self, report):
        self.report = report
        self.asked = 0

    def health_report(self):
        self.asked += 1
        if isinstance(self.report, Exception):
            raise self.report
        return self.report


def ask(target, source=None, method="GET", *, is_ready=True, token=None, receivers=None, **headers):
    response = respond(
        method,
        target,
        {name.replace("_", "-"): value for name, value in headers.items()},
        registry=registry_of(one_of_each_kind()),
        config=Config(bearer_token=token),
        is_ready=lambda: is_ready,
        on_scrape=lambda _seconds, _cpu_seconds: None,
        health=source and HealthPages(source),
        receivers=receivers,
    )
    return response.status, dict(response.headers), b"".join(response.body).decode()


DATABASE_DOWN = Report(
    is_ready=False,
    status="down",
    components=(
        Component("database", "database", "down", "connection refused\nby db:5432"),
        Component("host", "system", "healthy", "all is well"),
        Component("mail", "service", "warning", "slow", is_required=False),
    ),
)


@pytest.mark.parametrize(
    ("status", "code"), [("healthy", 200), ("warning", 200), ("unknown", 200), ("critical", 503), ("down", 503), ("odd", 503)]
)
@pytest.mark.parametrize("is_ready", [True, False])
def test_healthz_tells_the_status_and_readyz_whether_it_is_ready(status, code, is_ready):
    source = Source(Report(is_ready, status))
    assert ask("/healthz", source)[::2] == (code, f"{status}\n")
    assert ask("/readyz", source)[::2] == ((200, "ok\n") if is_ready else (503, "not ready\n"))


def test_the_front_page_and_the_page_that_is_not_there_name_them():
    for target in ("/", "/nowhere"):
        assert {"/livez", "/readyz", "/healthz"} <= {word.strip(",;") for word in ask(target)[2].split()}


def test_the_page_that_is_not_there_names_what_takes_something_too():
    class Taking:
        path = "/api/v1/alerts"

        def answer(self, method, headers, body):
            raise AssertionError

    for receivers, said in (
        (Receivers([Taking()]), ", or POST to /api/v1/alerts\n"),
        (Receivers(), "/healthz\n"),
        (None, "/healthz\n"),
    ):
        assert ask("/nowhere", receivers=receivers)[::2][0] == 404
        assert ask("/nowhere", receivers=receivers)[2].endswith(said)


def test_nothing_is_ready_before_the_start():
    source = Source(Report(is_ready=True, status="healthy"))
    assert ask("/readyz", source, is_ready=False)[::2] == (503, "not ready\n")
    assert ask("/healthz", source, is_ready=False)[0] == 200


def test_without_a_health_monitor_both_tell_whether_it_has_started():
    for path in ("/readyz", "/healthz"):
        assert ask(path)[::2] == (200, "ok\n")
        assert ask(path, is_ready=False)[::2] == (503, "not ready\n")


def test_liveness_does_not_ask_how_components_are():
    source = Source(RuntimeError("the monitor is broken"))
    assert ask("/livez", source, is_ready=False)[::2] == (200, "ok\n")
    assert source.asked == 0


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_no_answer_is_kept_by_a_cache(path):
    for source in (None, Source(DATABASE_DOWN)):
        for query in ("", "?verbose", "?format=json"):
            assert ask(path + query, source)[1]["Cache-Control"] == "no-store"


def test_verbose_tells_the_components_as_kubernetes_does():
    code, headers, text = ask("/readyz?verbose", Source(DATABASE_DOWN))
    assert code == 503
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.splitlines() == [
        "[-]database down connection refused by db:5432",
        "[+]host healthy all is well",
        "[+]mail warning slow (optional)",
        "readyz check failed: not ready",
    ]
    assert ask("/healthz?verbose", Source(Report(is_ready=True, status="healthy")))[2] == "healthz check passed: healthy\n"


@pytest.mark.parametrize("asked", [("/healthz?format=json", {}), ("/healthz", {"accept": f"text/html, {HEALTH_JSON};q=0.9"})])
def test_json_tells_the_components_in_the_draft_s_words(asked):
    target, headers = asked
    code, described, text = ask(target, Source(DATABASE_DOWN), **headers)
    assert (code, described["Content-Type"], described["Vary"]) == (503, HEALTH_JSON, "Accept")
    assert int(described["Content-Length"]) == len(text.encode())
    document = json.loads(text)
    assert (document["status"], document["notes"]) == ("fail", ["down"])
    assert document["checks"] == {
        "database": [
            {
                "componentId": "database",
                "componentType": "datastore",
                "status": "fail",
                "observedValue": "down",
                "since": "2026-11-23T06:00:00+00:00",
                "isRequired": True,
                "output": "connection refused\nby db:5432",
            }
        ],
        "host": [
            {
                "componentId": "host",
                "componentType": "system",
                "status": "pass",
                "observedValue": "healthy",
                "since": "2026-11-23T06:00:00+00:00",
                "isRequired": True,
            }
        ],
        "mail": [
            {
                "componentId": "mail",
                "componentType": "component",
                "status": "warn",
                "observedValue": "warning",
                "since": "2026-11-23T06:00:00+00:00",
                "isRequired": False,
                "output": "slow",
            }
        ],
    }


@pytest.mark.parametrize(
    ("report", "path", "told"),
    [
        (Report(is_ready=True, status="healthy", components=(Component("a", "lm", "healthy"),)), "/healthz", "pass"),
        (Report(is_ready=True, status="warning", components=(Component("a", "lm", "warning"),)), "/healthz", "warn"),
        (Report(is_ready=True, status="critical", components=(Component("a", "lm", "critical"),)), "/readyz", "warn"),
        (Report(is_ready=False, status="healthy", components=(Component("a", "lm", "healthy"),)), "/readyz", "fail"),
        (Report(is_ready=True, status="unknown", components=(Component("a", "lm", "unknown"),)), "/healthz", "warn"),
        (Report(is_ready=True, status="unknown"), "/healthz", "warn"),
        (Report(is_ready=False, status="unknown", components=(Component("a", "lm", "unknown"),)), "/readyz", "fail"),
        (Report(is_ready=False, status="odd", components=(Component("a", "lm", "odd"),)), "/healthz", "fail"),
    ],
)
def test_the_status_in_json_agrees_with_the_code(report, path, told):
    code, _, text = ask(f"{path}?format=json", Source(report))
    assert json.loads(text)["status"] == told
    assert (code == 503) == (told == "fail")


def test_a_component_of_which_nothing_is_known_is_told_as_such_and_fails_nothing():
    source = Source(
        Report(is_ready=True, status="unknown", components=(Component("archivist", "agent", "unknown", "no work yet"),))
    )
    code, _, text = ask("/healthz?verbose", source)
    assert (code, text) == (200, "[?]archivist unknown no work yet\nhealthz check passed: unknown\n")
    code, _, text = ask("/healthz?format=json", source)
    [described] = json.loads(text)["checks"]["archivist"]
    assert (code, described["status"], described["observedValue"]) == (200, "warn", "unknown")


@pytest.mark.parametrize(
    ("said", "told"),
    [("a\x1b[31mb\x07", "a\ufffd[31mb\ufffd"), ("a\ud800", "a\ufffd"), ("a\r\n\tb\u2028c", "a b c"), ("caf\xe9", "caf\xe9")],
)
def test_what_a_message_quotes_does_nothing_to_a_terminal_and_is_always_told(said, told):
    source = Source(Report(is_ready=False, status="down", components=(Component(said, "lm", "down", said),)))
    assert ask("/healthz?verbose", source)[2].split("\n")[0] == f"[-]{told} down {told}"
    [[described]] = json.loads(ask("/healthz?format=json", source)[2])["checks"].values()
    assert described["output"] == said


def test_a_message_that_begins_with_the_name_does_not_repeat_it():
    components = (Component("redis", "cache", "healthy", "redis: it answers"), Component("disk", "storage", "down", "disk: full"))
    source = Source(Report(is_ready=False, status="down", components=components))
    assert ask("/healthz?verbose", source)[2].splitlines()[:2] == ["[+]redis healthy it answers", "[-]disk down full"]
    assert json.loads(ask("/healthz?format=json", source)[2])["checks"]["disk"][0]["output"] == "full"


def test_json_tells_when_a_component_was_last_looked_at_where_that_is_known():
    health = SystemHealthMonitor([Check()])
    assert "time" not in json.loads(ask("/healthz?format=json", health)[2])["checks"]["database"][0]
    health.check_all_health_blocking()
    at = health.get_component_health("database").checked_at
    assert json.loads(ask("/healthz?format=json", health)[2])["checks"]["database"][0]["time"] == at.isoformat()
    health.close()


def test_a_mounted_app_whose_monitor_was_never_started_is_not_ready_and_says_why():
    code, _, text = ask("/readyz?verbose", SystemHealthMonitor([Check()]))
    assert code == 503
    assert text.splitlines()[0] == "[?]database unknown not checked yet, and nobody monitors it: call start_monitoring()"


def test_names_with_a_colon_stay_apart_from_measurements():
    components = (Component("db:a", "database", "healthy"), Component("db_a", "database", "down"))
    document = json.loads(ask("/healthz?format=json", Source(Report(is_ready=True, status="healthy", components=components)))[2])
    assert [check["componentId"] for check in document["checks"]["db_a"]] == ["db:a", "db_a"]


@pytest.mark.parametrize("target", ["/readyz?verbose", "/healthz?verbose", "/readyz?format=json", "/healthz?format=json&verbose"])
def test_only_who_may_see_the_page_sees_the_components(target):
    source = Source(DATABASE_DOWN)
    for authorization in ({}, {"authorization": "Bearer wrong"}):
        code, headers, text = ask(target, source, token=TOKEN, **authorization)
        assert code == 503
        assert text in {"not ready\n", "down\n"}
        assert headers["WWW-Authenticate"].startswith("Bearer ")
    code, headers, text = ask(target, source, token=TOKEN, authorization=f"Bearer {TOKEN}")
    assert code == 503
    assert "connection refused" in text
    assert "WWW-Authenticate" not in headers


def test_the_word_alone_asks_nobody_for_a_token():
    code, headers, text = ask("/healthz", Source(DATABASE_DOWN), token=TOKEN)
    assert (code, text) == (503, "down\n")
    assert "WWW-Authenticate" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_health_is_asked_for_by_get_and_head_alone(method):
    source = Source(DATABASE_DOWN)
    assert ask("/healthz", source, method)[0] == 405
    assert ask("/healthz", source, "HEAD")[0] == 503


@pytest.mark.parametrize(("path", "word"), [("/readyz", "not ready\n"), ("/healthz", "unknown\n")])
@pytest.mark.parametrize("query", ["", "?verbose", "?format=json"])
def test_a_source_that_raises_leaves_the_health_unknown_and_is_counted(path, word, query):
    before = contained_errors.count_by_hook.get("health", 0)
    code, _, text = ask(path + query, Source(LookupError("its own fault")))
    assert code == 503
    assert word.strip() in text or json.loads(text)["status"] == "fail"
    assert "its own fault" not in text
    assert contained_errors.count_by_hook["health"] == before + 1


def test_a_source_that_hangs_holds_one_request_and_leaves_the_others_unanswered_for(monkeypatch):
    monkeypatch.setattr(health_pages, "_HANG_SECONDS", 0.02)
    entered, gate = threading.Event(), threading.Event()

    class Hung:
        def health_report(self):
            entered.set()
            gate.wait(PATIENCE_SECONDS)
            return Report(is_ready=True, status="healthy")

    pages = HealthPages(Hung())
    answers = []

    def probe():
        answers.append(pages.respond("/healthz", "", {}, is_started=True, may_see=True).status)

    first = threading.Thread(target=probe)
    first.start()
    assert entered.wait(PATIENCE_SECONDS)
    before = contained_errors.count_by_hook.get("health", 0)
    probe()
    probe()
    assert answers == [503, 503]
    assert contained_errors.count_by_hook["health"] == before + 2

    def probe_of_child():  # what hangs is the parent's
        gate.set()
        probe()
        return answers == [503, 503, 200]

    assert holds_in_a_child(probe_of_child)
    gate.set()
    first.join()
    probe()
    assert answers == [503, 503, 200, 200]


def test_a_source_that_hangs_keeps_no_scrape_from_its_page(running, monkeypatch):
    monkeypatch.setattr(health_pages, "_HANG_SECONDS", PATIENCE_SECONDS)
    gate = threading.Event()

    class Hung(Source):
        def health_report(self):
            gate.wait(PATIENCE_SECONDS)
            return super().health_report()

    monitor = running(health=Hung(Report(is_ready=True, status="healthy")))
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(get(monitor, "/healthz"))) for _ in range(20)]
    for thread in asking:
        thread.start()
    wait_until(lambda: len(answers) == 16)  # of 20: four wait
    assert answers == [(503, "unknown\n")] * 16
    assert get(monitor, "/metrics")[0] == 200
    gate.set()
    for thread in asking:
        thread.join()
    assert answers[16:] == [(200, "healthy\n")] * 4


def test_who_finds_no_place_to_wait_gets_the_last_report_while_it_is_fresh(monkeypatch):
    monkeypatch.setattr(health_pages, "_AT_ONCE", 1)
    entered, gate = threading.Event(), threading.Event()

    class Slow(Source):
        def health_report(self):
            if self.asked:
                entered.set()
                gate.wait(PATIENCE_SECONDS)
            return super().health_report()

    pages = HealthPages(Slow(Report(is_ready=True, status="warning")))

    def probe():
        return pages.respond("/healthz", "", {}, is_started=True, may_see=True).status

    assert probe() == 200
    waiting = threading.Thread(target=probe)
    waiting.start()
    assert entered.wait(PATIENCE_SECONDS)
    monkeypatch.setattr(health_pages, "_LAST_SECONDS", PATIENCE_SECONDS)
    assert probe() == 200
    monkeypatch.setattr(health_pages, "_LAST_SECONDS", 0.0)
    assert probe() == 503
    assert holds_in_a_child(lambda: gate.set() or probe() == 200)  # who has the place is the parent's
    gate.set()
    waiting.join()


@pytest.mark.parametrize("source", [object(), "healthy", lambda: None])
def test_what_gives_no_report_is_refused(source):
    with pytest.raises(ConfigurationError, match=r"health=.*SystemHealthMonitor"):
        HealthPages(source)
    for app in (asgi_app, wsgi_app):
        with pytest.raises(ConfigurationError, match="health="):
            app(CollectorRegistry(), health=source)


@pytest.mark.parametrize(("app", "ask_app"), [(asgi_app, ask_asgi), (wsgi_app, ask_wsgi)])
def test_mounted_apps_show_it_too(app, ask_app):
    mounted = app(CollectorRegistry(), bearer_token=TOKEN, health=Source(DATABASE_DOWN))
    assert ask_app(mounted, "/livez")[0] == 200
    assert ask_app(mounted, "/readyz")[::2] == (503, b"not ready\n")
    assert ask_app(mounted, "/healthz")[::2] == (503, b"down\n")
    assert ask_app(mounted, "/healthz", query="verbose")[2] == b"down\n"
    status, _, text = ask_app(mounted, "/healthz", query="verbose", authorization=f"Bearer {TOKEN}")
    assert (status, text.splitlines()[-1]) == (503, b"healthz check failed: down")
    status, headers, text = ask_app(mounted, "/healthz", "HEAD", accept=HEALTH_JSON, authorization=f"Bearer {TOKEN}")
    assert (status, headers["Content-Type"], text) == (503, HEALTH_JSON, b"")


# --- start() -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(fresh):
    """Start agentgauge with these settings; it is stopped with the test."""
    agentgauge.stop()
    yield lambda **settings: agentgauge.start(port=0, registry=fresh.registry, collectors=(), **settings)
    agentgauge.stop()


def get(monitor, path):
    try:
        with urllib.request.urlopen(monitor.url.removesuffix("/metrics") + path, timeout=PATIENCE_SECONDS) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Monitoring(Source):
    """A source that can be started, and notes what is asked of it."""

    def __init__(self, report, *, is_monitoring=False):
        super().__init__(report)
        self.is_monitoring = is_monitoring
        self.calls = []

    def start_monitoring(self):
        self.calls.append("start")
        self.is_monitoring = True

    def stop_monitoring(self):
        self.calls.append("stop")
        self.is_monitoring = False


def test_start_shows_the_health_and_runs_its_monitor_until_stop(running):
    source = Monitoring(DATABASE_DOWN)
    monitor = running(health=source)
    assert source.calls == ["start"]
    assert get(monitor, "/healthz") == (503, "down\n")
    assert get(monitor, "/readyz?verbose")[1].endswith("readyz check failed: not ready\n")
    assert get(monitor, "/livez") == (200, "ok\n")
    agentgauge.stop()
    assert source.calls == ["start", "stop"]


def test_a_monitor_that_the_program_runs_is_left_running(running):
    source = Monitoring(DATABASE_DOWN, is_monitoring=True)
    running(health=source)
    agentgauge.stop()
    assert source.calls == []


def test_a_source_that_needs_no_start_is_taken(running):
    assert get(running(health=Source(Report(is_ready=True, status="warning"))), "/healthz") == (200, "warning\n")


def test_a_second_start_with_another_source_is_refused(running):
    source = Source(DATABASE_DOWN)
    monitor = running(health=source)
    assert agentgauge.start(health=source) is monitor
    assert agentgauge.start() is monitor
    with pytest.raises(ConfigurationError, match=r"another health: call stop\(\) first"):
        agentgauge.start(health=Source(DATABASE_DOWN))


def test_a_source_that_cannot_start_ends_the_start_with_nothing_left(running):
    class Broken(Monitoring):
        def start_monitoring(self):
            super().start_monitoring()
            raise ConfigurationError("interval_seconds=0")

    source = Broken(DATABASE_DOWN)
    with pytest.raises(ConfigurationError, match="interval_seconds=0"):
        running(health=source)
    assert source.calls == ["start", "stop"]
    assert running().url is not None


def test_a_forked_child_that_stops_leaves_the_monitor_to_its_parent(running):
    source = Monitoring(DATABASE_DOWN)
    running(health=source)

    def stop():
        agentgauge.stop()
        return source.calls == ["start"]

    assert holds_in_a_child(stop)


class Check:
    """A check of one component that finds what it is told."""

    name = "database"
    component_type = ComponentType.DATABASE
    schedule = Schedule(interval_seconds=0.02, timeout_seconds=60, failure_threshold=1)

    def __init__(self):
        self.finding = Finding(status=Status.HEALTHY)

    def check(self):
        return self.finding


def test_the_real_health_monitor_is_shown(running):
    check = Check()
    health = SystemHealthMonitor([check])
    monitor = running(health=health)

    def wait_for(answer):
        while get(monitor, "/healthz") != answer:
            assert not given_up.is_set()

    given_up = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, given_up.set)
    timer.daemon = True
    timer.start()
    wait_for((200, "healthy\n"))
    assert get(monitor, "/readyz") == (200, "ok\n")
    check.finding = Finding(status=Status.DOWN, message="connection refused", condition="refused")
    wait_for((503, "down\n"))
    timer.cancel()
    assert get(monitor, "/readyz") == (503, "not ready\n")
    assert get(monitor, "/livez") == (200, "ok\n")
    assert get(monitor, "/readyz?verbose")[1].splitlines()[0] == "[-]database down connection refused"
    [described] = json.loads(get(monitor, "/healthz?format=json")[1])["checks"]["database"]
    assert (described["componentType"], described["status"], described["observedValue"]) == ("datastore", "fail", "down")
    agentgauge.stop()
    assert not health.is_monitoring


# --- about to end ----------------------------------------------------------------------------------------------------------


def beat(path):
    return json.loads(path.read_text())


def test_a_program_that_is_about_to_end_is_not_ready_and_lives_on(running, tmp_path):
    heartbeat = tmp_path / "heartbeat"
    health = Source(Report(is_ready=True, status="healthy"))
    monitor = running(health=health, heartbeat_file=heartbeat, heartbeat_interval_seconds=600.0)
    assert get(monitor, "/readyz") == (200, "ok\n")
    wait_until(lambda: beat(heartbeat)["ready"])
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: monitor.drain())
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert monitor.is_draining
    assert get(monitor, "/readyz") == (503, "not ready\n")
    assert (get(monitor, "/livez"), get(monitor, "/healthz")) == ((200, "ok\n"), (200, "healthy\n"))
    assert get(monitor, "/metrics")[0] == 200
    wait_until(lambda: not beat(heartbeat)["ready"])
    assert probe.main([str(heartbeat)]) == 0
    assert probe.main([str(heartbeat), "--ready"]) == 1


def test_without_a_health_monitor_it_is_not_ready_either_and_the_next_start_is(running):
    monitor = running()
    monitor.drain()
    monitor.drain()
    assert get(monitor, "/readyz") == (503, "not ready\n")
    agentgauge.stop()
    assert get(running(), "/readyz") == (200, "ok\n")


def test_a_forked_child_that_drains_leaves_the_heartbeat_to_its_parent(running, tmp_path):
    heartbeat = tmp_path / "heartbeat"
    monitor = running(heartbeat_file=heartbeat)

    def drains():
        monitor.drain()
        return monitor.is_draining

    assert holds_in_a_child(drains)
    assert not monitor.is_draining
    assert beat(heartbeat)["ready"]
