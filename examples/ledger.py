"""What the examples counted themselves, in plain Python, so that what Prometheus says can be compared with something."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Ledger", "outcome_of"]

Kind = Literal["task", "tool", "workflow"]

_DURATIONS_KEPT = 10_000


def outcome_of(error: BaseException | None) -> str:
    """Name the outcome of a call that ``error`` left, as a reader of the code would."""
    match error:
        case None:
            return "success"
        case TimeoutError():
            return "timeout"
        case asyncio.CancelledError():
            return "cancelled"
        case GeneratorExit():
            return "abandoned"
        case _:
            return "error"


def type_of(error: BaseException | None) -> str:
    """Name the type of ``error`` with its module, a built-in one without; an empty string for none."""
    if error is None:
        return ""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@dataclass
class Ledger:
    """Thread-safe counts of everything that happened in one run of an example.

    Attributes:
        calls: Ended calls by (kind, agent, name, outcome, type of the exception that left or "").
        in_progress: Calls that started and have not ended, by (kind, agent, name).
        durations: The last durations in seconds by (agent, task), whatever the outcome.
        lm_calls: Calls of the language model by outcome: ``success``, or the name of the error.
        own_lm_calls: How many of them the demo's own code made, without a framework: no instrumentor sees those.
        tokens: Tokens by direction, ``input`` and ``output``.
        faults: Faults that were injected on purpose, by kind.
        questions: Questions by what became of them.
    """

    calls: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    in_progress: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    durations: defaultdict[tuple[str, str], deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_DURATIONS_KEPT))
    )
    lm_calls: Counter[str] = field(default_factory=Counter)
    own_lm_calls: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def task(self, agent: str, name: str) -> _Entry:
        """Count the block of a ``with`` as one call of an agent's task."""
        return _Entry(self, "task", agent, name)

    def tool(self, agent: str, name: str) -> _Entry:
        """Count the block of a ``with`` as one call of a tool by an agent."""
        return _Entry(self, "tool", agent, name)

    def workflow(self, name: str) -> _Entry:
        """Count the block of a ``with`` as one run of a workflow."""
        return _Entry(self, "workflow", "", name)

    def note_lm_call(self, outcome: str, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Count one call of the language model and the tokens that it took."""
        with self.lock:
            self.lm_calls[outcome] += 1
            self.tokens["input"] += input_tokens
            self.tokens["output"] += output_tokens

    def note_own_lm_call(self) -> None:
        """Count one call of the language model that no framework makes, as it begins."""
        with self.lock:
            self.own_lm_calls += 1

    def note_fault(self, kind: str) -> None:
        """Count one fault that was injected on purpose."""
        with self.lock:
            self.faults[kind] += 1

    def note_question(self, fate: str) -> None:
        """Count one question: ``asked``, then ``answered``, ``failed`` or ``cancelled``; or ``turned away``."""
        with self.lock:
            self.questions[fate] += 1

    def count(self, kind: Kind, agent: str | None = None, name: str | None = None, outcome: str | None = None) -> int:
        """Count the ended calls that match every given criterion."""
        with self.lock:
            return sum(
                count
                for (a_kind, an_agent, a_name, an_outcome, _), count in self.calls.items()
                if a_kind == kind and agent in {None, an_agent} and name in {None, a_name} and outcome in {None, an_outcome}
            )

    def quantiles(self, agent: str, name: str) -> tuple[float, float]:
        """The median and the 95th percentile of a task's durations in seconds; zeros before its first end."""
        with self.lock:
            durations = list(self.durations[agent, name])
        if len(durations) < 2:  # noqa: PLR2004 - statistics.quantiles needs two points
            return (durations or [0.0])[0], (durations or [0.0])[0]
        cuts = statistics.quantiles(durations, n=20, method="inclusive")
        return cuts[9], cuts[18]

    def names(self, kind: Kind) -> list[tuple[str, str]]:
        """The pairs of agent and name of that kind that were called, sorted."""
        with self.lock:
            return sorted((agent, name) for a_kind, agent, name in self.in_progress if a_kind == kind)

    def as_dict(self) -> dict[str, Any]:
        """The ledger as plain data, every count with its labels beside it."""
        with self.lock:
            return {
                "calls": [
                    {"kind": kind, "agent": agent, "name": name, "outcome": outcome, "error_type": error_type, "count": count}
                    for (kind, agent, name, outcome, error_type), count in sorted(self.calls.items())
                ],
                "in_progress": [
                    {"kind": kind, "agent": agent, "name": name, "count": count}
                    for (kind, agent, name), count in sorted(self.in_progress.items())
                    if count
                ],
                "lm_calls": dict(self.lm_calls),
                "tokens": dict(self.tokens),
                "faults": dict(self.faults),
                "questions": dict(self.questions),
            }

    def write(self, path: Path) -> None:
        """Write the ledger as JSON; a reader sees the whole file or none."""
        draft = path.with_name(path.name + ".draft")
        draft.write_text(json.dumps(self.as_dict(), indent=2) + "\n")
        draft.replace(path)


class _Entry:
    """One call, counted when its ``with`` block ends, however it ends."""

    def __init__(self, ledger: Ledger, kind: Kind, agent: str, name: str) -> None:
        self._ledger = ledger
        self._key = (kind, agent, name)
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        with self._ledger.lock:
            self._ledger.in_progress[self._key] += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds = time.perf_counter() - self._start
        with self._ledger.lock:
            self._ledger.in_progress[self._key] -= 1
            self._ledger.calls[*self._key, outcome_of(error), type_of(error)] += 1
            if self._key[0] == "task":
                self._ledger.durations[self._key[1:]].append(seconds)
