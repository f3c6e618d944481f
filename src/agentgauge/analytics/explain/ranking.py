"""What of all that moved is a cause: it lies upstream, began no later, and explains what people feel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.explain.effects import LAYERS, LEAST_LEVEL, effects_of, is_felt
from agentgauge.analytics.explain.explanation import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agentgauge.analytics.explain.moves import Moved
    from agentgauge.analytics.signals import Signal

__all__ = ["Ranked", "is_near", "ranked"]

_MOST_LAG_SECONDS = 900.0
_BACKLOG = frozenset({"queue_depth", "queue_wait_p95", "tasks_in_progress", "process_memory", "host_memory", "container_memory"})
_CREEPING = frozenset({"process_memory", "host_memory", "container_memory"})  # rise for long before anything follows


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A signal that moved, and what it is.

    Attributes:
        moved: The signal.
        role: What it is.
        weight: Its own and that of all it explains.
        explains: What followed from it, the strongest first.
        cause: What it followed from; None where it is no symptom.
    """

    moved: Moved
    role: Role
    weight: float
    explains: tuple[Moved, ...]
    cause: Moved | None


def _is_later(effect: Moved, cause: Moved) -> bool:
    """Tell whether one began no earlier than the other, as far as onsets can be told: two that are unsure err independently."""
    return effect.onset - cause.onset >= -_unsure(effect, cause)


def _unsure(effect: Moved, cause: Moved) -> float:
    return math.hypot(cause.slack_seconds, effect.slack_seconds) + cause.rise_seconds


def _may_be_later(effect: Moved, cause: Moved) -> bool:
    """Do as ``_is_later()``, in favour of a cause that lies upstream: noise leads the onset of what is hardly seen far astray."""
    astray = sum(2 * max(0.0, one.slack_seconds - one.signal.grid.step_seconds) for one in (cause, effect))
    return effect.onset - cause.onset >= -(_unsure(effect, cause) + astray)


def _covers(cause: Moved, effect: Moved) -> bool:
    """Tell whether one lasted for half of the other at least, as what moves it does; a backlog outlasts what made it."""
    if effect.signal.measure.name in _BACKLOG:
        return True
    return cause.until - max(cause.onset, effect.onset) >= (effect.until - effect.onset) / 2


def is_near(one: Moved, other: Moved) -> bool:
    """Tell whether two began at about the same time, as far as onsets can be told at all."""
    slack = 2 * (one.slack_seconds + other.slack_seconds) + one.rise_seconds + other.rise_seconds
    return abs(one.onset - other.onset) <= slack


def _can_move(cause: Moved, effect: Moved, is_linked: Callable[[Signal, Signal], bool]) -> bool:
    """Tell whether one can move the other at all, whenever they began."""
    name = cause.signal.measure.name
    if (effect.signal.measure.name, effect.sign) not in effects_of(name, cause.sign):
        return False
    return cause.move.after >= LEAST_LEVEL.get(name, -1.0) and is_linked(cause.signal, effect.signal)


def _is_in_time(cause: Moved, effect: Moved) -> bool:
    latest = effect.onset - cause.onset - cause.slack_seconds - effect.slack_seconds
    is_soon = latest <= _MOST_LAG_SECONDS or cause.signal.measure.name in _CREEPING
    return is_soon and _is_later(effect, cause) and _covers(cause, effect)


def _reached(start: int, links: Sequence[Iterable[int]]) -> set[int]:
    seen, ahead = set(), [start]
    while ahead:
        for index in links[ahead.pop()]:
            if index not in seen:
                seen.add(index)
                ahead.append(index)
    return seen


def _layer(moved: Moved) -> int:
    name = moved.signal.measure.name
    return LAYERS.index(name) if name in LAYERS else len(LAYERS)


def _precedence(moved: Moved, depth: Callable[[Signal], int]) -> tuple[float, ...]:
    return _layer(moved), depth(moved.signal), moved.onset


def _circles(reach: Sequence[set[int]]) -> list[frozenset[int]]:
    """Return of each what it moves and is moved by, itself included, over however many others."""
    mutual = [{other for other in reach[index] if index in reach[other]} for index in range(len(reach))]
    return [frozenset(_reached(index, mutual) | {index}) for index in range(len(reach))]


def _lasted(cause: Moved, effect: Moved) -> bool:
    """Tell whether one went on while the other began."""
    return cause.onset <= effect.onset <= cause.until + cause.slack_seconds + effect.slack_seconds


