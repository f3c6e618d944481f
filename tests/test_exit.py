"""A program ends as it would without agentgauge: as fast, with the same status, and with nothing to say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

END = "ends at "
LONG_SECONDS = 2.0
BEGINNING = """
import asyncio, atexit, contextvars, gc, logging, os, signal, socket, sys, threading, time, types
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from prometheus_client import REGISTRY, generate_latest
import agentgauge
from agentgauge import agent, task, tool, track

# on a busy machine any step of a loop may take long, of which asyncio would tell
logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing"))

class HangingExporter(SpanExporter):
    def __init__(self, seconds):
        self.seconds = seconds
        self.is_hanging = threading.Event()
    def export(self, spans):
        self.is_hanging.set()
        time.sleep(self.seconds)
    def shutdown(self):
        time.sleep(self.seconds)
    def force_flush(self, timeout_millis=0):
        time.sleep(self.seconds)

def export_and_hang(seconds, *, at_exit):
    exporter = HangingExporter(seconds)
    provider = TracerProvider(shutdown_on_exit=at_exit)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))
    trace.set_tracer_provider(provider)
    trace.get_tracer("host").start_span("host").end()
    exporter.is_hanging.wait(20)

def refuse(thread):
    os.write(2, f"{thread.name} is started at exit\\n".encode())

def end():
    threading.Thread.start = refuse
    print("ends at", time.monotonic(), flush=True)
"""


def start_program(script, **environment):
    """Start a program that says all that Python has to complain about."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", BEGINNING + textwrap.dedent(script)]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program):
    """Await its end; return what it printed, what it complained about, and the seconds since it called ``end()``."""
    out, complaints = program.communicate(timeout=60)
    ended = time.monotonic()
    before, called, after = out.partition(END)
    called, _, after = after.partition("\n")
    return before + after, complaints, ended - float(called)


def run(script, **environment):
    """Run a program that has nothing to complain about and ends at once; return its status and what it printed."""
    program, printed, complaints = end_at_once(lambda: (program := start_program(script, **environment), finish(program)))
    assert complaints == ""
    return program.returncode, printed


def end_at_once(attempt):
    """Let a program end, again where that took long: who waits for something does so each time, a busy machine does not."""
    for _ in range(3):
        program, (printed, complaints, seconds) = attempt()
        program.wait()
        if seconds < LONG_SECONDS:
            break
    assert seconds < LONG_SECONDS
    return program, printed, complaints


# --- an exporter that hangs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hanging", ["export_and_hang(3600, at_exit=False)", "export_and_hang(1, at_exit=True)"], ids=["for-ever", "at-exit"]
)
def test_with_an_exporter_that_hangs_exit_takes_no_longer_than_with_the_spans_alone(hanging):
    script = f"""
    {hanging}
    is_without = "AGENTGAUGE_DISABLED" in os.environ
    spanned = trace.get_tracer("host").start_as_current_span if is_without else lambda _: lambda call: call

    @spanned("invoke_agent scout")
    @agent("scout")
    def scout(): return look()

    @spanned("execute_tool look")
    @tool
    def look(): return 1

    agentgauge.start(port=0)
    for _ in range(200): scout()  # with what it holds already, the queue of the exporter is not full
    generate_latest(REGISTRY)
    end()
    """

    def end_beside_one_without():
        with start_program(script) as program, start_program(script, AGENTGAUGE_DISABLED="true") as without:
            # each in a thread of its own, or the one that ends first seems to end with the other
            with ThreadPoolExecutor(2) as finishing:
                (printed, complaints, seconds), (_, _, seconds_without) = finishing.map(finish, (program, without))
            return program, (printed, complaints, seconds - seconds_without)

    program, _, complaints = end_at_once(end_beside_one_without)
    assert (program.returncode, complaints) == (0, "")


ENDINGS = {
    "end": ("pass", 0, ""),
    "exit": ("sys.exit(3)", 3, ""),
    "_exit": ("os._exit(4)", 4, ""),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)", -15, ""),
    "interrupt": ("raise KeyboardInterrupt", -2, "KeyboardInterrupt"),
    "error": ("raise ValueError('on purpose')", 1, "ValueError: on purpose"),
}


@pytest.mark.parametrize(("ending", "status", "last_words"), ENDINGS.values(), ids=ENDINGS)
def test_a_program_that_ends_in_the_middle_of_a_call_keeps_its_exit_status(ending, status, last_words):
    script = f"""
    export_and_hang(3600, at_exit=False)
    agentgauge.start(port=0)

    @agent("scout")
    async def scout():
        with track("", "block"):
            end()
            {ending}

    asyncio.run(scout())
    """
    program, _, complaints = end_at_once(lambda: (program := start_program(script), finish(program)))
    assert program.returncode == status
    assert "".join(complaints.splitlines()[-1:]) == last_words
    assert complaints.count("Traceback") == bool(last_words)


