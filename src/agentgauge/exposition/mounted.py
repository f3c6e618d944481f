"""What the apps show that a web framework mounts: the pages of the server, beneath any path."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from agentgauge.config import Config, is_disabled
from agentgauge.errors import ConfigurationError
from agentgauge.exposition.health_pages import HealthPages
from agentgauge.exposition.incoming import BODY_LIMIT_BYTES, length_of_body
from agentgauge.exposition.receivers import Receivers
from agentgauge.exposition.response import answer, note_scrape, respond
from agentgauge.recording.default import show_default_recorder
from agentgauge.recording.fork_guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.exposition.health_pages import HealthSource
    from agentgauge.exposition.receivers import Receiver
    from agentgauge.exposition.response import Response

__all__ = ["Mounted", "mounted"]


@dataclass(frozen=True, slots=True)
class Mounted:
    """The pages of one registry."""

    registry: CollectorRegistry
    config: Config
    is_ready: Callable[[], bool]
    health: HealthPages | None = None
    receivers: Receivers = field(default_factory=Receivers)

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Answer one request, as the server does.

        Args:
            method: The HTTP method.
            path: The path beneath the mount, decoded; the mount itself is ``/metrics``.
            query: The query, not decoded.
            headers: The request's headers by their names in lower case.
            body: What was sent, where ``body_bytes`` says that it is wanted.
        """
        pages = partial(
            respond,
            registry=self.registry,
            config=self.config,
            is_ready=self.is_ready,
            on_scrape=note_scrape,
            health=self.health,
            receivers=self.receivers,
        )
        return answer(pages, method, f"{_target(path)}?{query}", headers, body)

    def body_bytes(self, method: str, path: str, headers: Mapping[str, str]) -> int:
        """Tell how much of a body is to be read before ``answer()``.

        Raises:
            BodyRefusedError: None of it is; the error answers the request.
        """
        return length_of_body(headers, BODY_LIMIT_BYTES) if self.receivers.takes_body(method, _target(path)) else 0


def _target(path: str) -> str:
    return "/metrics" if path in {"", "/"} else path.replace("?", "%3F")


def mounted(
    registry: CollectorRegistry | None,
    bearer_token: str | None,
    is_ready: Callable[[], bool],
    health: HealthSource | None = None,
    receivers: Iterable[Receiver] = (),
) -> Mounted:
    """Check what an app was given, and show what is recorded in its registry.

    Raises:
        ConfigurationError: An argument, or a variable of the environment, cannot work.
    """
    if registry is not None and not isinstance(registry, CollectorRegistry):
        raise ConfigurationError(f"registry={registry!r}: give a CollectorRegistry of prometheus_client, or leave it out")
    if not callable(is_ready):
        raise ConfigurationError(f"is_ready={is_ready!r}: give a function that returns True or False, or leave it out")
    taking = Receivers(receivers)
    pages = None if health is None else HealthPages(health)
    config = Config.load(bearer_token=bearer_token, is_server_enabled=False)
    shown = REGISTRY if registry is None else registry
    if not is_disabled():
        guard(shown)
        show_default_recorder(shown)
    return Mounted(shown, config, is_ready, pages, taking)