def ranked(
    moved: Sequence[Moved],
    is_linked: Callable[[Signal, Signal], bool],
    depth: Callable[[Signal], int],
    is_wanted: Callable[[Signal], bool] | None = None,
) -> list[Ranked]:
    """Rank what moved.

    Args:
        moved: All that moved.
        is_linked: Whether what happens to one can reach the other in one step.
        depth: How far downstream a signal lies among those of its measure.
        is_wanted: Whether a signal is what shall be explained; unless given, all that people feel.

    Returns:
        Causes, then symptoms, then bystanders, the weightiest first. All that shall be explained is a cause or a symptom.
    """
    count = range(len(moved))
    ways = [[index for index in count if index != cause and _can_move(moved[cause], moved[index], is_linked)] for cause in count]
    links = [[index for index in ways[cause] if _is_in_time(moved[cause], moved[index])] for cause in count]
    # However long the chain: nothing is explained by what began after it, or was over while it lasted on.
    reach = [
        {
            other
            for other in _reached(index, links)
            if _is_later(moved[other], moved[index]) and _covers(moved[index], moved[other])
        }
        - {index}
        for index in count
    ]
    goals = {
        index
        for index in count
        if (is_wanted(moved[index].signal) if is_wanted else is_felt(moved[index].signal.measure.name, moved[index].sign))
    }
    tops = _tops(moved, reach, goals, depth)
    _demote(moved, tops, goals, [_reached(index, ways) for index in count])
    explained = {index: below for index, below in tops.items() if (below | {index}) & goals}
    weights = {root: moved[root].weight + sum(moved[other].weight for other in found) for root, found in explained.items()}
    found = []
    for index, one in enumerate(moved):
        if index in explained:
            explains = tuple(moved[other] for other in sorted(explained[index], key=lambda other: -moved[other].weight))
            found.append(Ranked(one, Role.CAUSE, weights[index], explains, None))
            continue
        causes = [root for root in explained if index in explained[root]]
        cause = moved[max(causes, key=lambda root: weights[root])] if causes else None
        found.append(Ranked(one, Role.SYMPTOM if cause else Role.BYSTANDER, one.weight, (), cause))
    order = list(Role)
    return sorted(found, key=lambda one: (order.index(one.role), -one.weight, one.moved.onset))


def _tops(
    moved: Sequence[Moved], reach: Sequence[set[int]], goals: set[int], depth: Callable[[Signal], int]
) -> dict[int, set[int]]:
    """Return what lies below each top: one for each circle that nothing outside of it moves. Every goal is one, or lies below."""
    above = [{other for other in range(len(moved)) if index in reach[other]} for index in range(len(moved))]
    circles = _circles(reach)
    tops: dict[int, set[int]] = {}
    for circle in sorted(set(circles), key=min):
        first = [index for index in circle if above[index] <= circle]
        if first:
            top = min(first, key=lambda index: (*_precedence(moved[index], depth), index))
            tops[top] = reach[top] | circle - {top}
    # What began before the beginning of its chain, by what onsets are unsure, belongs to the chain all the same.
    lost = goals - tops.keys() - set[int]().union(*tops.values())
    for index in sorted(lost, key=lambda index: (*_precedence(moved[index], depth), index)):
        upward = _reached(index, above)
        over = [top for top in tops if top in upward]
        if over:
            tops[max(over, key=lambda top: (len(tops[top]), -top))].add(index)
        else:
            tops[index] = set(reach[index])
    return tops


def _demote(moved: Sequence[Moved], tops: dict[int, set[int]], goals: set[int], could_reach: Sequence[set[int]]) -> None:
    """Put what is only felt below a top that can move it: which of two was first within minutes, no onset tells.

    One that leads to a goal anyway needs not have begun near it, if it still lasted.
    """
    upstream = [
        top for top in tops if _layer(moved[top]) < len(LAYERS) and not is_felt(moved[top].signal.measure.name, moved[top].sign)
    ]
    leading = [top for top in upstream if (tops[top] | {top}) & goals]
    for felt in [top for top in tops if top not in upstream]:
        fit = [
            top
            for top in upstream
            if felt in could_reach[top]
            and _covers(moved[top], moved[felt])
            and _may_be_later(moved[felt], moved[top])
            and (is_near(moved[top], moved[felt]) or (top in leading and _lasted(moved[top], moved[felt])))
        ]
        if fit:
            cause = max(fit, key=lambda top: (len(tops[top]), moved[top].weight, -top))
            tops[cause] |= {felt} | (tops.pop(felt) - {cause})
