"""``agentgauge export``: the dashboards, rules and runbooks that agentgauge ships, as files to deploy."""

from agentgauge.export.command import add_arguments, main

__all__ = ["add_arguments", "main"]
