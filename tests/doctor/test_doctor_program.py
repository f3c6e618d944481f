"""What doctor says of a running program, in good and in bad states that are made for real."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from prometheus_client import Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agentgauge import task, track
from agentgauge.catalogue import FAMILIES, Kind
from agentgauge.doctor.environment import Environment
from agentgauge.doctor.finding import Status
from agentgauge.doctor.objectives import objectives
from agentgauge.doctor.page import Page, Program
from agentgauge.doctor.production import _drain, _protected, _ready, _service, _thresholds
from agentgauge.doctor.program import PROGRAM_CHECKS
from agentgauge.doctor.provider import tracer_provider
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.instrumentors.roster import FRAMEWORKS, Framework
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind
from tests.doctor.conftest import ask_model


@task("greet")
def greet():
    pass


def test_a_program_without_faults_has_no_warning(visit, fresh):
    greet()
    examined = visit()
    statuses = {each["check"]: each["status"] for each in examined.document["findings"] if each["section"] == "program"}
    assert statuses == {
        "answers": "ok",
        "instrumentors": "unknown",
        "suppressed-calls": "ok",
        "one-producer": "ok",
        "sampled-traces": "unknown",
        "tracer-provider": "ok",
        "exemplars": "unknown",
        "label-growth": "ok",
        "price-coverage": "unknown",
        "internal-errors": "ok",
        "dropped-events": "ok",
        "overhead": "ok",
        "scrape-duration": "ok",
        "collectors": "ok",
        "processes": "ok",
    }
    assert examined.code == 0
    assert examined["internal-errors"]["evidence"] == "agentgauge_internal_errors_total = 0 (3 hooks)"
    assert examined["answers"]["evidence"].startswith(f'agentgauge_build_info{{version="{examined.document["version"]}"}}')


def test_a_page_of_something_else_is_told_from_one_of_agentgauge(doctor, answering):
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, b"# TYPE up gauge\nup 1\n"))
    examined = doctor("--url", f"{url}/metrics")
    assert examined["answers"]["status"] == "fail"
    assert examined["answers"]["title"] == "The page has no series of agentgauge"
    assert {examined.status(check) for check in ("internal-errors", "dropped-events", "overhead", "collectors", "processes")} == {
        "unknown"
    }


def test_a_program_of_another_version_is_warned_of(doctor, answering):
    page = b'# TYPE agentgauge_build_info gauge\nagentgauge_build_info{version="0.0.1"} 1\n'
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    finding = doctor("--url", f"{url}/metrics")["answers"]
    assert finding["status"] == "warn"
    assert 'version="0.0.1"' in finding["evidence"]


# --- instrumentors --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def framework(install, monkeypatch):
    """Give a framework with one function, on the roster, with an instrumentor of its own."""
    site = install("chatter", "2.0")
    (site / "chatter.py").write_text("def ask():\n    return 'yes'\n")
    (site / "chatter_instrumentor.py").write_text(
        "from agentgauge.recording.series import SeriesKind\n"
        "def instrument(kit):\n"
        "    import chatter\n"
        "    kit.measure(chatter, 'ask', lambda args, kwargs: kit.begin(SeriesKind.TASK, 'ask'))\n"
    )
    monkeypatch.setitem(FRAMEWORKS, "chatter", Framework("chatter", "chatter", "chatter", "1.0", "chatter_instrumentor"))
    yield site
    for name in ("chatter", "chatter_instrumentor"):
        sys.modules.pop(name, None)


def test_an_instrumentor_is_silent_until_a_call_comes_through(serve, doctor, framework):
    url = serve(instrumentors=("chatter",)).url
    assert doctor("--url", url).status("instrumentors") == "unknown"
    import chatter

    silent = doctor("--url", url)["instrumentors"]
    assert (silent["status"], silent["evidence"]) == ("warn", "chatter: active, 0 calls")
    assert chatter.ask() == "yes"
    fired = doctor("--url", url)["instrumentors"]
    assert (fired["status"], fired["evidence"]) == ("ok", "chatter: active, 1 call")


def test_a_framework_that_is_loaded_and_cannot_be_instrumented_fails(serve, doctor, framework, monkeypatch, caplog):
    old = Framework("chatter", "chatter", "chatter", "3.0", "chatter_instrumentor")
    monkeypatch.setitem(FRAMEWORKS, "chatter", old)
    for name in set(FRAMEWORKS) - {"chatter"}:
        monkeypatch.delitem(FRAMEWORKS, name)
    url = serve(instrumentors=None).url
    __import__("chatter")
    examined = doctor("--url", url)
    assert "agentgauge does not instrument chatter" in caplog.text
    assert examined["instrumentors"]["status"] == "fail"
    assert examined["instrumentors"]["evidence"] == "chatter: NOT active, 0 calls"
    assert examined.code == 1


def test_calls_that_two_layers_saw_are_told_with_their_owner(visit, fresh):
    outer = LmCall(fresh.recorder, LmName("chat", "acme", "m-1"), instrumentor="dspy")
    ask_model(fresh.recorder, instrumentor="openai-agents", input_tokens=3)
    outer.end()
    Operation(fresh.recorder, SeriesKind.TASK, "step", instrumentor="openai-agents").end()
    finding = visit()["suppressed-calls"]
    assert finding["status"] == "ok"
    assert finding["evidence"] == "1 lm call that openai-agents saw and dspy counts"


def test_an_instrumentor_of_which_nothing_is_counted_is_warned_of(visit, fresh):
    outer = LmCall(fresh.recorder, LmName("chat", "acme", "m-1"), instrumentor="dspy")
    ask_model(fresh.recorder, instrumentor="langchain", input_tokens=3)
    outer.end()
    finding = visit()["suppressed-calls"]
    assert finding["status"] == "warn"
    assert finding["title"] == "All that langchain saw is counted by another layer"


def test_a_second_exporter_of_gen_ai_series_in_the_registry_fails(visit, fresh):
    labels = ("gen_ai_request_model", "otel_scope_name")
    foreign = Histogram("gen_ai_client_operation_duration_seconds", "GenAI operation duration.", labels, registry=fresh.registry)
    foreign.labels("m-1", "opentelemetry.instrumentation.openai").observe(1)
    ask_model(fresh.recorder, input_tokens=1)
    finding = visit()["one-producer"]
    assert finding["status"] == "fail"
    assert "gen_ai_client_operation_duration_seconds_count" in finding["evidence"]


# --- traces ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "status", "said"), [(1.0, "ok", "every trace"), (0.1, "warn", "10% are sampled")])
def test_a_sampler_that_the_program_sets_in_code_is_seen(visit, fresh, set_provider, ratio, status, said):
    with ExitStack() as undo:
        instrument(Kit("genai-spans", fresh.recorder, Content(), undo))
        set_provider(ParentBased(TraceIdRatioBased(ratio)))
        finding = visit()["sampled-traces"]
    assert finding["status"] == status
    assert said in finding["title"]


def test_sampled_spans_show_as_exemplars(visit, spans):
    greet()
    finding = visit()["exemplars"]
    assert finding["status"] == "ok"
    assert finding["evidence"].startswith("1 exemplar on the page")


def test_spans_of_which_none_is_sampled_are_warned_of(visit, set_provider):
    set_provider(ParentBased(ALWAYS_OFF))
    for _ in range(600):  # of so many spans the cost of some is measured
        greet()
    finding = visit()["exemplars"]
    assert (finding["status"], finding["title"]) == ("warn", "The program makes spans, and none is sampled")
    assert finding["evidence"].startswith("0 exemplars on the page")


def test_a_page_that_is_served_without_openmetrics_cannot_bear_exemplars(doctor, answering, fresh, spans):
    greet()
    kind = {"Content-Type": "text/plain; version=0.0.4"}
    url = answering(lambda _path, _headers: (200, kind, generate_latest(fresh.registry)))
    finding = doctor("--url", f"{url}/metrics")["exemplars"]
    assert (finding["status"], finding["title"]) == ("warn", "The page cannot bear exemplars")
    assert finding["evidence"] == "asked for OpenMetrics, it answers 200 text/plain; version=0.0.4"


# --- labels ---------------------------------------------------------------------------------------------------------------------


def run_tasks(count):
    for number in range(count):
        with track("crowd", f"task-{number}"):
            pass


def test_names_past_the_limit_fail(serve, doctor, monkeypatch):
    url = serve(series_limit=2).url
    run_tasks(3)
    monkeypatch.setenv("AGENTGAUGE_SERIES_LIMIT", "2")
    finding = doctor("--url", url)["label-growth"]
    assert finding["status"] == "fail"
    assert finding["evidence"] == 'agentgauge_series_overflowed_total{kind="task"} = 1'


def test_names_near_the_limit_are_warned_of_and_far_from_it_are_not(serve, doctor, monkeypatch):
    url = serve(series_limit=10).url
    monkeypatch.setenv("AGENTGAUGE_SERIES_LIMIT", "10")
    run_tasks(7)
    assert doctor("--url", url).status("label-growth") == "ok"
    run_tasks(8)
    finding = doctor("--url", url)["label-growth"]
    assert finding["status"] == "warn"
    assert finding["evidence"].startswith("8 tasks of 10 each (")


def test_a_family_of_the_program_that_grows_without_limit_is_warned_of(visit, fresh):
    greeted = Counter("greeted", "People.", ("person",), registry=fresh.registry)
    for number in range(10_001):
        greeted.labels(f"person-{number}")
    finding = visit()["label-growth"]
    assert finding["status"] == "warn"
    assert "the largest family is greeted with 1000" in finding["evidence"]
    assert "A label of greeted" in finding["fix"]


# --- processes ------------------------------------------------------------------------------------------------------------------

FORKING = """
import multiprocessing, os, sys, agentgauge

