"""Which frameworks ``start()`` instruments, when, and what it says where it cannot; with a framework made for the test."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

import agentgauge
from agentgauge.errors import contained_errors
from agentgauge.fork_gate import LOADING
from agentgauge.instrumentors import roster
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.roster import FRAMEWORKS, Framework, Instrumentation
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentgauge.testing import Isolation

ACTIVE = "agentgauge_instrumentor_active"
CALLS = "agent_task_duration_seconds_count"
CALL = {"agent_task": "crew.call", "outcome": "success"}

TOOLS = "def call():\n    return 'called'\n"
HOOKS = """\
from agentgauge.recording.series import SeriesKind
from crew import tools


def instrument(kit):
    kit.measure(tools, "call", lambda _args, _kwargs: kit.begin(SeriesKind.TASK, "crew.call"))
"""


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Framework]]:
    """Give a function that makes a framework named crew, and our file for it, the only ones there are."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(package: str = "from crew import tools\n", tools: str = TOOLS, more: str = "", hooks: str = HOOKS) -> Framework:
        (tmp_path / "crew").mkdir()
        (tmp_path / "crew" / "__init__.py").write_text(package)
        (tmp_path / "crew" / "tools.py").write_text(tools)
        (tmp_path / "crew" / "more.py").write_text(more)
        (tmp_path / "crew_hooks.py").write_text(hooks)
        importlib.invalidate_caches()
        framework = Framework("crew", "crew", "prometheus-client", "0.1", "crew_hooks")  # a distribution that is there
        monkeypatch.setattr(roster, "FRAMEWORKS", {"crew": framework})
        return framework

    yield make
    for name in ("crew", "crew.tools", "crew.more", "crew_hooks"):
        sys.modules.pop(name, None)


@pytest.fixture
def instrumentation(fresh: Isolation) -> Iterator[Callable[[], Instrumentation]]:
    """Give a function that starts an instrumentation, which is stopped after the test."""
    started = []

    def start() -> Instrumentation:
        started.append(Instrumentation(fresh.recorder, Content()))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


def call() -> None:
    assert importlib.import_module("crew.tools").call() == "called"


# --- what is asked for by name --------------------------------------------------------------------------------------------


def start(*names: str) -> None:
    agentgauge.start(registry=CollectorRegistry(), instrumentors=names, is_server_enabled=False, collectors=())


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(agentgauge.ConfigurationError, match=rf"'crewai' is unknown; give any of {', '.join(FRAMEWORKS)}"):
        start("crewai")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_that_is_missing_is_refused_with_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "FRAMEWORKS", {name: replace(FRAMEWORKS[name], distribution="surely-not-installed")})
    with pytest.raises(agentgauge.ConfigurationError, match=rf"not installed: pip install 'agentgauge\[{name}\]'"):
        start(name)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_that_is_too_old_is_refused_with_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "FRAMEWORKS", {name: replace(FRAMEWORKS[name], minimum_version="999.1")})
    with pytest.raises(agentgauge.ConfigurationError, match=rf"too old, 999.1 is needed: pip install -U 'agentgauge\[{name}\]'"):
        start(name)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_that_the_tests_run_with_is_new_enough(name: str) -> None:
    assert FRAMEWORKS[name].problem() is None


# --- what is there --------------------------------------------------------------------------------------------------------


