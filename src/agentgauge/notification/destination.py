"""Where messages about alerts go: what all destinations have in common."""

from __future__ import annotations

import ipaddress
import smtplib
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.error import URLError

from agentgauge.errors import ConfigurationError
from agentgauge.notification.alerts import Notification
from agentgauge.notification.deadline import Deadline
from agentgauge.notification.delivery import Delivery, DeliveryError, Routed
from agentgauge.notification.origin import Origin, origin_of
from agentgauge.requirements import require_name, require_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Destination", "is_loopback", "require_ca_file", "require_secret", "tls_context"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Destination(ABC):
    """What can be told of alerts, one or several at a time; a handler of alerts.

    A subclass is a frozen dataclass with ``deliver``. What that raises reaches nobody but as the text of a ``DeliveryError``
    that names the error's type, since errors of libraries quote addresses with their secrets.

    Attributes:
        name: The label ``handler`` of its series; the class's name unless given. Two of one class need names of their own.
        service: The service that messages say they are from; ``AGENTGAUGE_SERVICE_NAME`` or ``OTEL_SERVICE_NAME`` unless given.
        timeout_seconds: How long one delivery may take, its retries included; less where the handler's time limit is sooner.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    takes_groups: ClassVar[bool] = True
    default_policy: ClassVar[Delivery] = Delivery()

    name: str = ""
    service: str = ""
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.name != "":
            require_name("name", self.name, "on-call")
        if self.service != "":
            require_name("service", self.service, "research-swarm")
        require_seconds("timeout_seconds", self.timeout_seconds, "10")

    @abstractmethod
    def deliver(self, notifications: Sequence[Notification], deadline: Deadline) -> None:
        """Send one message, within the deadline.

        Args:
            notifications: What it tells, at least one.
            deadline: How long it may take.

        Raises:
            DeliveryError: It was not taken; the text, which is logged, bears no secret.
            Exception: Anything else, of which nothing but what is known to be harmless is kept.
        """

    def __call__(self, told: Notification | Sequence[Notification]) -> None:
        """Send a message at once, in the calling thread.

        Args:
            told: One notification, or all that go in one message.

        Raises:
            DeliveryError: It could not be sent.
        """
        notifications = (told,) if isinstance(told, Notification) else tuple(told)
        if not notifications:
            return
        deadline = Deadline(self.timeout_seconds)
        try:
            self.deliver(notifications, deadline)
            return
        except DeliveryError as error:
            text, retry_after_seconds = str(error), error.retry_after_seconds
        except Exception as error:  # noqa: BLE001 - whatever libraries raise; it is described
            text, retry_after_seconds = describe(error), None
        if not deadline.left():
            text += "; there was no more time"
        # Outside of the handler: an error of a library in its context would be logged with it.
        raise DeliveryError(f"{self.name or type(self).__name__}: {text}", retry_after_seconds)

    @property
    def origin(self) -> Origin:
        """Where messages say that they are from: the service, the host and the process."""
        return origin_of(self.service)

    def with_policy(self, policy: Delivery) -> Routed:
        """Return what is told by ``policy`` instead of the destination's own."""
        return Routed(self, policy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


def describe(error: BaseException) -> str:
    """Say what went wrong, without anything that an error may quote: its type, and what the system or OpenSSL says of it."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    name = type(error).__name__
    if isinstance(error, smtplib.SMTPException):  # the server's text may quote who logged in
        code = getattr(error, "smtp_code", None)
        return name if code is None else f"{name}: {code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{name}: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"{name}: {error.reason}"
    if isinstance(error, OSError) and error.strerror and isinstance(error.errno, int):
        return f"{name}: {error.strerror}"
    return name


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_secret(setting: str, value: object) -> None:
    """Refuse what cannot be sent as a secret; the message does not quote it.

    Raises:
        ConfigurationError: It is no text of ASCII characters without white space.
    """
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{setting}: give a text of ASCII characters without white space (what was given is not shown)")


def require_ca_file(value: object) -> None:
    """Refuse what is no file of certificates.

    Raises:
        ConfigurationError: It is not.
    """
    if value is None:
        return
    try:
        ssl.create_default_context(cafile=str(Path(str(value))))
    except OSError as error:
        raise ConfigurationError(f"ca_file={value!r}: give a file of certificates in PEM ({describe(error)})") from None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what verifies a server's certificate and name, by ``ca_file`` in the place of the system's authorities if given."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
