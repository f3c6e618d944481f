"""Alerts by HTTP, for programs of one's own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.notification.destination import Destination, is_loopback, require_ca_file, require_secret
from agentgauge.notification.posting import Endpoint, host_of, require_url
from agentgauge.notification.text import as_data
from agentgauge.requirements import require_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.notification.alerts import Notification
    from agentgauge.notification.deadline import Deadline

__all__ = ["WebhookDestination"]


@dataclass(frozen=True, slots=True, repr=False)
class WebhookDestination(Destination):
    """Posts a JSON object by the schema in docs/notification.md; any answer of 2xx means that it was taken.

    Attributes:
        url: Where to; its path and query may be secrets and are never shown.
        bearer_token: Goes as ``Authorization: Bearer ...``; needs https, but on loopback.
        signing_secret: Signs each request: ``Agentgauge-Signature: t=<Unix time>,v1=<hex>``, the HMAC-SHA256 of the time, a full
            stop and the body. The receiver computes the same and refuses what is old.
        ca_file: Authorities that the server's certificate may be of; those of the system unless given.
        tries: How often one message is sent while the server cannot be reached or answers 408, 425, 429 or from 500 on.

    Raises:
        ConfigurationError: A value cannot work; the message names it, not its secret, and the fix.
    """

    url: str
    bearer_token: str = ""
    signing_secret: str = ""
    ca_file: str | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        Destination.__post_init__(self)
        parts = require_url("url", self.url)
        require_secret("bearer_token", self.bearer_token)
        require_secret("signing_secret", self.signing_secret)
        require_ca_file(self.ca_file)
        require_count("tries", self.tries, "3")
        if self.bearer_token and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ConfigurationError("url: a bearer token goes over https only, or to loopback; or sign with signing_secret")

    def deliver(self, notifications: Sequence[Notification], deadline: Deadline) -> None:
        """Post it."""
        body = json.dumps(as_data(notifications, self.origin), allow_nan=False).encode()
        Endpoint(self.url, self.tries, self.ca_file).post(body, lambda: self._headers(body), deadline)

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.bearer_token}"} if self.bearer_token else {}
        if self.signing_secret:
            at = str(int(time.time()))
            signature = hmac.new(self.signing_secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            headers["Agentgauge-Signature"] = f"t={at},v1={signature}"
        return headers

    def __repr__(self) -> str:
        return f"WebhookDestination(name={self.name!r}, host={host_of(self.url)!r})"
