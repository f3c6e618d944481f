"""What an explanation consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.deploys import Deploy
    from agentgauge.analytics.explain.critical_path import CriticalPath
    from agentgauge.analytics.frames import Grid
    from agentgauge.analytics.signals import Signal

__all__ = ["Cause", "Explanation", "Role"]


class Role(StrEnum):
    """What a signal that moved is in the explanation.

    A ``SYMPTOM`` followed from a cause, or is one finding with it: at about the same time in the same instance, of the same
    agent, model or tool, or in other instances. A ``BYSTANDER`` moved, but nothing that people feel followed from it.
    """

    CAUSE = "cause"
    SYMPTOM = "symptom"
    BYSTANDER = "bystander"


@dataclass(frozen=True, slots=True, eq=False)
class Cause:
    """A signal that moved, and what it is in the explanation.

    Attributes:
        signal: What moved, over the window and the time before.
        role: Whether it is a likely cause, a symptom of one, or neither.
        labels: Of whom: those of the signal, and ``job`` and ``instance`` where only one instance moved.
        onset: When it began to move, Unix time in seconds.
        lag_seconds: How long after its cause it began; of what has none, after the likeliest, or the beginning of the window.
        effect: Cliff's delta of the window since the onset over the time before: 1 where all is higher, -1 where all is lower.
        p_value: Of a rank test on means of blocks, corrected for all signals that were looked at (Benjamini and Hochberg, 1995).
        before: Its median before.
        after: Its median since the onset.
        weight: By which causes are ranked: its own change and those that it explains.
        explains: The titles of what followed from it, the strongest first; empty but for a cause.
        parts: The titles of the symptoms that are one finding with it; empty but for a cause.
        caused_by: The title of its cause; empty for a cause and a bystander.
        sentence: All that in plain words.
        advice: Where to look next.
        query: The PromQL that shows it.
        bounds: Of a percentile, those of the buckets that it is read from: between two of them a value is a guess.
        deploy: The change of version, or the restart, that a likely cause came with; None where there was none.
    """

    signal: Signal
    role: Role
    labels: Mapping[str, str]
    onset: float
    lag_seconds: float
    effect: float
    p_value: float
    before: float
    after: float
    weight: float
    explains: tuple[str, ...]
    parts: tuple[str, ...]
    caused_by: str
    sentence: str
    advice: str
    query: str
    bounds: tuple[float, ...] = ()
    deploy: Deploy | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What moved in a window, and why.

    Attributes:
        window: What was explained.
        before: What it was compared with.
        causes: Likely causes, the likeliest first; empty where none was found.
        symptoms: What followed from them, or is one finding with one of them, the strongest first.
        bystanders: What moved too, but neither explains what people feel nor follows from a cause.
        looked_at: How many signals there were.
        critical_path: Where the slowest traces spent their time; None without spans.
        conclusion: One or two sentences in plain words.
    """

    window: Grid
    before: Grid
    causes: tuple[Cause, ...]
    symptoms: tuple[Cause, ...]
    bystanders: tuple[Cause, ...]
    looked_at: int
    critical_path: CriticalPath | None
    conclusion: str

    @property
    def moved(self) -> tuple[Cause, ...]:
        """All that moved: causes, symptoms, bystanders."""
        return (*self.causes, *self.symptoms, *self.bystanders)
