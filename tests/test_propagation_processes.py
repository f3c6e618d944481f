"""One trace and one agent over real processes: a queue, HTTP, a pool of processes, a fork, and an MCP server."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import REGISTRY, generate_latest

from agentgauge import agent, task, tool
from agentgauge.propagation import carry, extract, inject
from agentgauge.recording.site import current_agent
from agentgauge.testing import reraise_internal_errors

SPAWNING = multiprocessing.get_context("spawn")


class LinesExporter(SpanExporter):
    """Appends each span to a file as a line of JSON."""

    def __init__(self, path):
        self.path = path

    def export(self, spans):
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(facts_of(span)) + "\n" for span in spans)
        return SpanExportResult.SUCCESS


def facts_of(span):
    return {
        "process": os.getpid(),
        "name": span.name,
        "trace": span.context.trace_id,
        "id": span.context.span_id,
        "parent": span.parent and span.parent.span_id,
    }


def collect_spans_in(path):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(LinesExporter(path)))
    trace.set_tracer_provider(provider)


@tool("search")
def search(query):
    return f"found {query}"


@agent("researcher")
@task("research")
def research(query):
    return search(query), str(current_agent.get()), os.getpid()


@task("step")
def step(query):
    """Belong to whoever calls."""
    return query, str(current_agent.get()), os.getpid()


@task("astep")
async def astep(query):
    """Belong to whoever calls, too."""
    return query, str(current_agent.get()), os.getpid()


@pytest.fixture
def lines(tmp_path):
    """Return a file, and a function that reads what other processes wrote there about their spans."""
    path = tmp_path / "spans.jsonl"
    return path, lambda: [json.loads(line) for line in path.read_text().splitlines()]


def plan(work):
    """Run ``work`` as the run of an agent of this process."""

    @agent("planner")
    @task("plan")
    def run():
        with reraise_internal_errors(), extract(inject()):  # as much for the sake of a carrier that comes back home
            return work()

    return run()


def one_trace(spans, remote):
    """Check that all spans are in one trace; return this process's own by name, and the remote ones by name."""
    own = {facts["name"]: facts for facts in map(facts_of, spans.get_finished_spans())}
    assert len({facts["trace"] for facts in [*own.values(), *remote]}) == 1
    assert os.getpid() not in {facts["process"] for facts in remote}
    return own, {facts["name"]: facts for facts in remote}


def value(page, sample):
    return next((float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.rsplit(" ", 1)[0] == sample), None)


def consume(queue, answers, path):
    """Be a worker process: research what comes, until None does."""
    collect_spans_in(path)
    with reraise_internal_errors():
        while (message := queue.get(timeout=60)) is not None:
            with extract(message["headers"]):
                answers.put((research(message["query"]), step(message["query"])))
            answers.put(current_agent.get())
    answers.put(generate_latest(REGISTRY).decode())


def test_two_processes_and_a_queue_are_one_trace(fresh, spans, lines):
    path, read = lines
    queue, answers = SPAWNING.Queue(), SPAWNING.Queue()
    worker = SPAWNING.Process(target=consume, args=(queue, answers, str(path)))
    worker.start()

    @agent("planner")
    @task("plan")
    def run():
        queue.put({"query": "q", "headers": inject()})
        return answers.get(timeout=60)

    researched, stepped = run()
    queue.put(None)
    after, page = answers.get(timeout=60), answers.get(timeout=60)
    worker.join(60)

    assert worker.exitcode == 0
    assert (researched, stepped) == (("found q", "researcher", worker.pid), ("q", "planner", worker.pid))
    assert after == ""
    own, remote = one_trace(spans, read())
    assert list(own) == ["invoke_agent planner"]
    assert list(remote) == ["execute_tool search", "invoke_agent researcher", "execute_task step"]
    assert remote["invoke_agent researcher"]["parent"] == own["invoke_agent planner"]["id"]
    assert remote["execute_task step"]["parent"] == own["invoke_agent planner"]["id"]
    assert remote["execute_tool search"]["parent"] == remote["invoke_agent researcher"]["id"]
    # Each run is counted once, where it is run; who gave work to whom, where it was done.
    runs = "gen_ai_invoke_agent_duration_seconds_count"
    assert value(page, f'{runs}{{gen_ai_agent_name="researcher"}}') == 1
    assert value(page, f'{runs}{{gen_ai_agent_name="planner"}}') is None
    assert value(page, 'agent_handoffs_total{outcome="success",source="planner",target="researcher"}') == 1
    assert fresh.value(runs, gen_ai_agent_name="planner") == 1
    assert fresh.value(runs, gen_ai_agent_name="researcher") is None


SERVER = """
    import sys
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from test_propagation_processes import collect_spans_in, extract, json, research, step
    from agentgauge.testing import reraise_internal_errors

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            with extract(self.headers):
                body = json.dumps([research("q"), step("q"), sorted(self.headers)]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments): ...

    collect_spans_in(sys.argv[1])
    with reraise_internal_errors(), HTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.handle_request()
"""


def test_a_client_and_a_server_of_http_are_one_trace(fresh, spans, lines):
    path, read = lines
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        port = int(server.stdout.readline())

        @agent("planner")
        @task("plan")
        def run():
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=b"q", headers=inject())
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())

        researched, stepped, headers = run()
        assert server.wait(60) == 0

    assert researched == ["found q", "researcher", server.pid]
    assert stepped == ["q", "planner", server.pid]
    assert {"Traceparent", "Agentgauge-Agent"} <= set(headers)  # the client changed their case
    own, remote = one_trace(spans, read())
    assert remote["invoke_agent researcher"]["parent"] == own["invoke_agent planner"]["id"]
    assert remote["execute_task step"]["parent"] == own["invoke_agent planner"]["id"]
    assert remote["execute_tool search"]["parent"] == remote["invoke_agent researcher"]["id"]


