"""What ``agentgauge run`` starts around a program, and that nothing of it keeps the program from running."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

RUN = (sys.executable, "-X", "dev", "-W", "error", "-m", "agentgauge", "run")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTGAUGE_", "OTEL_"))}
SAYS_WHERE = re.compile(r"agentgauge: metrics: (http://127\.0\.0\.1:\d+/metrics)\n")


@pytest.fixture
def write(tmp_path):
    """Give a function that writes a program and returns its path."""

    def write(text):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def taken_port():
    """A port that something serves which is no agentgauge."""
    quiet = type("Quiet", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})  # and refuses every method
    with HTTPServer(("127.0.0.1", 0), quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def run(*words, **environment):
    return subprocess.run(
        [*RUN, *words], check=False, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=60
    )


def outcome(*words, **environment):
    ended = run(*words, **environment)
    return ended.stdout, ended.stderr, ended.returncode


def page(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


# --- the metrics --------------------------------------------------------------------------------------------------------


def test_the_metrics_of_a_program_are_served_while_it_runs(write):
    program = write("""
        from agentgauge import task
        @task
        def work(): pass
        work(), work()
        print("ready", flush=True)
        input()
        """)
    with subprocess.Popen(
        [*RUN, "--port", "0", "--service-name", "mine", program],
        env={**ENVIRONMENT, "AGENTGAUGE_COLLECTOR_TIMEOUT_SECONDS": "60"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        [url] = SAYS_WHERE.findall(process.stderr.readline())
        text = page(url)
        assert process.communicate("\n", timeout=60) == ("", "")
    assert process.returncode == 0
    assert 'agent_task_duration_seconds_count{agent_task="work",outcome="success"} 2\n' in text
    assert 'service_name="mine"' in text
    assert "process_cpu_seconds_total" in text


SETTINGS = """
import agentgauge
config = agentgauge.start().config
print([getattr(config, name) for name in ("is_server_enabled", "host", "port", "service_name", "instrumentors", "collectors")])
"""


def test_options_become_settings_and_win_over_the_environment(write):
    program = write(SETTINGS)
    options = ("--no-server", "--host", "127.0.0.2", "--port", "9999", "--service-name", "option")
    names = ("--instrumentors", "none", "--collectors", "process")
    environment = {"AGENTGAUGE_SERVICE_NAME": "variable", "AGENTGAUGE_COLLECTORS": "host", "AGENTGAUGE_PORT": "1"}
    expected = "[False, '127.0.0.2', 9999, 'option', (), ('process',)]\n"
    assert outcome(*options, *names, program, **environment) == (expected, "", 0)


def test_without_options_the_environment_holds(write):
    program = write(SETTINGS)
    environment = {
        "AGENTGAUGE_SERVICE_NAME": "variable",
        "AGENTGAUGE_IS_SERVER_ENABLED": "false",
        "AGENTGAUGE_COLLECTORS": "host",
    }
    assert outcome(program, **environment) == ("[False, '127.0.0.1', 9464, 'variable', None, ('host',)]\n", "", 0)


def test_where_agentgauge_is_disabled_the_program_runs_alone(write):
    program = write("import threading\nprint([thread.name for thread in threading.enumerate()])\n")
    assert outcome(program, AGENTGAUGE_DISABLED="true", AGENTGAUGE_PROT="1") == ("['MainThread']\n", "", 0)


# --- what cannot work ---------------------------------------------------------------------------------------------------

WRONG = {
    "unknown variable": ((), {"AGENTGAUGE_PROT": "1"}, "did you mean 'AGENTGAUGE_PORT'"),
    "wrong value": ((), {"AGENTGAUGE_PORT": "many"}, "AGENTGAUGE_PORT='many'"),
    "wrong option": (("--port", "70000"), {}, "port=70000"),
    "open address": (("--host", "0.0.0.0"), {}, "set bearer_token"),
    "unknown framework": (("--instrumentors", "dsp"), {}, "'dsp' is unknown"),
}


@pytest.mark.parametrize(("options", "environment", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_said_in_one_line_before_the_program_begins(options, environment, words, write):
    printed, complaints, status = outcome(*options, write("print('begun')"), **environment)
    assert (printed, status) == ("", 2)
    assert complaints.startswith("agentgauge run: ")
    assert words in complaints
    assert complaints.count("\n") == 1


def test_where_the_port_is_taken_the_program_goes_on_without_a_server(taken_port, write):
    program = write("import agentgauge\nprint(agentgauge.start().url, agentgauge.start().config.collectors)\n")
    printed, complaints, status = outcome("--collectors", "process", program, AGENTGAUGE_PORT=str(taken_port))
    assert (printed, status) == ("None ('process',)\n", 0)
    assert complaints.startswith(f"agentgauge: port {taken_port} is taken on 127.0.0.1: ")
    assert complaints.endswith("; the program goes on without a server\n")
    assert complaints.count("\n") == 1


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(taken_port, write):
    printed, complaints, status = outcome("--port", str(taken_port), write("print('begun')"))
    assert (printed, status) == ("", 2)
    assert complaints.startswith(f"agentgauge run: port {taken_port} is taken on 127.0.0.1: ")


def test_a_fault_of_ours_is_logged_and_the_program_runs(tmp_path, write):
    (tmp_path / "psutil.py").write_text("raise RuntimeError('broken on purpose')\n")
    program = write("import sys, agentgauge\nprint(sys.argv[1:])\nsys.exit(3)\n")
    printed, complaints, status = outcome(program, "-x", PYTHONPATH=str(tmp_path), AGENTGAUGE_PORT="0")
    assert (printed, status) == ("['-x']\n", 3)
    assert "the host is not affected" in complaints
    assert "RuntimeError: broken on purpose" in complaints


def test_without_a_place_for_complaints_the_program_runs(taken_port, write):
    command = [*RUN, write("print('done')")]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        check=False,
        env={**ENVIRONMENT, "AGENTGAUGE_PORT": str(taken_port)},
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert (ended.stdout, ended.returncode) == (b"done\n", 0)


# --- a program that knows agentgauge ------------------------------------------------------------------------------------


def test_what_the_program_asks_of_start_is_done_but_for_the_options(write):
    program = write("""
        import agentgauge
        from prometheus_client import CollectorRegistry, generate_latest
        registry = CollectorRegistry()
        first = agentgauge.start(registry=registry, service_name="program", series_limit=7, collectors=("process",))
        print(first.config.service_name, first.config.series_limit, first.registry is registry, first.url is None)
        print(b'service_name="option"' in generate_latest(registry), agentgauge.start() is first)
        try:
            agentgauge.start(series_limit=8)
        except agentgauge.ConfigurationError as error:
            print(error)
        agentgauge.stop()
        print(agentgauge.start(series_limit=8, is_server_enabled=False).config.service_name)
        """)
    printed, complaints, status = outcome("--service-name", "option", "--no-server", program)
    assert printed.splitlines() == [
        "option 7 True True",
        "True True",
        "start() was called before with another series_limit: call stop() first",
        "None",
    ]
    assert (complaints, status) == ("", 0)


def test_where_the_port_is_taken_the_program_still_gets_the_one_that_it_asks_for(taken_port, write):
    program = write("""
        import urllib.request, agentgauge
        from agentgauge import task

        @task
        def work(): pass

        work()
        monitor = agentgauge.start(port=0)
        work()
        lines = urllib.request.urlopen(monitor.url).read().decode().splitlines()
        print([line for line in lines if line.startswith("agent_task_duration_seconds_count") and "success" in line])
        """)
    printed, complaints, status = outcome(program, AGENTGAUGE_PORT=str(taken_port))
    assert printed.endswith("} 2']\n")
    assert complaints.count("\n") == 1
    assert (f"port {taken_port} is taken" in complaints, status) == (True, 0)


def test_a_program_whose_own_settings_cannot_work_fails_as_alone(write):
    program = write("import agentgauge\nagentgauge.start(port=70000)\n")
    printed, complaints, status = outcome("--no-server", program)
    assert (printed, status) == ("", 1)
    assert complaints.startswith("Traceback")
    assert "ConfigurationError: port=70000" in complaints


# --- forked children ----------------------------------------------------------------------------------------------------


FORKING = """
import os, sys, agentgauge
from prometheus_client import REGISTRY
from agentgauge import task

