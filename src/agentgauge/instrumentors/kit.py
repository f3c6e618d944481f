"""What an instrumentor works with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import CALLS_SUPPRESSED, INSTRUMENTOR
from agentgauge.instrumentors.wrapping import around
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.patching import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import ExitStack
    from types import ModuleType

    from agentgauge.instrumentors.content import Content
    from agentgauge.instrumentors.wrapping import Begin, Finish
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import LmName, SeriesKind

__all__ = ["Kit"]


@dataclass(frozen=True)
class Kit:
    """What ``instrument(kit)`` of each framework's file is given.

    Attributes:
        name: The framework's name in ``roster``; the label ``instrumentor``.
        recorder: Where calls are recorded.
        content: What may be kept of prompts and answers.
        undo: What gives everything back.
        active: The names of all that are instrumented now.
    """

    name: str
    recorder: Recorder
    content: Content
    undo: ExitStack
    active: Collection[str] = ()

    @cached_property
    def labels(self) -> Labels:
        """The labels of its self-observation."""
        return ((INSTRUMENTOR, self.name),)

    def begin(self, kind: SeriesKind, name: str, **options: Any) -> Operation:
        """Begin an operation; the options are those of ``Operation``."""
        return Operation(self.recorder, kind, name, instrumentor=self.name, **options)

    def begin_lm(self, lm: LmName, **options: Any) -> LmCall:
        """Begin the call of a language model; the options are those of ``Operation``."""
        return LmCall(self.recorder, lm, instrumentor=self.name, **options)

    def leave_to_decorator(self, kind: SeriesKind) -> None:
        """Count a call as suppressed that a decorator of agentgauge counts."""
        self.recorder.observe(CALLS_SUPPRESSED, (*self.labels, ("owner", "decorator"), ("kind", kind.value)), 1)

    def patch(self, owner: type | ModuleType, name: str, decorate: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put ``decorate(function)`` in the place of somebody else's function, until everything is undone."""
        self.undo.callback(patch(owner, name, decorate).undo)

    def measure(self, owner: type | ModuleType, name: str, begin: Begin, finish: Finish | None = None) -> None:
        """Put an operation around each call of somebody else's function; see ``around``."""
        self.patch(owner, name, lambda function: around(function, begin, finish, hook=self.name))
