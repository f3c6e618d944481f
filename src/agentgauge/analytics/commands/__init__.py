"""The commands that answer questions: ``agentgauge report``, ``trends``, ``anomalies`` and their kin."""

from agentgauge.analytics.commands.course import add_arguments, main

__all__ = ["add_arguments", "main"]
