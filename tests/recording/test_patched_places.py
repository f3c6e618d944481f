"""Where a patch goes, what it leaves behind, and how it gets on with subclasses, modules, threads and forks."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
import pickle
import signal
import sys
import threading
import types

import pytest

from agentgauge import ConfigurationError, task
from agentgauge.recording.patching import patch


class Base:
    """Somebody else's class."""

    def work(self, answer=42):
        return answer

    def overridden(self):
        return 1

    @classmethod
    def named(cls):
        return cls.__name__

    alias = work


class Child(Base):
    """Somebody else's subclass."""

    def overridden(self):
        return super().overridden() + 1


class Table(dict):
    """Inherits what is written in C."""


ORIGINAL = Base.work


@pytest.fixture(autouse=True)
def _restored():
    """Fail where a test leaves a patch behind."""
    before = [dict(vars(owner)) for owner in (Base, Child, Table)]
    yield
    assert [dict(vars(owner)) for owner in (Base, Child, Table)] == before


@pytest.fixture
def count(fresh):
    """Give a function that tells how many calls of a task were recorded."""
    return lambda name: fresh.value("agent_task_duration_seconds_count", agent_task=name, outcome="success") or 0


@pytest.fixture
def patched():
    """Give ``patch`` with ``task`` as its decorator, undone at the end."""
    made = []

    def patch_and_note(owner, name, decorate=task):
        made.append(patch(owner, name, decorate))
        return made[-1]

    yield patch_and_note
    for one in reversed(made):
        one.undo()


def test_patching_twice_is_one_patch_that_is_undone_once(count, patched):
    first = patched(Base, "work")

    assert patched(Base, "work") is first
    assert patched(Base, "work", task(name="other")) is first
    assert Base().work() == 42
    assert count("work") == 1
    assert first.undo() is True
    assert first.undo() is False
    assert Base.work is ORIGINAL


def test_a_patch_can_be_made_again_after_it_was_undone(count, patched):
    first = patched(Base, "work")
    first.undo()
    second = patched(Base, "work")

    assert second is not first
    Base().work()
    assert count("work") == 1
    assert first.undo() is False
    assert second.undo() is True


def test_an_inherited_method_is_patched_in_the_subclass_alone_and_inherited_again_afterwards(count, patched):
    made = patched(Child, "work")

    Base().work()
    assert count("work") == 0
    Child().work()
    assert count("work") == 1
    assert pickle.loads(pickle.dumps(Child.work)) is Child.work
    made.undo()
    assert "work" not in vars(Child)
    assert Child.work is Base.work


def test_a_method_that_is_inherited_patched_is_not_patched_again(count, patched):
    made = patched(Base, "work")

    assert patched(Child, "work") is made
    assert patched(Child, "named") is not patched(Base, "named")
    Child().work()
    assert count("work") == 1
    assert "work" not in vars(Child)


def test_a_subclass_that_overrides_is_recorded_where_it_calls_the_patched_one(count, patched):
    patched(Base, "overridden")

    assert Child().overridden() == 2
    assert count("overridden") == 1
    assert Child.overridden is not Base.overridden


def test_an_override_that_was_dressed_up_as_the_patched_method_is_a_method_of_its_own(count, patched):
    made = patched(Base, "work")

    class Grandchild(Base):
        @functools.wraps(Base.work)
        def work(self):
            return 1

    with pytest.raises(ConfigurationError, match="decorated twice"):
        patched(Grandchild, "work")
    own = patched(Grandchild, "work", lambda function: functools.wraps(function)(lambda self: function(self) + 1))
    assert own is not made
    assert Grandchild().work() == 2
    assert own.undo() is True


def test_an_alias_is_a_place_of_its_own(count, patched):
    patched(Base, "alias")

    assert Base().alias() == 42
    assert Base.work is ORIGINAL
    assert pickle.loads(pickle.dumps(Base.alias)) is Base.alias


def test_what_is_written_in_c_can_be_patched_where_a_class_inherits_it(count, patched):
    table = Table(a=1)
    made = [patched(Table, "__getitem__"), patched(Table, "get")]

    assert (table["a"], table.get("b")) == (1, None)
    assert (count("__getitem__"), count("get")) == (1, 1)
    assert inspect.getdoc(Table.get) == inspect.getdoc(dict.get)
    assert pickle.loads(pickle.dumps(Table.get)) is Table.get
    assert [one.undo() for one in made] == [True, True]
    assert Table.__getitem__ is dict.__getitem__
    assert (table["a"], count("__getitem__")) == (1, 1)


@pytest.mark.parametrize(
    ("attribute", "arguments"),
    [(len, ("four",)), (functools.partial(pow, 2), (2,)), (operator.itemgetter(0), ((4, 5),)), (types.MethodType(max, 4), (2,))],
    ids=["builtin", "partial", "callable instance", "bound method"],
)
def test_a_callable_that_does_not_bind_is_not_bound_afterwards(count, patched, attribute, arguments):
    owner = type("Library", (), {"work": attribute})
    made = patched(owner, "work", task("work"))

    assert owner().work(*arguments) == 4
    assert owner.work(*arguments) == 4
    assert count("work") == 2
    made.undo()
    assert vars(owner)["work"] is attribute


