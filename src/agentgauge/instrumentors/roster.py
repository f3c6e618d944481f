"""The frameworks that can be instrumented, and their state in this process."""

from __future__ import annotations

import logging
import re
import sys
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
        file: The module here that holds its ``instrument(kit)``.
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
        self._names = tuple(FRAMEWORKS) if names is None else tuple(names)
        for name in self._names if names is not None else ():
            if name not in FRAMEWORKS:
                raise ConfigurationError(f"instrumentors: {name!r} is unknown; give any of {', '.join(FRAMEWORKS)}")
            problem = FRAMEWORKS[name].problem()
            if problem is not None:
                raise ConfigurationError(f"instrumentors: {problem}")

    def start(self) -> None:
        """Instrument what is loaded, and the rest when it is imported."""
        for name in self._names:
            framework = FRAMEWORKS[name]
            if framework.module in sys.modules:
                self._instrument(framework)
            elif framework.installed_version() is not None:
                wrapt.register_post_import_hook(_Hook(self, framework), framework.module)

    def stop(self) -> None:
        """Give back every patched attribute."""
        self._is_stopped = True
        self._active.clear()
        self._undo.close()

    def _instrument(self, framework: Framework) -> None:
        if self._is_stopped:  # an import hook cannot be taken back
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
                self._undo.push(undo)
                self._active.add(framework.name)
        else:
            _logger.warning("agentgauge does not instrument %s: %s", framework.name, problem)
        self._recorder.observe(INSTRUMENTOR_ACTIVE, ((INSTRUMENTOR, framework.name),), float(problem is None))


class _Hook:
    """Instruments a framework when it has been imported."""

    def __init__(self, instrumentation: Instrumentation, framework: Framework) -> None:
        self._instrumentation = instrumentation
        self._framework = framework

    def __call__(self, _module: Any) -> None:
        self._instrumentation._instrument(self._framework)  # noqa: SLF001 - of this module


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
