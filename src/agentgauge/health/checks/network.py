"""``TcpCheck`` and ``DnsCheck``: a port takes connections, a name has addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.settings import NamedCheck, require_host, require_port, require_slow, slow
from agentgauge.health.checks.wire import Deadline, Wire, look_up
from agentgauge.health.status import ComponentType, Finding, Status

__all__ = ["DnsCheck", "TcpCheck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCheck(NamedCheck):
    """A port takes connections; nothing is sent.

    Attributes:
        host: A name or an address.
        port: The port.
        slow_seconds: Above how many seconds a connection, the look-up of the name included, is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.NETWORK
    host: str
    port: int
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_host(self.host)
        require_port(self.port)
        require_slow(self.slow_seconds)

    def check(self) -> Finding:
        """Connect once."""
        subject = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        deadline = Deadline(self.patience_seconds)
        try:
            Wire.to(self.host, self.port, deadline).close()
        except Exception as error:  # noqa: BLE001 - what is raised is what was found
            return explain(error, subject)
        seconds = deadline.spent
        found = Finding(status=Status.HEALTHY, message=f"{subject}: connected", details={"seconds": round(seconds, 6)})
        return slow(found, subject, seconds, self.slow_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsCheck(NamedCheck):
    """A name has addresses, by the resolver of the system: ``/etc/hosts`` and search domains included.

    Attributes:
        host: The name.
        expected_addresses: Addresses that must be among those found; others may be, too.
        slow_seconds: Above how many seconds a look-up is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.NETWORK
    host: str
    expected_addresses: Iterable[str] = ()
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_host(self.host)
        require_slow(self.slow_seconds)
        fix = "give a list of addresses, such as ['192.0.2.1', '2001:db8::1']"
        if not isinstance(self.expected_addresses, Iterable) or isinstance(self.expected_addresses, str):
            raise ConfigurationError(f"expected_addresses={self.expected_addresses!r}: {fix}")
        try:
            addresses = tuple(str(ipaddress.ip_address(address)) for address in self.expected_addresses)
        except ValueError as error:
            raise ConfigurationError(f"expected_addresses: {error}; {fix}") from None
        object.__setattr__(self, "expected_addresses", addresses)

    def check(self) -> Finding:
        """Look the name up once."""
        deadline = Deadline(self.patience_seconds)
        try:
            answers = look_up(self.host, 0, deadline)
        except Exception as error:  # noqa: BLE001 - what is raised is what was found
            return explain(error, self.host)
        seconds = deadline.spent
        # a link-local address has its interface behind a %
        found = sorted({str(ipaddress.ip_address(str(address[0]).partition("%")[0])) for *_, address in answers})
        details = {"addresses": found, "seconds": round(seconds, 6)}
        if missing := [address for address in self.expected_addresses if address not in found]:
            return Finding(
                status=Status.CRITICAL,
                message=f"{self.host}: it leads to {', '.join(found)}, not to {', '.join(missing)}",
                condition="address",
                suggestions=(
                    "The record was changed, or the change has not come here yet: compare with the authoritative server.",
                    "A hosts file, a search domain or another resolver answers in its place.",
                ),
                details=details,
            )
        healthy = Finding(status=Status.HEALTHY, message=f"{self.host}: {', '.join(found)}", details=details)
        return slow(healthy, self.host, seconds, self.slow_seconds)
