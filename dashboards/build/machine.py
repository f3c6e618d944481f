"""The board "Machine": host, container, GPUs and process that the agents run on, and agentgauge itself."""

from __future__ import annotations

from dashboards.build import container_rows, host_rows, process_rows, self_rows
from dashboards.build.board import Board

__all__ = ["BOARD"]

BOARD = Board(
    "machine",
    "Machine and agentgauge",
    "What the agents run on - host, container, GPUs, process - and what watching them costs.",
    (
        ("Host", host_rows.host),
        ("Container", container_rows.container),
        ("GPU", container_rows.gpu),
        ("Process", process_rows.process),
        ("agentgauge itself", self_rows.itself),
    ),
)
