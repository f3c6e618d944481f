"""``agentgauge top``: agents at work, in the terminal."""

from agentgauge.analytics.top.command import add_arguments, main

__all__ = ["add_arguments", "main"]
