"""Analytics: the local history, what it means, and reports that people read.

What agents subclass is here. Each topic is a module of its own: ``history``, ``sources``, ``trends``, ``forecasts``,
``anomalies``, ``explain``, ``recommend``, ``slo``, ``compare``.
"""

import typing as _typing

from agentgauge.fork_gate import load as _load

if _typing.TYPE_CHECKING:
    from agentgauge.analytics.base import BaseAnalytics
    from agentgauge.analytics.infrastructure import InfrastructureAnalytics
else:
    # Loaded when first asked for: whoever reads a history does without them, and they load sqlite3.
    _LATE = {
        "BaseAnalytics": "agentgauge.analytics.base",
        "InfrastructureAnalytics": "agentgauge.analytics.infrastructure",
    }

    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(_load(_LATE[name]), name)
        return globals()[name]


__all__ = ["BaseAnalytics", "InfrastructureAnalytics"]
