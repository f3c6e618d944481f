"""A decorated function looks, pickles and copies as it did, and is not touched where agentgauge is switched off."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing

import pytest

import agentgauge
from agentgauge import agent, task, tool, track, workflow
from agentgauge.recording.series import SeriesKind

DECORATORS = [agent, task, tool, workflow]


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """Keep what these tests record apart."""


@task
def module_level(question: str, *, limit: int = 3) -> list[str]:
    """Answer a question."""
    return [question] * limit


@task
async def module_level_coroutine(question: str) -> str:
    return question


@task
def module_level_generator():
    yield 1


@task
async def module_level_async_generator():
    yield 1


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


def test_signature_hints_and_documentation_are_those_of_the_function():
    bare = module_level.__wrapped__

    assert inspect.signature(module_level) == inspect.signature(bare)
    assert typing.get_type_hints(module_level) == {"question": str, "limit": int, "return": list[str]}
    assert (module_level.__name__, module_level.__qualname__, module_level.__module__) == (
        "module_level",
        "module_level",
        __name__,
    )
    assert inspect.getdoc(module_level) == "Answer a question."
    assert inspect.getsource(module_level) == inspect.getsource(bare)
    assert inspect.getdoc(Keeper.count) == "Count the things."
    assert str(inspect.signature(Keeper([]).count)) == "(extra: 'int' = 0) -> 'int'"


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


def test_what_calls_return_is_of_the_same_kind():
    assert inspect.isgenerator(module_level_generator())
    assert inspect.isasyncgen(module_level_async_generator())
    started = module_level_coroutine("x")
    assert inspect.iscoroutine(started)
    assert started.__qualname__ == "module_level_coroutine"
    started.close()


def test_a_coroutine_that_is_never_awaited_warns_by_its_own_name():
    with pytest.warns(RuntimeWarning, match=r"coroutine 'module_level_coroutine' was never awaited"):
        module_level_coroutine("x")


def test_methods_bind_as_before():
    keeper = Keeper([1])
    assert inspect.ismethod(keeper.count)
    assert keeper.count.__self__ is keeper
    assert Keeper.count(keeper, extra=1) == 2


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


def test_abstract_methods_stay_abstract():
    import abc

    class Worker(abc.ABC):
        @task
        @abc.abstractmethod
        def work(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Worker()


# --- copies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_functions_pickle_by_name(protocol):
    for function in (module_level, module_level_coroutine, module_level_generator, module_level_async_generator):
        assert pickle.loads(pickle.dumps(function, protocol)) is function


def test_instances_and_bound_methods_pickle():
    keeper = pickle.loads(pickle.dumps(Keeper([1, 2])))
    assert keeper.count() == 2
    assert pickle.loads(pickle.dumps(keeper.count))(extra=1) == 3


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_instances_methods_and_functions_can_be_copied(fresh, duplicate):
    keeper = Keeper([1, 2])

    assert duplicate(keeper).count() == 2
    assert duplicate(keeper.count)() == 2
    assert duplicate(module_level) is module_level
    assert (
        fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="keeper", agent_task="count", outcome="success") == 2
    )


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