def test_a_function_of_a_module_is_patched_for_whoever_looks_it_up_there(count, patched, monkeypatch):
    library, front = types.ModuleType("library"), types.ModuleType("front")
    library.work = lambda: 42
    monkeypatch.setitem(sys.modules, "library", library)
    imported_before = library.work
    made = patched(library, "work", task("work"))
    front.work = library.work

    assert patched(front, "work") is made
    assert [library.work(), front.work(), imported_before()] == [42, 42, 42]
    assert count("work") == 2
    assert pickle.loads(pickle.dumps(library.work)) is library.work
    made.undo()
    assert library.work is imported_before


def test_a_function_that_a_module_loads_when_it_is_first_asked_for_is_loaded_and_patched(count, patched):
    library = types.ModuleType("library")
    library.__getattr__ = {"work": math.sqrt}.__getitem__
    made = patched(library, "work", task("work"))

    assert library.work(16) == 4
    assert count("work") == 1
    made.undo()
    assert "work" not in vars(library)


def test_a_decorator_that_gives_back_the_function_leaves_everything_alone(patched, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")

    for owner in (Base, Child):
        made = patched(owner, "work")
        assert owner.work is ORIGINAL
        assert vars(ORIGINAL) == {}
        assert made.undo() is False


def test_an_attribute_is_written_to_the_patched_function_and_gone_with_it(patched):
    made = patched(Base, "work")
    Base.work.retries = 3

    assert Base().work.retries == 3
    made.undo()
    assert not hasattr(Base.work, "retries")


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [
        (Base, "wokr", r"test_patched_places\.Base\.wokr does not exist: look for its name in the version that is installed"),
        (math, "wokr", r"math\.wokr does not exist"),
        (Base, "__init__", r"Base\.__init__ does not exist"),
        (Base, "mro", r"Base\.mro does not exist"),
        (Base(), "work", r"patch of 'work': <.*> is neither a class nor a module; patch Base"),
        (dict, "get", r"builtins\.dict\.get cannot be replaced: .*; patch a subclass or a caller"),
        (Base, "__doc__", r"Base\.__doc__ is a str: patch a function or method that it calls"),
        (threading, "Thread", r"threading\.Thread is a type: patch a function or method that it calls"),
        (type("Library", (), {"work": property()}), "work", r"Library\.work is a property: patch"),
        (type("Library", (), {"work": functools.cached_property(len)}), "work", r"Library\.work is a cached_property: patch"),
        (type("Library", (), {"work": functools.partialmethod(len)}), "work", r"Library\.work is a partialmethod: patch"),
    ],
)
def test_what_cannot_be_patched_is_refused_with_the_fix_and_left_alone(owner, name, message):
    with pytest.raises(ConfigurationError, match=message):
        patch(owner, name, task)


def test_a_fault_of_the_decorator_leaves_the_method_as_it_was_and_goes_to_who_patches():
    with pytest.raises(ZeroDivisionError):
        patch(Base, "work", lambda function: 1 / 0)
    assert Base.work is ORIGINAL


# --- threads and forks ----------------------------------------------------------------------------------------------------


def test_threads_that_patch_and_undo_and_call_leave_one_patch_and_no_call_fails(count):
    barrier, results, patches = threading.Barrier(8), [], []

    def decorate_slowly(function):
        threading.Event().wait(0.01)  # so that all the others come meanwhile
        return task(function)

    def run():
        barrier.wait(30)
        for _ in range(200):
            made = patch(Base, "work", task)
            results.append(Base().work())
            made.undo()
        barrier.wait(30)
        patches.append(patch(Base, "work", decorate_slowly))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert results == [42] * 1600
    assert len(patches) == 8
    assert len(set(patches)) == 1
    assert patches[0].undo() is True
    assert Base.work is ORIGINAL


def test_a_decorator_may_patch_what_it_needs(count, patched):
    def decorate(function):
        patched(Base, "overridden")
        return task(function)

    patched(Base, "work", decorate)
    assert Base().overridden() == 1
    assert (count("overridden"), count("work")) == (1, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_patches_can_patch():
    entered, leave = threading.Event(), threading.Event()

    def decorate(function):
        entered.set()
        leave.wait(60)
        return function

    thread = threading.Thread(target=patch, args=(Base, "work", decorate))
    thread.start()
    assert entered.wait(30)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)  # ends a child that hangs
            patch(Base, "work", task)
            os._exit(1 if Base.work is ORIGINAL or Base().work() != 42 else 0)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    leave.set()
    thread.join(30)

    assert os.waitstatus_to_exitcode(status) == 0