def wait():
    sys.stdin.read()
    os._exit(0)

def serve():
    print(os.getpid(), agentgauge.start(port=0, instrumentors=()).url, flush=True)
    wait()

role = sys.argv[1]
if role == "parent serves" and not (other := os.fork()):
    wait()
if role == "child serves":
    other = os.fork() or wait()
    if not os.fork():
        serve()
    print(other, flush=True)
    wait()
if role == "parent serves":
    print(other, flush=True)
serve()
"""


@pytest.mark.parametrize("role", ["parent serves", "child serves"])
def test_processes_that_were_forked_beside_the_one_that_serves_are_warned_of(doctor, role):
    said, finding = examined_program(doctor, role, lines=2)
    (other,) = (line[0] for line in said if len(line) == 1)
    (server,) = (line[0] for line in said if len(line) == 2)
    assert finding["status"] == "warn"
    assert finding["evidence"].startswith(f"process {server} serves")
    assert finding["evidence"].endswith(f"; forked beside it: {other}")


def test_a_program_that_did_not_fork_is_one_process(doctor):
    ((server, _),), finding = examined_program(doctor, "alone", lines=1)
    assert finding["status"] == "ok"
    assert finding["evidence"].startswith(f"process {server} serves")
    assert finding["evidence"].endswith("none was forked beside it")


def test_a_worker_of_multiprocessing_is_warned_of(serve, doctor):
    context = multiprocessing.get_context("spawn")
    ending = context.Event()
    worker = context.Process(target=ending.wait)
    worker.start()
    try:
        finding = doctor("--url", serve().url)["processes"]
    finally:
        ending.set()
        worker.join()
    assert finding["status"] == "warn"
    assert finding["evidence"].endswith(f"; forked beside it: {worker.pid}")


def examined_program(doctor, role, lines):
    command = [sys.executable, "-c", FORKING, role]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            said = [program.stdout.readline().split() for _ in range(lines)]
            url = next(line[1] for line in said if len(line) == 2)
            return said, doctor("--url", url)["processes"]
        finally:
            program.stdin.close()


# --- pages of any kind ----------------------------------------------------------------------------------------------------------


@st.composite
def pages(draw):
    """Make a page of some of our families with any labels and values, as a proxy or another version might show them."""
    lines = []
    for family in draw(st.lists(st.sampled_from(FAMILIES), max_size=12, unique=True)):
        name = family.name + ("_count" if family.kind is Kind.HISTOGRAM else "")
        labels = draw(st.lists(st.sampled_from((*family.labels, "other")), max_size=4, unique=True))
        texts = [
            draw(st.text(st.characters(exclude_characters='"\\\n\r', exclude_categories=["Cs"]), max_size=5)) for _ in labels
        ]
        block = ",".join(f'{label}="{text}"' for label, text in zip(labels, texts, strict=True))
        lines.append(f"{name}{{{block}}} {draw(st.floats())}")
    return "\n".join(lines) + "\nup 1\n"


@given(text=pages(), limit=st.integers(1, 10))
def test_no_page_makes_a_check_raise(text, limit):
    page = Page(parse_text(text))
    for openmetrics in (page, None):
        visited = Program("http://127.0.0.1:1/metrics", page, openmetrics, "it answers 406", 0.1, None, None, None)
        findings = [check(visited, limit) for check in PROGRAM_CHECKS]
        findings.append(tracer_provider(Environment({}, {"mcp": "2.3"}), visited))
        findings += [check(visited, limit) for check in (_ready, objectives, _drain, _protected, _service, _thresholds)]
        assert all(finding.status in Status and finding.title and finding.evidence for finding in findings)