def test_a_framework_that_is_missing_and_not_asked_for_is_passed_over_in_silence(
    fresh: Isolation,
    crew: Callable[..., Framework],
    instrumentation: Callable[[], Instrumentation],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(roster, "FRAMEWORKS", {"crew": replace(crew(), distribution="surely-not-installed")})
    instrumentation()
    call()

    assert caplog.records == []
    assert fresh.value(ACTIVE, instrumentor="crew") is None
    assert "crew_hooks" not in sys.modules


def test_a_framework_that_is_too_old_and_not_asked_for_is_left_alone_with_a_warning(
    fresh: Isolation,
    crew: Callable[..., Framework],
    instrumentation: Callable[[], Instrumentation],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(roster, "FRAMEWORKS", {"crew": replace(crew(), minimum_version="999")})
    instrumentation()
    call()

    assert "pip install -U 'agentgauge[crew]'" in caplog.text
    assert fresh.value(ACTIVE, instrumentor="crew") == 0
    assert fresh.value(CALLS, **CALL) is None


def test_a_framework_is_instrumented_when_it_is_imported_and_not_loaded_before(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation]
) -> None:
    crew()
    with reraise_internal_errors():
        instrumentation()
        assert not {"crew", "crew_hooks"} & set(sys.modules)
        assert fresh.value(ACTIVE, instrumentor="crew") is None
        call()

    assert fresh.value(ACTIVE, instrumentor="crew") == 1
    assert fresh.value(CALLS, **CALL) == 1


def test_a_framework_that_is_imported_after_stop_is_left_alone(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation]
) -> None:
    crew()
    instrumentation().stop()
    call()

    assert fresh.value(ACTIVE, instrumentor="crew") is None
    assert fresh.value(CALLS, **CALL) is None
    assert "crew_hooks" not in sys.modules


def test_a_framework_is_instrumented_once_by_each_start_and_given_back_by_each_stop(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation]
) -> None:
    crew()
    with reraise_internal_errors():
        instrumentation().stop()  # its import hook stays, and must do nothing
        first = instrumentation()
        call()
        assert fresh.value(CALLS, **CALL) == 1
        first.stop()
        call()
        assert fresh.value(CALLS, **CALL) == 1
        instrumentation()
        call()
        assert fresh.value(CALLS, **CALL) == 2


def test_an_instrumentation_that_is_stopped_while_another_thread_instruments_leaves_nothing_behind(
    fresh: Isolation,
    crew: Callable[..., Framework],
    instrumentation: Callable[[], Instrumentation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew(hooks=HOOKS + "    from agentgauge.instrumentors.roster import on_instrumented\n    on_instrumented()\n")
    monkeypatch.setattr(roster, "on_instrumented", instrumentation().stop, raising=False)

    with reraise_internal_errors():
        call()
    assert "crew_hooks" in sys.modules
    assert fresh.value(CALLS, **CALL) is None


@pytest.mark.parametrize("is_loaded", [False, True], ids=["imported later", "loaded"])
def test_a_file_of_ours_that_raises_is_contained_and_undone(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation], *, is_loaded: bool
) -> None:
    crew(hooks=HOOKS + "    raise AttributeError('the framework has changed')\n")
    if is_loaded:
        call()
    instrumentation()
    call()

    assert fresh.value(ACTIVE, instrumentor="crew") == 0
    assert contained_errors.count_by_hook == {"instrument_crew": 1}
    assert fresh.value(CALLS, **CALL) is None


# --- while another thread imports it --------------------------------------------------------------------------------------


class Gate:
    """Holds whoever imports a module that calls ``pause()``, until the test lets it go on."""

    def __init__(self) -> None:
        self.imports = 0
        self.is_there = threading.Event()
        self.may_go_on = threading.Event()

    def pause(self) -> None:
        self.is_there.set()
        assert self.may_go_on.wait(60)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(roster, "gate", made, raising=False)  # where what is imported finds it
    return made


PAUSE = "from agentgauge.instrumentors.roster import gate\ngate.pause()\n"


def in_thread(function: Callable[[], Any], faults: list[BaseException]) -> threading.Thread:
    def run() -> None:
        try:
            function()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("half_made", "files"),
    [
        pytest.param("crew", {"package": f"{PAUSE}from crew import tools\n"}, id="all of it"),
        pytest.param(
            "crew.tools",
            {
                "package": "",
                "tools": f"{PAUSE}{TOOLS}from crew.more import name\n",
                "more": "from crew.tools import call\nname = call.__name__\n",
                "hooks": f"import crew.more\n{HOOKS}",
            },
            id="a part of it",
        ),
    ],
)
def test_what_another_thread_is_importing_is_waited_for_and_both_go_on(
    fresh: Isolation,
    crew: Callable[..., Framework],
    instrumentation: Callable[[], Instrumentation],
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    half_made: str,
    files: dict[str, str],
) -> None:
    crew(**files)
    waits = threading.Event()
    wait_for = roster._wait_for

    def note_and_wait(module: str) -> None:
        waits.set()
        wait_for(module)

    monkeypatch.setattr(roster, "_wait_for", note_and_wait)
    faults: list[BaseException] = []
    importer = in_thread(lambda: importlib.import_module(half_made), faults)
    assert gate.is_there.wait(60)
    starter = in_thread(instrumentation, faults)
    assert waits.wait(60)
    with_hook = LOADING.acquire(60)
    LOADING.release()
    assert with_hook, "an import hook in the thread that imports would wait for ever"
    assert "crew_hooks" not in sys.modules
    gate.may_go_on.set()
    importer.join(60)
    starter.join(60)
    assert not importer.is_alive()
    assert not starter.is_alive()
    call()

    assert faults == []
    assert contained_errors.count_by_hook == {}
    assert fresh.value(ACTIVE, instrumentor="crew") == 1
    assert fresh.value(CALLS, **CALL) == 1


