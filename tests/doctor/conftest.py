"""Programs to examine, and doctor to examine them."""

from __future__ import annotations

import argparse
import json
import os
import threading
from dataclasses import dataclass
from functools import cache, cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PathDistribution

import pytest

import agentgauge
from agentgauge.doctor import add_arguments, environment, main, program
from agentgauge.doctor.environment import _OTHERS
from agentgauge.doctor.provider import _BY_SPANS
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.series import LmName

READ = ("AGENTGAUGE_", "OTEL_", "PROMETHEUS_", "WEB_CONCURRENCY", "UVICORN_", "GUNICORN_")


@dataclass
class Examination:
    """What doctor said."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)

    def __getitem__(self, check):
        (finding,) = [each for each in self.document["findings"] if each["check"] == check]
        return finding

    def status(self, check):
        return self[check]["status"]


def ask_model(recorder, model="m-1", instrumentor="dspy", **answer):
    """Record the call of a model."""
    call = LmCall(recorder, LmName("chat", "acme", model), instrumentor=instrumentor)
    call.note_answer(Answer(**answer))
    call.end()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """Let no variable of the machine's own count."""
    for name in list(os.environ):
        if name.startswith(READ):
            monkeypatch.delenv(name)


class Installed(PathDistribution):
    """A distribution whose metadata are parsed once: a test asks for those of all that there are, again and again."""

    @cached_property
    def metadata(self):
        return super().metadata


@cache
def installed_at(path):
    return Installed(path)


@pytest.fixture(autouse=True)
def no_rivals(monkeypatch):
    """Let other instrumentations, and what shows by its spans alone, not count: they are installed for other tests."""
    installed = environment.distributions

    def is_for_other_tests(each):
        name = environment._normal(each.metadata["Name"] or "")
        return _OTHERS.fullmatch(name) or _BY_SPANS.fullmatch(name)

    def others():
        for each in installed():
            if "site-packages" not in str(each.locate_file("")):
                yield each
            elif not is_for_other_tests(known := installed_at(each._path)):
                yield known

    monkeypatch.setattr(environment, "distributions", others)


@pytest.fixture
def doctor(capsys):
    """Give a function that runs doctor with some arguments; ``--json`` unless asked for text."""

    def examine(*arguments, is_text=False):
        parser = argparse.ArgumentParser("agentgauge doctor")
        add_arguments(parser)
        capsys.readouterr()
        patience = [] if "--timeout" in arguments else ["--timeout", "60"]  # a busy machine may take its time to answer
        code = main(parser.parse_args([*map(str, arguments), *patience, *([] if is_text else ["--json"])]))
        said = capsys.readouterr()
        return Examination(code, said.out, said.err)

    return examine


@pytest.fixture
def serve(fresh, monkeypatch):
    """Give a function that starts agentgauge on a registry of the test's own, of which a scrape may take its time."""
    monkeypatch.setattr(program, "_SCRAPE_SECONDS", 60.0)  # what a busy machine adds to it is no fault of the program's

    def start(**settings):
        return agentgauge.start(
            **{"port": 0, "registry": fresh.registry, "instrumentors": (), "collector_timeout_seconds": 60, **settings}
        )

    yield start
    agentgauge.stop()


@pytest.fixture
def visit(serve, doctor):
    """Give a function that starts agentgauge, and lets doctor look at it."""

    def examine(*arguments, **settings):
        return doctor("--url", serve(**settings).url, *arguments)

    return examine


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Give a function that installs a distribution with nothing in it but its name, a version and entry points."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def stub(name, version, entry_points=""):
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(entry_points)
        return site

    return stub


@pytest.fixture
def answering():
    """Give a function that starts a server which answers each path with what a function of it returns."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = answer(self.path, self.headers)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()