def test_a_pool_of_processes_is_one_trace(fresh, spans, lines):
    path, read = lines

    @agent("planner")
    @task("plan")
    def run():
        with ProcessPoolExecutor(1, SPAWNING, collect_spans_in, (str(path),)) as pool:
            carried = carry(step)
            futures = [pool.submit(carried, "a"), pool.submit(carry(research), "b"), pool.submit(step, "lost")]
            return [future.result(60) for future in futures], list(pool.map(carried, "cd"))

    (first, second, lost), more = run()

    process = first[2]
    assert process != os.getpid()
    assert (first, second) == (("a", "planner", process), ("found b", "researcher", process))
    assert lost == ("lost", "", process)
    assert more == [("c", "planner", process), ("d", "planner", process)]
    found = read()
    orphans = [facts for facts in found if facts["parent"] is None]
    assert [facts["name"] for facts in orphans] == ["execute_task step"]
    found.remove(orphans[0])
    own, remote = one_trace(spans, found)
    assert {facts["parent"] for facts in found if facts["name"] != "execute_tool search"} == {own["invoke_agent planner"]["id"]}
    assert remote["execute_tool search"]["parent"] == remote["invoke_agent researcher"]["id"]
    assert len(found) == 5


def run_coroutine(carried, query):
    """Run a carried coroutine function in a loop of this process's own."""
    import asyncio

    return asyncio.run(carried(query))


def test_a_coroutine_function_is_carried_to_another_process(fresh, spans, lines):
    path, read = lines

    @agent("planner")
    @task("plan")
    def run():
        with ProcessPoolExecutor(1, SPAWNING, collect_spans_in, (str(path),)) as pool:
            return pool.submit(run_coroutine, carry(astep), "q").result(60)

    assert run()[:2] == ("q", "planner")
    own, remote = one_trace(spans, read())
    assert remote["execute_task astep"]["parent"] == own["invoke_agent planner"]["id"]


def test_an_exception_of_a_carried_function_comes_back_from_the_pool(fresh):
    with ProcessPoolExecutor(1, SPAWNING) as pool, pytest.raises(ValueError, match="invalid literal"):
        pool.submit(carry(int), "x").result(60)


@pytest.mark.parametrize(("method", "is_heard"), [("spawn", True), ("fork", True), ("fork", False)])
def test_a_process_that_is_started_with_a_carried_function_is_in_the_trace(method, is_heard):
    program = f"""
        import multiprocessing, os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_propagation_processes import agent, carry, step, task, research, trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        def report(queue):
            context = trace.get_current_span().get_span_context()
            queue.put((research("q")[:2], step("q")[:2], context.trace_id, context.span_id, context.is_remote))

        @agent("planner")
        @task("plan")
        def plan(context):
            queue = context.Queue()
            process = context.Process(target=carry(report), args=(queue,))
            process.start()
            told = queue.get(timeout=60)
            process.join(60)
            own = trace.get_current_span().get_span_context()
            assert process.exitcode == 0
            assert told == (("found q", "researcher"), ("q", "planner"), own.trace_id, own.span_id, True), (told, own)

        if __name__ == "__main__":
            provider = TracerProvider()
            if {is_heard}:  # else there is a trace all the same, which others may hear of
                provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
            trace.set_tracer_provider(provider)
            plan(multiprocessing.get_context({method!r}))
            print("done")
    """
    done = run_as_file(program)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def run_as_file(program):
    """Run a program that has a file, since multiprocessing imports it anew in its children."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(textwrap.dedent(program), encoding="utf-8")
        return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, check=False)


MCP_SERVER = """
    import os, sys
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context
    from test_propagation_processes import astep, collect_spans_in, extract

    server = MCPServer("library")

    @server.tool()
    async def look(query: str, context: Context) -> list[str]:
        plain = await astep(query)
        async with extract(context.request_context.meta):
            return [*map(str, plain), (await astep(query))[1]]

    collect_spans_in(sys.argv[1])
    server.run("stdio")
"""


async def test_mcp_carries_the_trace_by_itself_and_the_agent_with_what_inject_gives(fresh, spans, lines):
    from mcp import Client, StdioServerParameters  # which takes a second in each process that imports this module

    path, read = lines
    arguments = ["-c", textwrap.dedent(MCP_SERVER), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    @agent("planner")
    @task("plan")
    async def run(client):
        found = await client.call_tool("look", {"query": "q"}, meta=inject())
        return found.structured_content["result"], trace.get_current_span().get_span_context()

    async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment)) as client:
        (query, lost, process, kept), own = await run(client)

    assert (query, lost, kept) == ("q", "", "planner")
    assert int(process) != os.getpid()
    remote = [facts for facts in read() if facts["trace"] == own.trace_id]
    assert {facts["process"] for facts in remote} == {int(process)}
    steps = [facts for facts in remote if facts["name"] == "execute_task astep"]
    called = next(facts for facts in remote if facts["name"] == "tools/call look")
    sent = next(span for span in spans.get_finished_spans() if span.name == "MCP send tools/call look")
    assert [facts["parent"] for facts in steps] == [called["id"], called["id"]]
    assert called["parent"] == sent.context.span_id
    assert sent.parent.span_id == own.span_id
