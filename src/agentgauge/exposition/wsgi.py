"""The pages as a WSGI app, for Flask, Django and whatever else speaks WSGI (PEP 3333)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from agentgauge.exposition.mounted import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

__all__ = ["wsgi_app"]


def wsgi_app(
    registry: CollectorRegistry | None = None,
    *,
    bearer_token: str | None = None,
    is_ready: Callable[[], bool] = lambda: True,
) -> WSGIApplication:
    """Make a WSGI app that answers as the server does: the page where it is mounted and at ``/metrics``, the probes beneath.

    ``start(is_server_enabled=False)`` gives the page the collectors and targets too. Deadlines and limits on connections are
    those of the server in which it runs.

    Args:
        registry: What the page shows; ``prometheus_client.REGISTRY`` unless given. What is recorded is shown there.
        bearer_token: What a scrape must send as ``Authorization: Bearer ...``; ``AGENTGAUGE_BEARER_TOKEN`` unless given.
        is_ready: Tells what ``/readyz`` says.

    Raises:
        ConfigurationError: An argument, or a variable of the environment, cannot work.
    """
    pages = mounted(registry, bearer_token, is_ready)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        response = pages.answer(method, environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", ""), headers)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return () if method == "HEAD" else response.body

    return app
