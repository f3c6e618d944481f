"""Where something moved: in one instance of several, or in all."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.explain.both import read_both
from agentgauge.analytics.explain.moves import least_change
from agentgauge.analytics.signals import SOURCE_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.explain.moves import Moved
    from agentgauge.analytics.frames import Grid, Source

__all__ = ["one_instance"]

_OTHERS = 0.35


def one_instance(moved: Moved, source: Source, before: Grid, window: Grid) -> Mapping[str, str]:
    """Return job and instance where one alone moved; nothing where several did, or where there is one only.

    Raises:
        SourceError: The source cannot be asked.
    """
    signal = moved.signal
    if any(name in signal.labels for name in SOURCE_LABELS):
        return {name: signal.labels[name] for name in SOURCE_LABELS if name in signal.labels}
    changes = []
    for one in read_both(signal.measure, source, before, window, per_instance=True):
        if any(one.labels.get(name) != value for name, value in signal.labels.items()):
            continue
        earlier = [value for value in list(one.values)[: moved.move.onset] if not math.isnan(value)]
        later = [value for value in list(one.values)[moved.move.onset :] if not math.isnan(value)]
        if len(earlier) > 2 and len(later) > 2:  # noqa: PLR2004 - a median of fewer says nothing
            changes.append((moved.sign * (median(later) - median(earlier)), median(earlier), one))
    changes.sort(key=lambda change: change[0], reverse=True)
    if len(changes) < 2 or changes[0][0] < least_change(signal, changes[0][1]):  # noqa: PLR2004 - one of several
        return {}
    if any(change > _OTHERS * changes[0][0] for change, *_ in changes[1:]):
        return {}
    labels = changes[0][2].labels
    return {name: labels[name] for name in SOURCE_LABELS if name in labels}
