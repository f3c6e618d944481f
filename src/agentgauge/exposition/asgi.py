"""The pages as an ASGI app, for FastAPI, Starlette, Django and whatever else speaks ASGI 3 on asyncio."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentgauge.exposition.incoming import BodyRefusedError
from agentgauge.exposition.mounted import mounted
from agentgauge.exposition.response import plain

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from agentgauge.exposition.health_pages import HealthSource
    from agentgauge.exposition.mounted import Mounted
    from agentgauge.exposition.receivers import Receiver

__all__ = ["AsgiApp", "asgi_app"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_T = TypeVar("_T")
_BODY_SECONDS = 10.0  # as long as a whole request has on a server of ours


def asgi_app(
    registry: CollectorRegistry | None = None,
    *,
    bearer_token: str | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    health: HealthSource | None = None,
    receivers: Iterable[Receiver] = (),
) -> AsgiApp:
    """Make an ASGI app that answers as the server does: the page where it is mounted and at ``/metrics``, the probes beneath.

    ``start(is_server_enabled=False)`` gives the page the collectors and targets too. Deadlines and limits on connections are
    those of the server in which it runs. Without a token whoever reaches the app sees the page and the components of its health.

    Args:
        registry: What the page shows; ``prometheus_client.REGISTRY`` unless given. What is recorded is shown there.
        bearer_token: What a scrape must send as ``Authorization: Bearer ...``; ``AGENTGAUGE_BEARER_TOKEN`` unless given.
        is_ready: Tells what ``/readyz`` says; called in a thread.
        health: Tells ``/readyz`` and ``/healthz`` how the components are: a ``SystemHealthMonitor`` that is monitoring.
        receivers: Pages that take what is sent to them, such as the alerts of an Alertmanager; called in a thread.

    Raises:
        ConfigurationError: An argument, or a variable of the environment, cannot work.
    """
    return AsgiApp(mounted(registry, bearer_token, is_ready, health, receivers))


class AsgiApp:
    """An ASGI 3 application; an object with a method, since frameworks take a bare function for a handler of requests."""

    def __init__(self, pages: Mounted) -> None:
        self._pages = pages

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one connection, or one life of the process."""
        if scope["type"] == "http":
            with contextlib.suppress(OSError):  # the client went away
                await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            raise ValueError(f"this app does not speak {scope['type']!r}")  # as the specification asks

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        method, query = scope["method"], scope.get("query_string", b"").decode("latin-1")
        path, headers = _path_beneath_mount(scope), _headers(scope["headers"])
        try:
            body = await _body(receive, self._pages.body_bytes(method, path, headers))
        except BodyRefusedError as error:
            response = plain(error.status, f"{error.text}\n")
        else:
            response = await _in_thread(partial(self._pages.answer, method, path, query, headers, body))
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        chunks = iter(() if method == "HEAD" else response.body)
        try:
            while (chunk := await _in_thread(partial(next, chunks, None))) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            if isinstance(chunks, Generator):
                with contextlib.suppress(ValueError):  # a thread is in it, whose result nobody awaits any more
                    chunks.close()
        await send({"type": "http.response.body", "body": b""})


def _path_beneath_mount(scope: _Message) -> str:
    path: str = scope["path"]
    mount: str = scope.get("root_path", "").rstrip("/")
    beneath = path.removeprefix(mount)
    # the path has the mount in it, but some servers and frameworks take it off
    return beneath if beneath[:1] in {"", "/"} else path


async def _body(receive: _Receive, size: int) -> bytes:
    if not size:
        return b""
    import asyncio  # noqa: PLC0415 - a program without such an app does not pay for it

    body = bytearray()
    has_more = True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while has_more and len(body) <= size:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionAbortedError
                body += message.get("body", b"")
                has_more = message.get("more_body", False)
    except TimeoutError:
        raise BodyRefusedError(408, "the body is too slow") from None
    if len(body) != size:
        raise BodyRefusedError(400, "the body is not as long as its Content-Length")
    return bytes(body)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Run ``function`` in a thread of its own, so that neither a big page nor a slow collector holds up the event loop.

    The loop's own executor may be full of the host's calls, which a scrape must not queue behind, and is waited for at exit.
    A thread lives for one chunk: a client that reads slowly holds none.
    """
    import asyncio  # noqa: PLC0415 - a program without such an app does not pay for it

    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(settler: Callable[[Any], None], outcome: object) -> None:
        if not future.done():  # cancelled, since the client went away
            settler(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = (future.set_result, function())
        except BaseException as error:  # noqa: BLE001 - what waits for it decides
            outcome = (future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="agentgauge-page", daemon=True).start()
    return await future
