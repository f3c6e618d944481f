"""The frameworks that can be instrumented, and their state in this process."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import wrapt

from agentgauge.catalogue import INSTRUMENTOR, INSTRUMENTOR_ACTIVE
from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.fork_gate import load
from agentgauge.instrumentors.kit import Kit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.instrumentors.content import Content
    from agentgauge.recording.recorder import Recorder

__all__ = ["FRAMEWORKS", "Framework", "Instrumentation"]

_logger = logging.getLogger("agentgauge")


@dataclass(frozen=True)
class Framework:
    """What can be instrumented.

    Attributes:
        name: What users call it: in ``instrumentors=``, in ``pip install 'agentgauge[NAME]'``, in the label ``instrumentor``.
        module: The module whose import makes it ready to be instrumented.
        distribution: Its name on PyPI.
        minimum_version: The oldest version that the tests run with.
        file: The module here that holds its ``instrument(kit)``. Of the framework it may import only what ``module`` has loaded:
            see ``Instrumentation.start``.
    """

    name: str
    module: str
    distribution: str
    minimum_version: str
    file: str

    def installed_version(self) -> str | None:
        """Return the version that is installed, None where none is."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None

    def problem(self) -> str | None:
        """Say why it cannot be instrumented, and what to do; None where it can."""
        installed = self.installed_version()
        if installed is None:
            return f"{self.distribution} is not installed: pip install 'agentgauge[{self.name}]'"
        if _numbers(installed) < _numbers(self.minimum_version):
            return (
                f"{self.distribution} {installed} is too old, {self.minimum_version} is needed: "
                f"pip install -U 'agentgauge[{self.name}]'"
            )
        return None


FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework("dspy", "dspy", "dspy", "3.4", "agentgauge.instrumentors.dspy"),
        Framework("langchain", "langchain_core.tracers.context", "langchain-core", "1.0", "agentgauge.instrumentors.langchain"),
        Framework("openai-agents", "agents", "openai-agents", "0.20", "agentgauge.instrumentors.openai_agents"),
        Framework("genai-spans", "opentelemetry.sdk.trace", "opentelemetry-sdk", "1.30", "agentgauge.instrumentors.genai_spans"),
    )
}


class Instrumentation:
    """The frameworks that are instrumented by one ``start()``.

    A framework is instrumented when the program imports it, so that none is loaded for nothing; one that is loaded, at once.
    """

    def __init__(self, recorder: Recorder, content: Content, names: Sequence[str] | None = None) -> None:
        """Check the names.

        Args:
            recorder: Where calls are recorded.
            content: What may be kept of prompts and answers.
            names: Frameworks that must be there; None for all that are.

        Raises:
            ConfigurationError: A framework is unknown, missing or too old.
        """
        self._recorder = recorder
        self._content = content
        self._undo = ExitStack()
        self._is_stopped = False
        self._active: set[str] = set()
        self._begun: dict[str, object] = {}
        self._names = tuple(FRAMEWORKS) if names is None else tuple(names)
        for name in self._names if names is not None else ():
            if name not in FRAMEWORKS:
                raise ConfigurationError(f"instrumentors: {name!r} is unknown; give any of {', '.join(FRAMEWORKS)}")
            problem = FRAMEWORKS[name].problem()
            if problem is not None:
                raise ConfigurationError(f"instrumentors: {problem}")

    def start(self) -> None:
        """Instrument what is loaded, and the rest when it is imported.

        What another thread is just importing is waited for, outside ``fork_gate.LOADING``: import hooks take that while they hold
        the locks of the modules they come from. For the same reason nothing of a framework is loaded inside it.
        """
        for name in self._names:
            framework = FRAMEWORKS[name]
            _wait_for_half_made(framework.module)
            if framework.module not in sys.modules:  # or no more: its import failed
                if framework.installed_version() is None:
                    continue
                hook = _Hook(self, framework)
                wrapt.register_post_import_hook(hook, framework.module)
                hook.registering_thread = None
                _wait_for(framework.module)  # an import that began before the hook was there does not call it
            if framework.module in sys.modules:
                self._instrument(framework)

    def stop(self) -> None:
        """Give back every patched attribute."""
        self._is_stopped = True
        for name in sorted(self._active):
            self._recorder.observe(INSTRUMENTOR_ACTIVE, ((INSTRUMENTOR, name),), 0.0)
        self._active.clear()
        self._undo.close()

    def _instrument(self, framework: Framework) -> None:
        if self._is_stopped:  # an import hook cannot be taken back
            return
        turn = object()
        if self._begun.setdefault(framework.name, turn) is not turn:  # in one step: another thread's import may be here
            return
        problem = framework.problem()
        if problem is None:
            undo = ExitStack()
            try:
                kit = Kit(framework.name, self._recorder, self._content, undo, self._active)
                load(framework.file).instrument(kit)
            except Exception as fault:  # noqa: BLE001 - the host's import must not fail for that
                undo.close()
                problem = f"{type(fault).__name__}: {fault}"
                report_internal_error(f"instrument_{framework.name}", fault)
            else:
                self._keep(framework.name, undo)
        else:
            _logger.warning("agentgauge does not instrument %s: %s", framework.name, problem)
        self._recorder.observe(INSTRUMENTOR_ACTIVE, ((INSTRUMENTOR, framework.name),), float(problem is None))

    def _keep(self, name: str, undo: ExitStack) -> None:
        self._undo.push(undo)
        self._active.add(name)
        if self._is_stopped:  # meanwhile, by another thread
            self._active.discard(name)
            undo.close()


class _Hook:
    """Instruments a framework when it has been imported."""

    def __init__(self, instrumentation: Instrumentation, framework: Framework) -> None:
        self._instrumentation = instrumentation
        self._framework = framework
        self.registering_thread: int | None = threading.get_ident()

    def __call__(self, _module: Any) -> None:
        if self.registering_thread != threading.get_ident():  # else another thread imports it by now: ``start`` waits for that
            self._instrumentation._instrument(self._framework)  # noqa: SLF001 - of this module


def _wait_for(module: str) -> None:
    """Return when no other thread is importing a module, without importing it.

    Python's own import statement asks so of a module that is half made. Where the two threads would wait for one another, and
    where this thread itself is importing it, it returns at once.
    """
    getattr(importlib, "_bootstrap")._lock_unlock_module(module)  # noqa: B009, SLF001 - nothing public waits without importing


def _wait_for_half_made(module: str) -> None:
    """Let other threads finish what they are importing of a framework.

    What our file imports of it would meet them half way: both threads would wait for one another's modules, and Python gets out
    of that by handing one of them a module that is half made, where the host's import fails.
    """
    package = module.partition(".")[0]
    if getattr(sys.modules.get(package), "__file__", None) is None:  # shared by many distributions, as opentelemetry is
        package = module
    waited: set[str] = set()
    while pending := _half_made(package) - waited:
        waited |= pending
        for name in sorted(pending):  # the outermost first
            _wait_for(name)


def _half_made(package: str) -> set[str]:
    return {
        name
        for name, module in sys.modules.copy().items()
        if (name == package or name.startswith(f"{package}."))
        and getattr(getattr(module, "__spec__", None), "_initializing", False)
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