@task
def work(): pass

def count():
    labels = {"agent_task": "work", "outcome": "success"}
    return REGISTRY.get_sample_value("agent_task_duration_seconds_count", labels)

work()
if child := os.fork():
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    work()
    print("parent", count(), status, agentgauge.start().url)
else:
    work()
    print("child", count(), agentgauge.start(SETTINGS).url, flush=True)
    sys.exit(5)
"""


def test_a_forked_child_records_on_from_zero_serves_nothing_and_ends_by_itself(write):
    ended = run("--port", "0", "--no-server", write(FORKING.replace("SETTINGS", "service_name='child'")))
    assert ended.stdout.splitlines() == ["child 1 None", "parent 2 5 None"]
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_a_forked_child_that_wants_a_port_of_its_own_gets_it(write):
    ended = run("--port", "0", write(FORKING.replace("SETTINGS", "port=0")))
    [url] = SAYS_WHERE.findall(ended.stderr)
    child, parent = ended.stdout.splitlines()
    assert parent == f"parent 2 5 {url}"
    assert child.startswith("child 1 http://")
    assert not child.endswith(url)


def test_a_forked_child_whose_port_its_parent_has_goes_on_without_a_server(write):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = run("--port", str(port), write(FORKING.replace("SETTINGS", "")))
    assert ended.stdout.splitlines() == ["child 1 None", f"parent 2 5 http://127.0.0.1:{port}/metrics"]
    assert f"port {port} is served by process" in ended.stderr


# --- spans --------------------------------------------------------------------------------------------------------------

PROVIDED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, generate_latest
from agentgauge import agent, tool

@tool
def look(): pass

@agent("scout")
def scout(): look()

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
{before}
trace.set_tracer_provider(provider)
scout()
assert trace.get_tracer_provider() is provider
print([span.name for span in exporter.get_finished_spans()])
page = generate_latest(REGISTRY).decode().splitlines()
print([line for line in page if line.startswith("gen_ai_invoke_agent_duration_seconds_count")])
"""


@pytest.mark.parametrize(("before", "runs"), [("", 1), ("scout()", 2)], ids=["before the first call", "after it"])
def test_a_program_that_sets_its_own_provider_keeps_it_and_is_measured(before, runs, write):
    printed, complaints, status = outcome("--no-server", write(PROVIDED.format(before=before)))
    assert (complaints, status) == ("", 0)
    names, metrics = printed.splitlines()
    assert names == "['execute_tool look', 'invoke_agent scout']"
    assert metrics == f"""['gen_ai_invoke_agent_duration_seconds_count{{gen_ai_agent_name="scout"}} {runs}.0']"""