# --- threads that are in the middle of something --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "atexit.register(agentgauge.stop)"], ids=["", "with-stop"])
def test_a_program_ends_while_its_server_has_a_slow_client_and_a_collector_hangs(ending):
    script = f"""
    class Hanging:
        is_asked = threading.Event()
        def collect(self):
            self.is_asked.set()
            time.sleep(3600)

    {ending}
    registry = agentgauge.start(port=0).registry
    registry.register(type("Hanging", (Hanging,), {{"describe": lambda self: []}})())
    print(agentgauge.start().url.split(":")[2].split("/")[0], flush=True)
    Hanging.is_asked.wait(20)
    end()
    sys.exit(3)
    """

    def end_beside_its_clients():
        with start_program(script) as program:
            port = int(program.stdout.readline())
            with socket.create_connection(("127.0.0.1", port)) as slow, socket.create_connection(("127.0.0.1", port)) as scraping:
                slow.sendall(b"GET /metr")
                scraping.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return program, finish(program)

    program, _, complaints = end_at_once(end_beside_its_clients)
    assert (program.returncode, complaints) == (3, "")


def test_a_program_ends_in_the_middle_of_calls_drains_and_scrapes_of_daemon_threads():
    script = """
    sys.setswitchinterval(0.0001)
    agentgauge.start(port=0, drain_interval_seconds=0.001)
    begun = threading.Semaphore(0)

    @task
    def work(): return 1

    @agent("scout")
    async def work_later():
        await asyncio.sleep(0)

    @tool
    def sleep():
        begun.release()
        time.sleep(3600)

    def call():
        begun.release()
        while True: work()

    def call_later():
        async def call():
            while True: await work_later()
        begun.release()
        asyncio.run(call())

    def scrape():
        generate_latest(REGISTRY)  # the first starts the threads of collectors
        begun.release()
        while True: generate_latest(REGISTRY)

    targets = [call] * 3 + [call_later, scrape, sleep]
    for target in targets: threading.Thread(target=target, daemon=True).start()
    for _ in targets: begun.acquire()
    end()
    sys.exit(3)
    """
    assert run(script) == (3, "")


def test_what_records_and_scrapes_while_the_interpreter_ends_does_not_wait_for_threads_that_are_gone():
    script = """
    from agentgauge.recording.default import default_recorder
    is_held = threading.Event()

    @task
    def work(): return 1

    def hold():
        with default_recorder().lock:  # as a drain that the end of the interpreter froze
            is_held.set()
            time.sleep(3600)

    class Last:  # everything that it uses is its own: the names of modules are gone by then
        def __del__(self, work=work, scrape=generate_latest, registry=REGISTRY, write=os.write):
            for _ in range(2000): work()
            write(1, scrape(registry)[:6])

    for _ in range(2000): work()
    threading.Thread(target=hold, daemon=True).start()
    is_held.wait()
    module = types.ModuleType("of_the_host")
    module.last = Last()
    sys.modules["of_the_host"] = module
    del module
    end()
    sys.exit(3)
    """
    assert run(script) == (3, "# HELP")


def test_calls_at_exit_are_recorded_and_shown():
    script = """
    agentgauge.start(port=0)

    @task
    def work(): return 1

    @atexit.register
    def at_exit():
        for _ in range(2000): work()
        value = REGISTRY.get_sample_value("agent_task_duration_seconds_count", {"agent_task": "work", "outcome": "success"})
        os.write(2, b"" if value == 2000 else f"{value} are shown".encode())

    end()
    """
    assert run(script) == (0, "")


# --- the end of the interpreter -------------------------------------------------------------------------------------------

UNFINISHED = """
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
if {has_spans}: trace.set_tracer_provider(provider)
write = os.write

@agent("scout")
def numbers(name):
    try:
        yield 1
        yield 2
    finally:
        write(1, f"{{name}} is closed\\n".encode())

@task
async def numbers_later():
    try:
        yield 1
    finally:
        write(1, b"numbers_later is closed\\n")

@task
async def work():
    try:
        await asyncio.sleep(0)
    finally:
        write(1, b"work is closed\\n")

class Node:
    def __init__(self):
        self.itself = self
        self.numbers = numbers("cyclic")
        next(self.numbers)

async def leave_open():
    global left_open
    left_open = numbers_later()
    await anext(left_open)

suspended = numbers("suspended")
next(suspended)
tracked = track("", "block")
tracked.__enter__()
node = Node()
del node
coroutine = work()
contextvars.copy_context().run(coroutine.send, None)
asyncio.run(leave_open())
end()
"""


@pytest.mark.parametrize("has_spans", [False, True], ids=["metrics", "spans"])
def test_generators_and_coroutines_that_are_unfinished_at_the_end_are_closed_as_without_agentgauge(has_spans):
    script = UNFINISHED.format(has_spans=has_spans)
    outcomes = []
    for environment in ({}, {"AGENTGAUGE_DISABLED": "true"}):
        status, printed = run(script, **environment)
        outcomes.append((status, sorted(printed.splitlines())))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] == (0, ["cyclic is closed", "numbers_later is closed", "suspended is closed", "work is closed"])
