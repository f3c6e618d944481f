"""What the apps show that a web framework mounts: the pages of the server, beneath any path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from agentgauge.config import Config, is_disabled
from agentgauge.errors import ConfigurationError
from agentgauge.exposition.response import answer, note_scrape, respond
from agentgauge.recording.default import show_default_recorder
from agentgauge.recording.fork_guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.exposition.response import Response

__all__ = ["Mounted", "mounted"]


@dataclass(frozen=True, slots=True)
class Mounted:
    """The pages of one registry."""

    registry: CollectorRegistry
    config: Config
    is_ready: Callable[[], bool]

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Response:
        """Answer one request, as the server does.

        Args:
            method: The HTTP method.
            path: The path beneath the mount, decoded; the mount itself is ``/metrics``.
            query: The query, not decoded.
            headers: The request's headers by their names in lower case.
        """
        target = "/metrics" if path in {"", "/"} else path.replace("?", "%3F")
        pages = partial(respond, registry=self.registry, config=self.config, is_ready=self.is_ready, on_scrape=note_scrape)
        return answer(pages, method, f"{target}?{query}", headers)


def mounted(registry: CollectorRegistry | None, bearer_token: str | None, is_ready: Callable[[], bool]) -> Mounted:
    """Check what an app was given, and show what is recorded in its registry.

    Raises:
        ConfigurationError: An argument, or a variable of the environment, cannot work.
    """
    if registry is not None and not isinstance(registry, CollectorRegistry):
        raise ConfigurationError(f"registry={registry!r}: give a CollectorRegistry of prometheus_client, or leave it out")
    if not callable(is_ready):
        raise ConfigurationError(f"is_ready={is_ready!r}: give a function that returns True or False, or leave it out")
    config = Config.load(bearer_token=bearer_token, is_server_enabled=False)
    shown = REGISTRY if registry is None else registry
    if not is_disabled():
        guard(shown)
        show_default_recorder(shown)
    return Mounted(shown, config, is_ready)
