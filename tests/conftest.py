"""Fixtures that every test may use."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import signal
import sys
import threading
import weakref
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

# What measures coverage has a lock, and a child that is forked while a thread holds it would hang at its first line of
# agentgauge: children are not measured, from before agentgauge's own hooks on.
for settrace in (sys.settrace, threading.settrace):
    os.register_at_fork(after_in_child=functools.partial(settrace, None))

from agentgauge import fork_gate, monitor
from agentgauge.errors import contained_errors
from agentgauge.notification import notifier
from agentgauge.recording import frame, patching
from agentgauge.recording.default import default_recorder
from agentgauge.recording.site import current_agent
from agentgauge.testing import isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler

    from agentgauge.testing import Isolation


_getpid = os.getpid  # which tests may replace
_PROCESS = _getpid()

# A busy machine may take its time over any example, and each run tries the same ones: a failure is there again the next time.
with suppress(ModuleNotFoundError):  # the environments of the frameworks do without
    import_module("hypothesis").settings.load_profile("ci")


def pytest_configure() -> None:
    """Let children begin with the actions that signals have by default, also where ``nohup`` or a shell's ``&`` ignores some."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)  # what is ignored a program inherits, and a handler it does not


def _ignore(_number: int, _frame: object) -> None:
    pass


_LASTING = (
    "agentgauge.recording",
    "agentgauge.breaker",
)  # decorated functions last as their module does; breakers are one


def pytest_collection_finish() -> None:
    """Let garbage collections pass over what all the modules hold for good: each would take half a second.

    What test modules made as they were imported shows itself on no test's page.
    """
    for book in (default_recorder().reporters, default_recorder().dependents):
        for made in book:
            if not type(made).__module__.startswith(_LASTING):
                book.discard(made)
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let tests that need servers say what to install where they are missing; in CI that is a failure.

    Those whose marker names others, as in ``servers("redis")``, look for them in their fixtures, and say the same.
    """
    marker = item.get_closest_marker("servers")
    if marker is None or marker.args or not (missing := _missing_programs()):
        return
    packages = "prometheus prometheus-alertmanager prometheus-node-exporter"
    message = f"{', '.join(missing)} not on PATH; on Debian: apt-get install {packages}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _missing_programs() -> list[str]:
    wanted = (
        ("prometheus",),
        ("promtool",),
        ("amtool",),
        ("prometheus-alertmanager", "alertmanager"),
        ("prometheus-node-exporter", "node_exporter"),
    )
    return [names[0] for names in wanted if not any(map(shutil.which, names))]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """End a forked child that has left its test: it must not go on with those of its parent."""
    if _getpid() != _PROCESS:
        os._exit(1)


@pytest.fixture
def fresh() -> Iterator[Isolation]:
    """Let everything decorated record into an empty recorder, on a registry and a clock of the test's own."""
    with isolated() as isolation:
        yield isolation
        assert current_agent.get() == "", "the test left an agent's name behind"


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Let no garbage collection come in the middle: what it finalizes would run code of ours at a moment of its own."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def set_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., InMemorySpanExporter]]:
    """Give a function that sets a real tracer provider for the rest of the test and returns what collects its spans."""
    providers = []
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())

    def install(sampler: Sampler | None = None, *processors: SpanProcessor) -> InMemorySpanExporter:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        for processor in processors:
            provider.add_span_processor(processor)
        providers.append(provider)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        trace.set_tracer_provider(provider)
        return exporter

    yield install
    for provider in providers:
        provider.shutdown()


@pytest.fixture
def spans(set_provider: Callable[..., InMemorySpanExporter]) -> InMemorySpanExporter:
    """Collect every span of a real SDK that samples all."""
    return set_provider()


@pytest.fixture(autouse=True)
def what_a_test_made_ends_with_it() -> Iterator[None]:
    """Keep objects that await their collection from the books of later tests, and their destinations from trying again there."""
    recorder = default_recorder()
    books = recorder.reporters, recorder.dependents
    before = weakref.WeakSet(itertools.chain(*books))
    notifiers_before = weakref.WeakSet(notifier._notifiers)
    yield
    for made in set(itertools.chain(*books)) - set(before):
        if not type(made).__module__.startswith(_LASTING):
            for book in books:
                book.discard(made)
    for made in set(notifier._notifiers) - set(notifiers_before):
        for lane in made._lanes:
            made.remove(lane.handler)


@pytest.fixture(autouse=True)
def locks_are_free() -> Iterator[None]:
    """Fail the test that keeps a lock of the process, rather than the one after it that waits for ever."""
    yield
    assert (kept := [name for name, lock in _locks() if lock._is_owned()]) == [], f"the test kept {kept}"


def _locks() -> list[tuple[str, Any]]:
    return [
        ("frame", frame._counting),
        ("patching", patching._lock),
        ("contained_errors", contained_errors._counting),
        ("contained_errors' log", contained_errors._logging.lock),
        ("LOADING", fork_gate.LOADING.lock),
        ("recorder.lock", default_recorder().lock),
        ("recorder._counting", default_recorder()._counting),
        ("monitor", monitor._gate.lock),
    ]
