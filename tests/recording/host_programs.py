"""Host programs as data, run once decorated and once as they are, and everything that they can see of themselves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import traceback
from collections import Counter
from dataclasses import dataclass, field

import host_bodies
from host_bodies import CALLABLES, pause
from opentelemetry.sdk.trace import TracerProvider

from agentgauge import agent, task, tool, workflow
from agentgauge.recording.agent_metrics import AgentMetricsCollector

PLAIN_KINDS = ("plain", "method", "generator", "track", "report")
HOST_FILES = (__file__, host_bodies.__file__)
DECORATORS = {"task": task, "tool": tool, "workflow": workflow, "agent": agent("scout")}
ERRORS = (ValueError, KeyError, TimeoutError, StopIteration, StopAsyncIteration, asyncio.CancelledError, KeyboardInterrupt)

VALUE: contextvars.ContextVar[int] = contextvars.ContextVar("host_value", default=0)
_host_tracer = TracerProvider(shutdown_on_exit=False).get_tracer("host")


@dataclass(frozen=True)
class Node:
    """One callable of a program.

    Attributes:
        kind: What sort of callable it is, one of ``CALLABLES``.
        steps: What its body does, in turn: pairs of a verb and its object, see ``World.do``.
        decorator: By which decorator it is measured, where it is measured by one.
    """

    kind: str
    steps: tuple = ()
    decorator: str = "task"


@dataclass
class World:
    """One run of a program: what it saw in ``log``, and how its measured calls ended.

    Attributes:
        ends: By name and outcome, how often the calls ended during which no fault was about.
        faulted: By name, how often the others ended.
        is_decorated: Whether agentgauge is there.
        switches: Where its faults are switched; only the decorated world has them.
    """

    is_decorated: bool
    switches: object = None
    log: list = field(default_factory=list)
    raised: list = field(default_factory=list)
    ends: Counter = field(default_factory=Counter)
    faulted: Counter = field(default_factory=Counter)
    live: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = contextvars.copy_context()
        self.desk = AgentMetricsCollector("clerk") if self.is_decorated else None
        self.names: dict[Node, str] = {}
        self._built: dict[Node, object] = {}
        self.task_ids = iter(range(10**9))

    # --- callables --------------------------------------------------------------------------------------------------------

    def build(self, node: Node):
        """Return the callable of a node, decorated where this world has decorators; a node that comes again is the same."""
        if node not in self._built:
            self.names[node] = name = f"{node.kind} {len(self.names)}"
            with contextlib.nullcontext() if self.switches is None else self.switches.paused():
                self._built[node] = CALLABLES[node.kind](self, node, name)
        return self._built[node]

    def decorate(self, node: Node, name: str, function):
        """Return the function as this world has it."""
        function.__name__ = name
        return DECORATORS[node.decorator](function) if self.is_decorated else function

    def measured(self, name: str):
        """Note how the block ends, and whether faults were about while it ran."""
        return _Measured(self, name)

    # --- steps ------------------------------------------------------------------------------------------------------------

    def do(self, step: tuple) -> None:
        """Take one step of a body that cannot wait."""
        verb, what = step[:2]
        if verb == "call" and what.kind in PLAIN_KINDS:
            with self._within(step[2]):
                self.see("gave", self.finish(what))
        else:
            self._do_at_once(verb, what)

    async def do_async(self, step: tuple) -> None:
        """Take one step of a body that can wait."""
        verb, what = step[:2]
        if verb == "call":
            with self._within(step[2]):
                self.see("gave", await self.finish_async(what))
        elif verb == "pause":
            self.see("woken", await pause())
        else:
            self._do_at_once(verb, what)

    def _do_at_once(self, verb: str, what) -> None:
        if verb == "set":
            VALUE.set(what)
        elif verb == "raise":
            self.fail(what)
        elif verb == "arm" and self.switches is not None:
            self.switches.arm(*what)
        self.see(verb, VALUE.get())

    def fail(self, kind: type[BaseException]) -> None:
        raise self.new(kind)

    def new(self, kind: type[BaseException]) -> BaseException:
        """Make an exception that is recognised when it is seen again."""
        error = kind(len(self.raised))
        self.raised.append(error)
        return error

    @contextlib.contextmanager
    def _within(self, manner: str):
        if manner == "span":
            with _host_tracer.start_as_current_span("mine"):
                yield
            return
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:
            self.see("caught", self.describe(error))
            if manner == "let":
                raise
            if manner == "new":
                self.fail(KeyError)
            if manner == "from":
                try:
                    self.fail(LookupError)
                except LookupError as other:
                    raise other from error

    def finish(self, node: Node):
        """Call a child that does not wait, and drive it to its end."""
        result = self.build(node)()
        if not inspect.isgenerator(result):
            return result
        items = []
        while True:
            try:
                items.append(result.send(None))
            except StopIteration as stop:
                return items, stop.value

    async def finish_async(self, node: Node):
        """Call a child of any kind, and drive it to its end."""
        if node.kind in PLAIN_KINDS:
            return self.finish(node)
        result = self.build(node)()
        if inspect.isasyncgen(result):
            return [item async for item in result]
        return await result

    # --- driven from outside ----------------------------------------------------------------------------------------------

    def attempt(self, operation, *, is_elsewhere: bool = False):
        """Run an operation in this world's context, or in a copy of that; return what came of it."""
        context = self.context.copy() if is_elsewhere else self.context
        try:
            return "gave", context.run(operation)
        except BaseException as error:
            return "raised", self.describe(error)

    def open(self, node: Node):
        """Call something, and take the first step of what does not end at once: it is the last of ``live``."""
        result = self.build(node)()
        if isinstance(result, str):
            return result
        # A coroutine has a context of its own, as a task has; a generator runs in that of whoever drives it.
        self.live.append((result, contextvars.copy_context() if inspect.iscoroutine(result) else None))
        return self.step(len(self.live) - 1, "send", None)

    def step(self, number: int, how: str, what=None, cancel_at: int | None = None):
        """Drive something that is alive: ``send``, ``throw``, ``close`` or ``drop`` it."""
        subject, context = self.live[number]
        if inspect.iscoroutine(subject) and how in ("close", "drop"):
            # Closed while it awaits an async generator, it would leave that to the event loop, which is not there.
            how, what = "throw", self.new(asyncio.CancelledError)
        if how == "drop":
            self.live[number] = None, None
        if subject is None or how == "drop":
            return "gone"
        if inspect.isasyncgen(subject):
            how = f"a{how}"
        arguments = () if "close" in how else (what,)
        operation = getattr(subject, how)
        result = operation(*arguments) if context is None else context.run(operation, *arguments)
        return drive(result, cancel_at) if inspect.isasyncgen(subject) else result

    def is_waiting(self, number: int) -> bool:
        """Tell whether something that is alive is a coroutine that has not ended."""
        subject, _ = self.live[number]
        return inspect.iscoroutine(subject) and inspect.getcoroutinestate(subject) != inspect.CORO_CLOSED

    # --- what it sees -----------------------------------------------------------------------------------------------------

    def see(self, *facts) -> None:
        self.log.append((*facts, VALUE.get()))

    def describe(self, error: BaseException | None, depth: int = 6):
        """Tell everything that a host can tell of an exception, its identity included."""
        if error is None or not depth:
            return None
        identity = next((number for number, known in enumerate(self.raised) if known is error), None)
        return (
            type(error).__name__,
            identity if identity is not None else str(error),
            self.describe(error.__cause__, depth - 1),
            self.describe(error.__context__, depth - 1),
            error.__suppress_context__,
            getattr(error, "__notes__", None),
            [
                (frame.f_code.co_name, line)
                for frame, line in traceback.walk_tb(error.__traceback__)
                if frame.f_code.co_filename in HOST_FILES
            ],
        )

    def variables(self) -> dict:
        """Return every context variable as the host's own frame finds it."""
        values = {variable.name: value for variable, value in self.context.items()}
        if not values.get("agentgauge_agent"):
            values.pop("agentgauge_agent", None)
        if not values.get("current_context"):
            values.pop("current_context", None)
        return values


class _Measured:
    """Notes how a measured body ended, and whether faults were about while it ran."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def __enter__(self) -> None:
        switches = self._world.switches
        self._epoch = None if switches is None or switches.armed else switches.epoch

    def __exit__(self, kind, error, trace) -> None:
        world = self._world
        if world.switches is not None and self._epoch != world.switches.epoch:
            world.faulted[self._name] += 1
            return
        world.ends[self._name, _outcome_of(error)] += 1


def _outcome_of(error: BaseException | None) -> str:
    if error is None:
        return "success"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, GeneratorExit):
        return "abandoned"
    return "error" if isinstance(error, Exception) else "cancelled"


# --- driving --------------------------------------------------------------------------------------------------------------


def drive(awaitable, cancel_at: int | None = None):
    """Drive something that can be awaited to its end without an event loop; cancel it at a pause, where told to."""
    pauses = 0
    try:
        awaitable.send(None)
        while True:
            pauses += 1
            if pauses == cancel_at:
                awaitable.throw(asyncio.CancelledError())
            else:
                awaitable.send(pauses)
    except StopIteration as stop:
        return pauses, stop.value
