"""The local history: the series of a program in one SQLite file, finer where they are young."""

from agentgauge.analytics.history.retention import Retention
from agentgauge.analytics.history.store import History

__all__ = ["History", "Retention"]
