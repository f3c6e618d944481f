"""Whatever fails inside agentgauge, at each place in turn, every kind of call gives its host just what it gave without us."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
from call_counts import counts
from fault_points import CONTAINED_BY_THE_SDK, NEEDS_SDK, POINTS, fallible
from host_bodies import CALLABLES
from host_programs import Node, World

ENDINGS = {
    "success": (),
    "error": (("raise", ValueError),),
    "cancelled": (("raise", asyncio.CancelledError),),
}
BLOCKS = {"track", "async track"}
DECORATED = set(CALLABLES) - BLOCKS - {"report"}
KINDS_OF_POINTS = {
    "target lookup": DECORATED,
    "tracked target": {*BLOCKS, "report"},
    "observation": {"report", "track"},
    "agent set": {*DECORATED, *BLOCKS},
    "agent reset": {*DECORATED, *BLOCKS},
    "count": set(),
}
"""The kinds of calls in which a point can fail; where none are named, all, or for spans all that have one."""

CASES = [
    (point, kind)
    for point in POINTS
    for kind in CALLABLES
    if kind in KINDS_OF_POINTS.get(point, set(CALLABLES) - ({"report"} if point in NEEDS_SDK else set()))
]


@pytest.mark.parametrize(("point", "kind"), CASES)
def test_where_a_point_fails_the_host_sees_no_difference_and_recording_goes_on(point, kind):
    nodes = {
        Node(kind, (("set", 1), ("yield", True), ("pause", None), *end), decorator): outcome
        for outcome, end in ENDINGS.items()
        for decorator in ("task", "agent")
    }
    with fallible(has_sdk=True) as bench:
        worlds = World(is_decorated=False), World(is_decorated=True, switches=bench.switches)
        for world in worlds:
            for node in nodes:
                world.build(node)
        for _ in range(2):
            bench.switches.arm(point)
            for node in nodes:
                run_alike(worlds, node)
            bench.switches.disarm()
            for end in ENDINGS.values():
                run_alike(worlds, Node(kind, (("yield", True), ("arm", (point,)), ("yield", True), *end), "agent"))
                bench.switches.disarm()
        assert bench.switches.fired[point]
        assert bool(bench.internal_errors()) == (point not in CONTAINED_BY_THE_SDK)

        before = counts(bench.isolation.registry)
        for node in nodes:
            run_alike(worlds, node)
        after = counts(bench.isolation.registry)
        assert after - before == Counter({(worlds[1].names[node], outcome): 1 for node, outcome in nodes.items()})
        assert set(bench.ends.by_span.values()) <= {1}


def run_alike(worlds, node):
    """Run a call to its end in both worlds and compare all that it saw."""

    def finish(world):
        world.live.clear()
        result = world.attempt(partial(world.open, node))
        while world.live and result[0] == "gave":
            result = world.attempt(partial(world.step, 0, "send", 7))
        return result

    bare, decorated = map(finish, worlds)
    assert decorated == bare
    assert worlds[1].log == worlds[0].log
    assert worlds[1].variables() == worlds[0].variables()
