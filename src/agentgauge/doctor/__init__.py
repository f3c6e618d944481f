"""``agentgauge doctor``: what is wrong with how a program is measured, and what to do about it."""

from agentgauge.doctor.command import add_arguments, main

__all__ = ["add_arguments", "main"]
