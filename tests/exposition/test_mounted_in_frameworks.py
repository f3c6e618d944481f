"""The apps mounted in web frameworks, each for real behind a server that people use for it."""

from __future__ import annotations

import contextlib
import gzip
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

COMMON = """
import agentgauge
from agentgauge.exposition import asgi_app, wsgi_app

agentgauge.start(is_server_enabled=False, service_name="shop", collector_timeout_seconds=60)

@agentgauge.task("request")
def work():
    return "done"

class In:
    path = "/in"
    def answer(self, method, headers, body):
        return 200, f"{method} {headers['content-type']} {len(body)}"
"""

FASTAPI = """
from fastapi import FastAPI

app = FastAPI()
app.get("/")(lambda: work())
app.mount("/metrics", asgi_app(bearer_token="s3cr3t", receivers=[In()]))
"""

STARLETTE = """
import contextlib
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

@contextlib.asynccontextmanager
async def lifespan(app):
    yield

metrics = asgi_app(bearer_token="s3cr3t", receivers=[In()])
index = Route("/", lambda request: PlainTextResponse(work()))
app = Starlette(routes=[index, Route("/metrics", metrics), Mount("/metrics", metrics)], lifespan=lifespan)
"""

ALONE = """
work()
app = asgi_app(bearer_token="s3cr3t", receivers=[In()])
"""

FLASK = """
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app = Flask(__name__)
app.get("/")(work)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": wsgi_app(bearer_token="s3cr3t", receivers=[In()])})
"""

DJANGO = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="none")
urlpatterns = [path("", lambda request: HttpResponse(work()))]
OURS = {"/metrics", "/livez", "/readyz", "/in"}
"""

DJANGO_WSGI = """
from django.core.wsgi import get_wsgi_application

django, metrics = get_wsgi_application(), wsgi_app(bearer_token="s3cr3t", receivers=[In()])

def app(environ, start_response):
    return (metrics if environ["PATH_INFO"] in OURS else django)(environ, start_response)
"""

DJANGO_ASGI = """
from django.core.asgi import get_asgi_application

django, metrics = get_asgi_application(), asgi_app(bearer_token="s3cr3t", receivers=[In()])

async def app(scope, receive, send):
    await (metrics if scope.get("path") in OURS else django)(scope, receive, send)
"""

UVICORN = ("-m", "uvicorn", "--port", "0", "program:app")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--threads", "4", "--no-control-socket", "program:app")
WERKZEUG = ("-m", "flask", "--app", "program", "run", "--port", "0")
FRAMEWORKS = {
    "fastapi": (FASTAPI, UVICORN, "/metrics/livez"),
    "starlette": (STARLETTE, UVICORN, "/metrics/livez"),
    "behind a root path": (STARLETTE, (*UVICORN, "--root-path", "/shop"), "/metrics/livez"),
    "uvicorn alone": (ALONE, (*UVICORN, "--lifespan", "on"), "/livez"),
    "flask by werkzeug": (FLASK, WERKZEUG, "/metrics/livez"),
    "flask by gunicorn": (FLASK, GUNICORN, "/metrics/livez"),
    "django by wsgi": (DJANGO + DJANGO_WSGI, GUNICORN, "/livez"),
    "django by asgi": (DJANGO + DJANGO_ASGI, UVICORN, "/livez"),
}


@contextlib.contextmanager
def running(folder, program, command):
    """Run a server in another process and give the address that its log names."""
    (folder / "program.py").write_text(COMMON + program)
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([sys.executable, *command], cwd=folder, stdout=output, stderr=output) as process,
    ):
        try:
            deadline = time.monotonic() + 120
            while not (found := re.search(r"(?:[Rr]unning on|Listening at:) (http://127\.0\.0\.1:\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield found[1]
            assert process.poll() is None, log.read_text()
            process.terminate()
            process.wait(60)
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            process.kill()


def get(url, method="GET", body=None, **headers):
    request = urllib.request.Request(
        url, body, method=method, headers={key.replace("_", "-"): text for key, text in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, refused.read()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_serves_the_page_that_is_mounted_in_it(tmp_path, name):
    program, command, probe = FRAMEWORKS[name]
    with running(tmp_path, program, command) as base:
        if program is not ALONE:
            assert b"done" in get(base)[2]
        assert get(f"{base}/metrics")[0] == 401
        secret = {"Authorization": "Bearer s3cr3t"}
        status, headers, page = get(f"{base}/metrics", **secret)
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b'agent_task_duration_seconds_count{agent_task="request",outcome="success"} 1\n' in page
        assert b'\ntarget_info{service_name="shop"} 1' in page
        assert b"\nprocess_cpu_seconds_total " in page
        headers, page = get(f"{base}/metrics", Accept="application/openmetrics-text", Accept_Encoding="gzip", **secret)[1:]
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(page).endswith(b"# EOF\n")
        page = get(f"{base}/metrics?name[]=agentgauge_build_info", **secret)[2]
        assert page.count(b"# TYPE") == 1
        assert get(base + probe, "DELETE")[0] == 405
        assert get(base + probe, "HEAD")[::2] == (200, b"")
        assert get(base + probe)[::2] == (200, b"ok\n")
        assert get(base + probe.replace("livez", "readyz"))[::2] == (200, b"ok\n")
        assert get(base + probe.replace("livez", "nowhere"))[0] == 404
        receiver = base + probe.replace("livez", "in")
        assert get(receiver, "POST", b"x" * 300_000, Content_Type="text/plain")[::2] == (200, b"POST text/plain 300000")
        assert get(receiver, "POST", iter([b"in", b"chunks"]), Content_Type="text/plain")[0] == 411
        assert get(receiver)[0] == 405
