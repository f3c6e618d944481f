"""Alerts in a channel of Slack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.notification.alerts import Event
from agentgauge.notification.destination import Destination, is_loopback, require_ca_file
from agentgauge.notification.posting import Endpoint, host_of, require_url
from agentgauge.notification.text import details, headline, one_line
from agentgauge.requirements import require_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.notification.alerts import Notification
    from agentgauge.notification.deadline import Deadline
    from agentgauge.notification.origin import Origin

__all__ = ["SlackDestination"]

_COLOURS = {"info": "#439fe0", "warning": "#daa038", "critical": "#d00000"}
_COLOUR_OF_ENDED = "#2eb886"
_MOST_SHOWN = 15
_MOST_CHARACTERS = 580  # a block takes 3,000, and an escaped character is up to five


@dataclass(frozen=True, slots=True, repr=False)
class SlackDestination(Destination):
    """Posts to an incoming webhook of Slack, or of what takes the same, such as Mattermost.

    What alerts say is escaped as Slack asks (``&``, ``<``, ``>``), so that none can mention a channel or hide a link.

    Attributes:
        url: The webhook's address, all of which is a secret.
        ca_file: Authorities that the server's certificate may be of; those of the system unless given.
        tries: How often one message is sent while the server cannot be reached or answers 408, 425, 429 or from 500 on.

    Raises:
        ConfigurationError: A value cannot work; the message names it, not its secret, and the fix.
    """

    url: str
    ca_file: str | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        Destination.__post_init__(self)
        parts = require_url("url", self.url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ConfigurationError(
                "url: it is a secret, and goes over https only, or to loopback (what was given is not shown)"
            )
        require_ca_file(self.ca_file)
        require_count("tries", self.tries, "3")

    def deliver(self, notifications: Sequence[Notification], deadline: Deadline) -> None:
        """Post it."""
        attachments = [_attachment(notification, self.origin) for notification in notifications[:_MOST_SHOWN]]
        title = _escaped(headline(notifications))
        if len(notifications) > _MOST_SHOWN:
            title += f" ({len(notifications) - _MOST_SHOWN} of them not shown)"
        body = json.dumps({"text": title, "attachments": attachments}).encode()
        Endpoint(self.url, self.tries, self.ca_file).post(body, dict, deadline)

    def __repr__(self) -> str:
        return f"SlackDestination(name={self.name!r}, host={host_of(self.url)!r})"


def _attachment(notification: Notification, origin: Origin) -> dict[str, Any]:
    colour = _COLOUR_OF_ENDED if notification.event is Event.ENDED else _COLOURS[notification.alert.severity]
    lines = "\n".join(f"{title}: {text}" for title, text in details(notification, origin))
    summary = one_line(notification)
    text = f"*{_escaped(summary)}*\n{_escaped(lines[: max(0, _MOST_CHARACTERS - len(summary))])}"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
    return {"color": colour, "fallback": _escaped(summary), "blocks": [section]}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
