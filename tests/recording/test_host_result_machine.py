"""Any program, whatever of ours fails while it runs, sees just what it would see without us; and recording goes on."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial

from call_counts import counts
from fault_points import POINTS, InjectedError, fallible
from host_bodies import CALLABLES
from host_programs import DECORATORS, ERRORS, Node, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

# Nothing is left to mend a context with that can neither be reset nor set.
HOPELESS = ({"agent set", "agent reset"}, {"span attach", "span detach"})
FAULTS = (
    st.frozensets(st.sampled_from(POINTS), max_size=4)
    .filter(lambda points: not any(both <= points for both in HOPELESS))
    .map(sorted)
)
FAULT_KINDS = st.sampled_from([InjectedError, RuntimeError, StopIteration, TimeoutError, MemoryError, RecursionError, KeyError])
MANNERS = st.sampled_from(["let", "let", "catch", "new", "from", "span"])
SIMPLE_STEPS = st.one_of(
    st.tuples(st.just("yield"), st.booleans()),
    st.tuples(st.just("pause"), st.none()),
    st.tuples(st.just("set"), st.integers(1, 9)),
    st.tuples(st.just("raise"), st.sampled_from(ERRORS)),
    st.tuples(st.just("arm"), FAULTS.map(tuple)),
)


def nodes_of(steps):
    return st.builds(
        Node,
        st.sampled_from(sorted(CALLABLES)),
        st.lists(steps, max_size=4).map(tuple),
        st.sampled_from(sorted(DECORATORS)),
    )


def nested(children):
    generators = children.map(lambda node: Node("generator", node.steps, node.decorator))
    return nodes_of(
        st.one_of(
            st.tuples(st.just("call"), children, MANNERS),
            st.tuples(st.just("delegate"), generators),
            SIMPLE_STEPS,
        )
    )


NODES = st.recursive(nodes_of(SIMPLE_STEPS), nested, max_leaves=6)


class HostProgram(RuleBasedStateMachine):
    """Drives the same program with and without agentgauge, whose faults come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()

    @initialize(has_sdk=st.booleans())
    def begin(self, has_sdk):
        self.bench = self.stack.enter_context(fallible(has_sdk=has_sdk))
        self.worlds = [World(is_decorated=False), World(is_decorated=True, switches=self.bench.switches)]

    @rule(points=FAULTS, kind=FAULT_KINDS)
    def arm(self, points, kind):
        self.bench.switches.arm(*points, error=kind)

    @rule()
    def disarm(self):
        self.bench.switches.disarm()

    @rule(node=NODES)
    def call(self, node):
        self.both(lambda world: world.open(node))

    @precondition(lambda self: self.worlds[0].live)
    @rule(
        data=st.data(),
        how=st.sampled_from(["send", "send", "throw", "close", "drop"]),
        cancel_at=st.sampled_from([None, 1, 2]),
        is_elsewhere=st.booleans(),
    )
    def step(self, data, how, cancel_at, is_elsewhere):
        number = data.draw(st.integers(0, len(self.worlds[0].live) - 1))
        kind = data.draw(st.sampled_from(ERRORS)) if how == "throw" else None
        self.both(
            lambda world: world.step(number, how, None if kind is None else world.new(kind), cancel_at), is_elsewhere=is_elsewhere
        )

    def both(self, operation, *, is_elsewhere=False):
        bare, decorated = (world.attempt(partial(operation, world), is_elsewhere=is_elsewhere) for world in self.worlds)
        assert decorated == bare
        assert self.worlds[1].log == self.worlds[0].log
        assert self.worlds[1].variables() == self.worlds[0].variables()

    def teardown(self):
        if not hasattr(self, "worlds"):
            return
        with self.stack:
            for number in range(len(self.worlds[0].live)):
                self.both(lambda world, number=number: world.step(number, "close"))
                while self.worlds[0].is_waiting(number):  # it has caught its cancellation
                    self.both(lambda world, number=number: world.step(number, "send"))
            self.bench.switches.disarm()
            self.check_books()

    def check_books(self):
        """What no fault was about for is counted as it ended, nothing else is, and every span ended once."""
        counted = counts(self.bench.isolation.registry)
        world = self.worlds[1]
        for (name, outcome), count in world.ends.items():
            assert counted[name, outcome] >= count
        by_name = Counter(name for name, _ in world.ends.elements()) + world.faulted
        for name in {name for name, _ in counted}:
            total = sum(count for (counted_name, _), count in counted.items() if counted_name == name)
            assert total <= by_name[name]
        assert set(self.bench.ends.by_span.values()) <= {1}
        in_progress = [
            s for m in self.bench.isolation.registry.collect() for s in m.samples if s.name == "agent_tasks_in_progress"
        ]
        assert not any(sample.value for sample in in_progress)


TestHostProgram = HostProgram.TestCase
TestHostProgram.settings = settings(max_examples=50, stateful_step_count=15, deadline=None, report_multiple_bugs=False)
