"""Readers of the registry: the text formats, the HTTP server, and the same pages as apps to mount in a web framework."""

from agentgauge.exposition.asgi import asgi_app
from agentgauge.exposition.wsgi import wsgi_app

__all__ = ["asgi_app", "wsgi_app"]
