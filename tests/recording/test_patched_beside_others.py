"""A patch above, beneath or beside somebody else's: theirs is called as before, and stays."""

from __future__ import annotations

import functools
from unittest import mock

import pytest
import wrapt

from agentgauge import ConfigurationError, task
from agentgauge.recording.patching import patch


class Base:
    """Somebody else's class."""

    def work(self, answer=42):
        return answer


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


def by_closure(owner, name, seen):
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapper(self, *args):
        seen.append(self)
        return function(self, *args)

    setattr(owner, name, wrapper)


def by_wrapt(owner, name, seen):
    def wrapper(wrapped, instance, args, kwargs):
        seen.append(instance)
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(owner, name, wrapper)


@pytest.fixture(params=[by_closure, by_wrapt])
def library(request):
    """Give a class, one of its subclasses, and a function by which somebody else patches its method."""
    seen = []
    owner = type("Library", (), {"work": lambda self, answer=42: answer})
    return owner, lambda: request.param(owner, "work", seen), seen


def test_a_patch_above_somebody_elses_calls_theirs_with_its_instance(count, patched, library):
    owner, patch_otherwise, seen = library
    patch_otherwise()
    theirs = vars(owner)["work"]
    made = patched(owner, "work", task("work"))
    child = type("Child", (owner,), {})()

    assert child.work() == 42
    assert seen == [child]
    assert count("work") == 1
    assert made.undo() is True
    assert vars(owner)["work"] is theirs


def test_a_patch_beneath_somebody_elses_stays_until_theirs_is_gone(count, patched, library):
    owner, patch_otherwise, seen = library
    original = owner.work
    made = patched(owner, "work", task("work"))
    ours = vars(owner)["work"]
    patch_otherwise()
    theirs = vars(owner)["work"]
    instance = owner()

    assert patched(owner, "work", task("work")) is made, "it is patched already, beneath theirs"
    assert made.undo() is False
    assert vars(owner)["work"] is theirs
    assert instance.work() == 42
    assert (seen, count("work")) == ([instance], 1)
    owner.work = ours
    assert made.undo() is True
    assert owner.work is original


def test_a_mock_that_stands_in_for_a_while_gives_the_patch_back(count, patched):
    made = patched(Base, "work")
    with mock.patch.object(Base, "work", autospec=True, return_value=1):
        assert Base().work() == 1
        assert made.undo() is False

    assert Base().work() == 42
    assert count("work") == 1
    assert made.undo() is True


def test_a_static_method_behind_somebody_elses_proxy_stays_static_and_theirs_is_called(count, patched):
    owner = type("Library", (), {"work": staticmethod(lambda answer: answer)})
    seen = []
    by_wrapt(owner, "work", seen)
    made = patched(owner, "work", task("work"))

    assert [owner.work(42), owner().work(42)] == [42, 42]
    assert (len(seen), count("work")) == (2, 2)
    assert made.undo() is True


@pytest.mark.parametrize("attribute", [classmethod(lambda cls: 1), property(lambda self: 1)], ids=["class method", "property"])
def test_a_class_method_or_property_behind_somebody_elses_proxy_is_refused(attribute):
    owner = type("Library", (), {"work": attribute})
    by_wrapt(owner, "work", [])
    theirs = vars(owner)["work"]

    with pytest.raises(ConfigurationError, match=r"Library\.work is a FunctionWrapper: patch a function or method that it calls"):
        patch(owner, "work", task)
    assert vars(owner)["work"] is theirs
