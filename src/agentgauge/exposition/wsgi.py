"""The pages as a WSGI app, for Flask, Django and whatever else speaks WSGI (PEP 3333)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from agentgauge.exposition.incoming import BodyRefusedError
from agentgauge.exposition.mounted import mounted
from agentgauge.exposition.response import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from agentgauge.exposition.health_pages import HealthSource
    from agentgauge.exposition.receivers import Receiver

__all__ = ["wsgi_app"]


def wsgi_app(
    registry: CollectorRegistry | None = None,
    *,
    bearer_token: str | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    health: HealthSource | None = None,
    receivers: Iterable[Receiver] = (),
) -> WSGIApplication:
    """Make a WSGI app that answers as the server does: the page where it is mounted and at ``/metrics``, the probes beneath.

    ``start(is_server_enabled=False)`` gives the page the collectors and targets too. Deadlines and limits on connections are
    those of the server in which it runs. Without a token whoever reaches the app sees the page and the components of its health.

    Args:
        registry: What the page shows; ``prometheus_client.REGISTRY`` unless given. What is recorded is shown there.
        bearer_token: What a scrape must send as ``Authorization: Bearer ...``; ``AGENTGAUGE_BEARER_TOKEN`` unless given.
        is_ready: Tells what ``/readyz`` says.
        health: Tells ``/readyz`` and ``/healthz`` how the components are: a ``SystemHealthMonitor`` that is monitoring.
        receivers: Pages that take what is sent to them, such as the alerts of an Alertmanager.

    Raises:
        ConfigurationError: An argument, or a variable of the environment, cannot work.
    """
    pages = mounted(registry, bearer_token, is_ready, health, receivers)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):  # which CGI names without the HTTP
            if environ.get(name):
                headers[name.replace("_", "-").lower()] = environ[name]
        path = environ.get("PATH_INFO", "")
        try:
            body = _read(environ, pages.body_bytes(method, path, headers))
        except BodyRefusedError as error:
            response = plain(error.status, f"{error.text}\n")
        else:
            response = pages.answer(method, path, environ.get("QUERY_STRING", ""), headers, body)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return () if method == "HEAD" else response.body

    return app


def _read(environ: WSGIEnvironment, size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        chunk = environ["wsgi.input"].read(size - len(body))  # no more: what follows may be the next request
        if not chunk:
            raise BodyRefusedError(400, "the body ended before its Content-Length")
        body += chunk
    return bytes(body)
