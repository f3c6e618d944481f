"""What an instrumentor works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import CALLS_SUPPRESSED
from agentgauge.instrumentors.wrapping import around
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.operation import Operation, forsake, suppressed_labels
from agentgauge.recording.patching import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import ExitStack
    from types import ModuleType

    from agentgauge.instrumentors.content import Content
    from agentgauge.instrumentors.wrapping import Begin, Finish
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.series import LmName, SeriesKind

__all__ = ["Kit"]

_NO_OPTIONS: dict[str, Any] = {}  # no proxy: this is unpacked at every call, in no time if it is a dictionary


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

    def begin(self, kind: SeriesKind, name: str, known: dict[str, Any] = _NO_OPTIONS, /, **options: Any) -> Operation:
        """Begin an operation.

        A signal handler that raises never comes between its beginning and its return to a caller that writes no ``**``: CPython
        3.11 looks for signals after a call with these.

        Args:
            kind: What it is.
            name: What it is called.
            known: Options in a dictionary, for callers that have them in one.
            options: Those of ``Operation``.
        """
        operation = Operation.__new__(Operation)
        try:
            Operation.__init__(operation, self.recorder, kind, name, instrumentor=self.name, **known, **options)
        except BaseException:
            forsake(operation)
            raise
        return operation

    def begin_lm(self, lm: LmName, known: dict[str, Any] = _NO_OPTIONS, /, **options: Any) -> LmCall:
        """Begin the call of a language model; see ``begin``."""
        call = LmCall.__new__(LmCall)
        try:
            LmCall.__init__(call, self.recorder, lm, instrumentor=self.name, **known, **options)
        except BaseException:
            forsake(call)
            raise
        return call

    def leave_to_decorator(self, kind: SeriesKind) -> None:
        """Count a call as suppressed that a decorator of agentgauge counts."""
        self.recorder.observe(CALLS_SUPPRESSED, suppressed_labels(self.name, "decorator", kind), 1)

    def patch(self, owner: type | ModuleType, name: str, decorate: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put ``decorate(function)`` in the place of somebody else's function, until everything is undone."""
        self.undo.callback(patch(owner, name, decorate).undo)

    def measure(self, owner: type | ModuleType, name: str, begin: Begin, finish: Finish | None = None) -> None:
        """Put an operation around each call of somebody else's function; see ``around``."""
        self.patch(owner, name, lambda function: around(function, begin, finish, hook=self.name))
