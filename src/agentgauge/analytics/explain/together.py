"""Causes that are one finding: of one instance, of one agent, model or tool, or the same in several instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.explain.ranking import is_near
from agentgauge.analytics.signals import SOURCE_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.analytics.explain.moves import Moved
    from agentgauge.analytics.explain.ranking import Ranked

__all__ = ["Found", "told_once"]

_SUBJECTS = ("gen_ai_agent_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_tool_name", "source", "target")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A likely cause, told once.

    Attributes:
        cause: The weightiest of what moved.
        where: Job and instance, where one alone moved.
        parts: What began at about the same time in the same instance, of the same subject, or as the same measure in others.
        explains: What followed from any of them, the strongest first.
        weight: Of all that together.
    """

    cause: Ranked
    where: Mapping[str, str]
    parts: tuple[Ranked, ...]
    explains: tuple[Moved, ...]
    weight: float


def told_once(causes: Iterable[tuple[Ranked, Mapping[str, str]]]) -> list[Found]:
    """Gather causes that are one finding under the weightiest of them.

    Args:
        causes: Each with its job and instance, where one alone moved.

    Returns:
        The weightiest first.
    """
    heads: list[tuple[Ranked, Mapping[str, str], list[Ranked]]] = []
    for cause, where in sorted(causes, key=lambda one: -one[0].weight):
        for head, place, parts in heads:
            if is_near(head.moved, cause.moved) and _are_one(head, place, cause, where):
                parts.append(cause)
                break
        else:
            heads.append((cause, where, []))
    return sorted((_found(*head) for head in heads), key=lambda found: -found.weight)


def _are_one(one: Ranked, place: Mapping[str, str], other: Ranked, where: Mapping[str, str]) -> bool:
    if place and place == where:
        return True
    ours, theirs = one.moved.signal, other.moved.signal
    is_same_measure = ours.measure is theirs.measure and one.moved.sign == other.moved.sign
    if is_same_measure and _without_place(ours.labels) == _without_place(theirs.labels):
        return True
    shared = [name for name in _SUBJECTS if name in ours.labels and name in theirs.labels]
    return bool(shared) and all(ours.labels[name] == theirs.labels[name] for name in shared)


def _without_place(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in SOURCE_LABELS}


def _found(cause: Ranked, where: Mapping[str, str], parts: list[Ranked]) -> Found:
    own = {id(one.moved) for one in (cause, *parts)}
    followed = {id(moved): moved for one in (cause, *parts) for moved in one.explains if id(moved) not in own}
    explains = tuple(sorted(followed.values(), key=lambda moved: -moved.weight))
    weight = sum(one.moved.weight for one in (cause, *parts)) + sum(moved.weight for moved in explains)
    return Found(cause, where, tuple(parts), explains, weight)