def test_an_import_that_fails_in_another_thread_is_not_tried_again_and_a_later_one_is_instrumented(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation], gate: Gate
) -> None:
    crew(package=f"{PAUSE}gate.imports += 1\nif gate.imports == 1: raise OSError\nfrom crew import tools\n")
    faults: list[BaseException] = []
    importer = in_thread(lambda: importlib.import_module("crew"), faults)
    assert gate.is_there.wait(60)
    starter = in_thread(instrumentation, faults)
    gate.may_go_on.set()
    importer.join(60)
    starter.join(60)

    assert [type(fault) for fault in faults] == [OSError]
    assert gate.imports == 1
    call()
    assert fresh.value(CALLS, **CALL) == 1


ONLY_OURS = """
import sys
from importlib import import_module
from agentgauge.instrumentors import content
from agentgauge.instrumentors.roster import FRAMEWORKS

framework = FRAMEWORKS[sys.argv[1]]
import_module(framework.module)
before = set(sys.modules)
import_module(framework.file)
print(sorted(name for name in set(sys.modules) - before if not name.startswith("agentgauge.")))
"""


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_our_files_load_nothing_of_a_framework_that_it_has_not_loaded_itself(name: str) -> None:
    """They are loaded inside ``fork_gate.LOADING``, which import hooks take while they hold locks of modules."""
    ran = subprocess.run([sys.executable, "-c", ONLY_OURS, name], capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout.strip().rpartition("\n")[2] == "[]", ran.stderr


# --- a forked child -------------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        is_well = False
        try:
            is_well = work()
        finally:
            os._exit(0 if is_well else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("is_loaded", [False, True], ids=["imported by the child", "loaded"])
def test_a_forked_child_goes_on_instrumented_and_may_stop_and_start_anew(
    fresh: Isolation, crew: Callable[..., Framework], instrumentation: Callable[[], Instrumentation], *, is_loaded: bool
) -> None:
    crew()
    running = instrumentation()
    if is_loaded:
        call()

    def work() -> bool:
        before = fresh.value(CALLS, **CALL) or 0
        call()
        counts = [fresh.value(CALLS, **CALL)]
        running.stop()
        call()
        counts.append(fresh.value(CALLS, **CALL))
        instrumentation()
        call()
        counts.append(fresh.value(CALLS, **CALL))
        return counts == [before + 1, before + 1, before + 2] and fresh.value(ACTIVE, instrumentor="crew") == 1

    assert in_child(work)
    call()
    assert fresh.value(CALLS, **CALL) == 1 + is_loaded
