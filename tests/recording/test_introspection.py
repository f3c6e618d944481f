"""A decorated function looks, pickles and copies as it did, and is not touched where agentgauge is switched off."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import typing

import cloudpickle
import pytest
from callable_facts import CLASSES, COPIES, PATHS, all_facts, library_calls, load_library, run_calls, run_in_process
from callable_shapes import SHAPES, finish

import agentgauge
from agentgauge import ConfigurationError, agent, task, tool, track, workflow
from agentgauge.recording.series import SeriesKind

DECORATORS = [agent, task, tool, workflow]


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """Keep what these tests record apart."""


@agent("keeper")
class Keeper:
    """Keep things."""

    def __init__(self, things):
        self.things = things

    @task
    def count(self, extra: int = 0) -> int:
        """Count the things."""
        return len(self.things) + extra


def plain():
    return 1


async def coroutine():
    return 1


def generator():
    yield 1


async def async_generator():
    yield 1


PREDICATES = [
    inspect.isfunction,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    inspect.isroutine,
    callable,
]


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_every_inspect_predicate_answers_the_same(decorator, function):
    decorated = decorator(function)
    assert [predicate(decorated) for predicate in PREDICATES] == [predicate(function) for predicate in PREDICATES]


def test_a_coroutine_that_is_never_awaited_warns_by_its_own_name():
    with pytest.warns(RuntimeWarning, match=r"coroutine 'coroutine' was never awaited"):
        task(coroutine)()


def test_attributes_of_the_function_stay_reachable():
    def work():
        return 1

    work.retries = 3

    assert task(work).retries == 3


def test_a_class_stays_the_same_class():
    class Worker:
        def work(self):
            return 1

    assert agent("scout")(Worker) is Worker
    assert isinstance(Worker(), Worker)


def test_an_agent_cannot_be_a_protocol_since_its_name_would_become_a_member_that_others_lack():
    @typing.runtime_checkable
    class Reader(typing.Protocol):
        def read(self): ...

    class Book:
        def read(self):
            return ""

    with pytest.raises(ConfigurationError, match=r"Reader is a Protocol: put @agent on the classes that implement it"):
        agent("reader")(Reader)
    assert isinstance(Book(), Reader)


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_an_agents_instance_that_was_copied_is_the_same_agent(fresh, duplicate):
    assert duplicate(Keeper([1, 2])).count() == 2
    assert duplicate(Keeper([1, 2]).count)(extra=1) == 3

    labels = {"gen_ai_agent_name": "keeper", "agent_task": "count", "outcome": "success"}
    assert fresh.value("agent_task_duration_seconds_count", **labels) == 2


# --- the whole matrix -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def observed():
    """Give all that can be seen of the library, undecorated and decorated."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        undecorated = all_facts(load_library(monkeypatch, is_decorated=False))
        return undecorated, all_facts(load_library(monkeypatch, is_decorated=True))


@pytest.mark.parametrize("path", [*PATHS, CLASSES])
def test_a_decorated_library_looks_behaves_pickles_and_copies_as_without_decorators(observed, path):
    undecorated, decorated = observed
    assert decorated[path] == undecorated[path]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_decorated_callables_of_every_kind_run_and_record_in_another_process(monkeypatch, method):
    expected, _ = run_calls(library_calls(load_library(monkeypatch, is_decorated=False)))
    library = load_library(monkeypatch, is_decorated=True)

    there = run_in_process(method, library_calls(library))

    assert there[0] == expected
    assert there == run_calls(library_calls(library))
    assert there[1] >= len(expected)


TRAVELLERS = [shape for shape in SHAPES if not shape.__name__.startswith(("cached_", "single_dispatch_"))]
"""What cloudpickle takes apart where it is undecorated, too."""


@pytest.mark.parametrize("shape", TRAVELLERS, ids=lambda shape: shape.__name__)
def test_a_decorated_function_that_no_module_holds_travels_by_value_and_records_where_it_arrives(fresh, shape):
    """As those of ``__main__`` do: cloudpickle, and so Ray, Dask, Spark and ``dspy.Module.save``, takes them apart."""
    arrived = pickle.loads(cloudpickle.dumps(shape(task, answer)))

    assert finish(arrived()) == 42
    assert fresh.value("agent_task_duration_seconds_count", agent_task="work", outcome="success") == 1


def answer():
    return 42


def test_the_hosts_own_way_to_pickle_context_variables_is_kept():
    program = """
import copyreg, pickle
from contextvars import ContextVar
import cloudpickle
hosts = ContextVar("hosts")
def find(): return hosts
copyreg.pickle(ContextVar, lambda variable: (find, ()))
from agentgauge import agent
from agentgauge.recording.site import current_agent
assert pickle.loads(pickle.dumps(hosts)) is hosts
assert pickle.loads(pickle.dumps(current_agent)) is current_agent
work = agent("scout")(lambda: current_agent.get())
assert cloudpickle.loads(cloudpickle.dumps(work))() == "scout"
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert (result.returncode, result.stderr) == (0, "")


# --- switched off ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on"])
@pytest.mark.parametrize("decorator", DECORATORS)
def test_disabled_gives_back_the_very_object(monkeypatch, decorator, value):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", value)

    def work():
        return 1

    class Worker:
        def work(self):
            return 1

    before = dict(vars(Worker))
    for decorate in (decorator, decorator(), decorator("name"), decorator(name="name")):
        assert decorate(work) is work
        assert decorate(Worker) is Worker
    assert dict(vars(Worker)) == before


def test_disabled_track_records_nothing(monkeypatch, fresh):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")

    with agentgauge.track("scout", "work") as call:
        call.set_outcome("error", error_type="Bad")
        call.record_retry()

    assert fresh.value("agentgauge_events_recorded_total") == 0
    assert fresh.recorder.series[SeriesKind.TASK] == {}


@pytest.mark.parametrize("value", ["", "false", "0", "maybe"])
def test_anything_else_than_true_leaves_it_on(monkeypatch, value):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", value)
    work = lambda: 1  # noqa: E731 - any function does
    assert task(work) is not work
    with track("scout", "work") as call:
        assert call._record is not None
