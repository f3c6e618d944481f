"""What was out of the ordinary, and what is told with it: anomalies that touch in time and are about the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentgauge.analytics.signals import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.analytics.signals import Signal

__all__ = ["Anomaly", "told_once"]

_TOLD_APART = ("gen_ai_agent_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_tool_name", "source", "target")
_TOLD_AFTER = {"spike": 1, "variance": 2, "together": 2}  # a level that changes sways, too: the level is what there is to tell
_SILENT = "missing"
_SLACK_STEPS = 2  # what comes seldom is silent a little earlier and later than what comes often
_MACHINE = frozenset({Subject.PROCESS, Subject.HOST})


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A stretch in which a signal was out of the ordinary.

    Attributes:
        signal: What; of the shape ``together`` the one that is farthest from what the others let expect.
        start: When it began, Unix time in seconds: the beginning of the first step.
        end: When it ended: the end of the last step; the end of the window where it goes on.
        shape: ``spike``, ``level_shift``, ``drift``, ``variance``, ``missing``, or ``together``: series that do not go
            together as they do else.
        score: As a multiple of the limit that chance alone passes in one of 20 looks at all these signals.
        expected: The mean that was expected, or the standard deviation of ``variance``; in the unit of the signal.
        observed: What came instead: the mean, the farthest value of a spike, the end of a drift, the standard deviation.
        is_worse: Whether that is the worse way; None where it depends.
        sentence: In plain words.
        size: How great it is in practice, from 0 to 1: 0 where nobody feels it, such as a ratio that moves by less than 0.01.
        others: What touches it in time and is about the same agent, model, tool or machine, and of what was silent all that was
            silent meanwhile: told with it, not for itself.
    """

    signal: Signal
    start: float
    end: float
    shape: str
    score: float
    expected: float
    observed: float
    is_worse: bool | None
    sentence: str
    size: float = 1.0
    others: tuple[Anomaly, ...] = ()


def told_once(anomalies: Iterable[Anomaly]) -> list[Anomaly]:
    """Gather anomalies under the most telling of those that they touch in time and share a subject with.

    Tasks of one agent are one subject, nested or not, and so is what is measured of one model, of one tool, or of the
    process and its host. Where several are silent from and to the same time, as while a program restarts, that is one silence.

    Returns:
        What is felt first and of that what is for the worse, levels before moments and these before sways, the greatest first;
        what is gathered under one is its ``others``.
    """
    heads: list[tuple[Anomaly, list[Anomaly]]] = []
    for anomaly in sorted(anomalies, key=_order):
        for head, others in heads:
            if _are_one_silence(head, anomaly) or (_touch(head, anomaly) and _are_about_the_same(head.signal, anomaly.signal)):
                others.append(anomaly)
                break
        else:
            heads.append((anomaly, []))
    return [replace(head, others=tuple(others)) for head, others in heads]


def _order(one: Anomaly) -> tuple[bool, bool, int, float, float]:
    return not one.size, one.is_worse is not True, _TOLD_AFTER.get(one.shape, 0), -round(one.size, 1), -one.score


def _touch(one: Anomaly, other: Anomaly) -> bool:
    slack = max(one.signal.grid.step_seconds, other.signal.grid.step_seconds)
    return one.start <= other.end + slack and other.start <= one.end + slack


def _are_one_silence(one: Anomaly, other: Anomaly) -> bool:
    slack = _SLACK_STEPS * max(one.signal.grid.step_seconds, other.signal.grid.step_seconds)
    both = one.shape == other.shape == _SILENT
    return both and abs(one.start - other.start) <= slack and abs(one.end - other.end) <= slack


def _are_about_the_same(one: Signal, other: Signal) -> bool:
    if one.measure.subject in _MACHINE and other.measure.subject in _MACHINE:
        return True
    shared = [name for name in _TOLD_APART if name in one.labels and name in other.labels]
    return bool(shared) and all(one.labels[name] == other.labels[name] for name in shared)
