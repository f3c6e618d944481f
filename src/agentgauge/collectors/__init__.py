"""Readings of the host and of this process, taken when a scrape asks for them."""

from __future__ import annotations

from agentgauge.collectors.roster import build
from agentgauge.collectors.sweep import Sweep

__all__ = ["Sweep", "build"]
