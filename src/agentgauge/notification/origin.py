"""Which process tells of alerts, so that those who are told know where to look."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

__all__ = ["Origin", "origin_of"]

_LONGEST_NAME = 100
_VARIABLES = ("AGENTGAUGE_SERVICE_NAME", "OTEL_SERVICE_NAME")


@dataclass(frozen=True, slots=True)
class Origin:
    """A process of a service on a host.

    Attributes:
        service: The service's name; empty where nobody said it.
        host: The host's name.
        process_id: The process on that host.
    """

    service: str
    host: str
    process_id: int

    def __str__(self) -> str:
        return f"{self.service or 'process'} on {self.host} [{self.process_id}]"


def origin_of(service: str = "") -> Origin:
    """Return what this process is: of ``service``, else of what the environment names as OpenTelemetry does."""
    names = (service, *(os.environ.get(variable, "") for variable in _VARIABLES))
    name = next((cut for name in names if (cut := _cut(name))), "")
    return Origin(name, _cut(socket.gethostname()), os.getpid())


def _cut(name: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in name[: 2 * _LONGEST_NAME])
    return " ".join(printable.split())[:_LONGEST_NAME]
