"""A library whose functions and methods are patched in place looks, behaves, pickles and copies as it did, and is restored."""

from __future__ import annotations

import pytest
from callable_facts import CLASSES, DISABLED, PATHS, all_facts, library_calls, load_library, run_calls, run_in_process

from agentgauge import ConfigurationError, task
from agentgauge.recording.patching import patch

REFUSED = "Desk.dispatching_method"


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """Keep what these tests record apart."""


def holder_of(module, path):
    owner, _, name = path.rpartition(".")
    return (getattr(module, owner) if owner else module), name


def patch_all(module, monkeypatch):
    """Patch everything that can be, while every process that is started from here still imports the library undecorated."""
    with monkeypatch.context() as enabled:
        enabled.setenv(DISABLED, "false")
        return [patch(*holder_of(module, path), task) for path in PATHS if path != REFUSED]


def members_of(module):
    owners = {holder_of(module, path)[0] for path in PATHS}
    return {(owner.__name__, name): id(value) for owner in owners for name, value in vars(owner).items() if name[:2] != "__"}


@pytest.fixture(scope="module")
def observed():
    """Give all that can be seen of the library before, during and after."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        library = load_library(monkeypatch, is_decorated=False)
        facts, members = [all_facts(library)], [members_of(library)]
        patches = patch_all(library, monkeypatch)
        facts.append(all_facts(library))
        members.append(members_of(library))
        for patched in patches:
            patched.undo()
        return [*facts, all_facts(library)], [*members, members_of(library)]


@pytest.mark.parametrize("path", [*PATHS, CLASSES])
def test_a_patched_library_looks_behaves_pickles_and_copies_as_before_and_again_afterwards(observed, path):
    before, during, after = observed[0]

    assert during[path] == before[path]
    assert after[path] == before[path]


def test_every_callable_was_replaced_and_the_very_objects_are_back_afterwards(observed):
    before, during, after = observed[1]

    replaced = {
        f"{owner}.{name}".removeprefix("callable_library.")
        for owner, name in during
        if during[owner, name] != before.get((owner, name))
    }
    inherited = {"SpecialDesk.coroutine_method", "SpecialDesk.of_class"}
    assert replaced | {"Desk.__call__"} == {*PATHS} - {REFUSED} - inherited
    assert after == before


def test_a_single_dispatch_method_is_refused_with_the_way_out(monkeypatch):
    library = load_library(monkeypatch, is_decorated=False)
    with pytest.raises(ConfigurationError, match=r"dispatching_method is a singledispatchmethod: patch a function or method"):
        patch(library.Desk, "dispatching_method", task)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_patched_callables_of_every_kind_run_in_another_process_and_record_where_that_is_patched(monkeypatch, method):
    library = load_library(monkeypatch, is_decorated=False)
    expected, _ = run_calls(library_calls(library))
    patch_all(library, monkeypatch)

    results, recorded = run_in_process(method, library_calls(library))

    assert results == expected
    assert recorded == (run_calls(library_calls(library))[1] if method == "fork" else 0)
