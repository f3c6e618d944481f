"""Alerts by e-mail."""

from __future__ import annotations

import io
import logging
import smtplib
import socket
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate, getaddresses, make_msgid
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentgauge.errors import ConfigurationError
from agentgauge.notification.alerts import Event
from agentgauge.notification.deadline import PacedReader
from agentgauge.notification.destination import Destination, is_loopback, require_ca_file, tls_context
from agentgauge.notification.text import details, digest_of, headline, one_line
from agentgauge.requirements import require_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.notification.alerts import Alert, Notification
    from agentgauge.notification.deadline import Deadline
    from agentgauge.notification.origin import Origin

__all__ = ["EmailDestination"]

_logger = logging.getLogger("agentgauge")

Security = Literal["starttls", "tls", "none"]
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_MOST_PORT = 65_535
_MOST_SHOWN = 100
_MOST_REFERENCES = 20  # a header of some 1,000 characters
_DOMAIN = "alerts.agentgauge.invalid"  # of message ids, which must be nobody's (RFC 2606)


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class EmailDestination(Destination):
    """Sends mail through an SMTP server; what tells of one alert from its start to its end is one thread.

    Attributes:
        host: The server.
        sender: The address in ``From``, such as ``"Agents <agents@example.com>"``.
        recipients: Those in ``To``.
        port: The server's port; unless given 587 for ``starttls``, 465 for ``tls``, 25 for ``none``.
        security: ``starttls``, without which nothing is sent; ``tls`` from the first byte; or ``none``, with credentials on
            loopback alone.
        username: Who logs in; nobody unless given.
        password: Their password.
        ca_file: Authorities that the server's certificate may be of; those of the system unless given.
        subject_prefix: What subjects begin with.

    Raises:
        ConfigurationError: A value cannot work; the message names it, not its secret, and the fix.
    """

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int | None = None
    security: Security = "starttls"
    username: str = ""
    password: str = ""
    ca_file: str | None = None
    subject_prefix: str = ""
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        Destination.__post_init__(self)
        require_name("host", self.host, "smtp.example.com")
        if self.security not in get_args(Security):
            raise ConfigurationError(f"security={self.security!r}: give one of {', '.join(get_args(Security))}")
        if self.port is not None and (
            not isinstance(self.port, int) or isinstance(self.port, bool) or not 0 < self.port <= _MOST_PORT
        ):
            raise ConfigurationError(f"port={self.port!r}: give a number from 1 to {_MOST_PORT}, or leave it out")
        object.__setattr__(self, "sender", _address("sender", self.sender))
        if not isinstance(self.recipients, list | tuple) or not self.recipients:
            raise ConfigurationError(f"recipients={self.recipients!r}: give addresses, such as ['on-call@example.com']")
        object.__setattr__(self, "recipients", tuple(_address("recipients", one) for one in self.recipients))
        for setting in ("username", "password", "subject_prefix"):
            value = getattr(self, setting)
            if not isinstance(value, str) or not (value == "" or value.isprintable()):
                raise ConfigurationError(f"{setting}: give a text that can be printed (what was given is not shown)")
        if bool(self.username) != bool(self.password):
            raise ConfigurationError("username, password: give both or neither")
        if self.username and self.security == "none" and not is_loopback(self.host):
            raise ConfigurationError(f"security='none': {self.host} would get the password unencrypted; give 'starttls' or 'tls'")
        require_ca_file(self.ca_file)

    def deliver(self, notifications: Sequence[Notification], deadline: Deadline) -> None:
        """Send it in one transaction."""
        message = self._message(notifications)
        with self._connect(deadline) as client:
            if self.username:
                client.login(self.username, self.password)
            refused = client.send_message(message)
        if refused:  # by some only, else it would have raised; sending it again would reach the others twice
            _logger.warning("%d of %d recipients of an alert were refused by the mail server", len(refused), len(self.recipients))

    def _connect(self, deadline: Deadline) -> smtplib.SMTP:
        port = self.port or _PORTS[self.security]
        # Unless given a name, smtplib asks the resolver for one, which may take long.
        name, seconds = socket.gethostname(), deadline.timeout()
        name = name if "." in name and name.isascii() else "[127.0.0.1]"
        if self.security == "tls":
            return _TlsClient(deadline, self.host, port, name, timeout=seconds, context=tls_context(self.ca_file))
        client = _Client(deadline, self.host, port, name, timeout=seconds)
        if self.security == "starttls":
            try:
                client.starttls(context=tls_context(self.ca_file))
            except BaseException:
                client.close()
                raise
        return client

    def _message(self, notifications: Sequence[Notification]) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        origin = self.origin
        service = f"[{origin.service}] " if origin.service else ""
        message["Subject"] = one_line(f"{self.subject_prefix} {service}{headline(notifications)}", 200)
        message["Date"] = formatdate()
        threads = list(dict.fromkeys(_thread_of(notification.alert, origin) for notification in notifications))
        if len(notifications) == 1 and notifications[0].event is Event.STARTED:
            message["Message-ID"] = threads[0]  # sent twice it is the same mail
        else:
            message["Message-ID"] = make_msgid(domain=_DOMAIN)
            message["References"] = " ".join(threads[:_MOST_REFERENCES])
            if len(threads) == 1:
                message["In-Reply-To"] = threads[0]
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer of a machine, please
        message.set_content(_text(notifications, origin))
        return message

    def __repr__(self) -> str:
        return f"EmailDestination(name={self.name!r}, host={self.host!r})"


class _Client(smtplib.SMTP):
    """A connection on which every wait ends at the deadline."""

    def __init__(self, deadline: Deadline, *arguments: Any, **settings: Any) -> None:
        self._deadline = deadline
        super().__init__(*arguments, **settings)

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer of the server, from the greeting on."""
        if self.file is None and self.sock is not None:  # as after STARTTLS, too
            self.file = io.BufferedReader(PacedReader(self.sock, self._deadline))
        return super().getreply()


class _TlsClient(_Client, smtplib.SMTP_SSL):
    """One that is encrypted from the first byte."""


def _text(notifications: Sequence[Notification], origin: Origin) -> str:
    parts = []
    for notification in notifications[:_MOST_SHOWN]:
        lines = (f"  {title}: {text}" for title, text in details(notification, origin))
        parts.append("\n".join((one_line(notification), *lines)))
    if len(notifications) > _MOST_SHOWN:
        parts.append(f"and {len(notifications) - _MOST_SHOWN} more")
    return "\n\n".join(parts) + "\n"


def _thread_of(alert: Alert, origin: Origin) -> str:
    """Return what all mail about one alert refers to, from its start to its end."""
    return f"<{digest_of(alert, alert.started_at, str(origin))}@{_DOMAIN}>"


def _address(setting: str, value: object) -> str:
    """Return one address as a header takes it.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(value, str) and value.isprintable():
        found = getaddresses([value])
        if len(found) == 1:
            name, address = found[0]
            local, _, domain = address.rpartition("@")
            if local and domain and address.isascii() and " " not in address:
                try:
                    EmailMessage(policy=SMTP)["To"] = formatted = formataddr((name, address))
                except (MessageError, ValueError, IndexError):
                    pass
                else:
                    return formatted
    raise ConfigurationError(f"{setting}={value!r}: give an address of ASCII characters, such as 'Agents <agents@example.com>'")
