"""The ways to observe DSPy: nothing, one callback that does nothing, agentgauge, and other libraries.

Each is entered and left again in one process, so that they can take turns, and tells what it has recorded so far.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy
from dspy.utils.callback import BaseCallback
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import REGISTRY

import agentgauge
from agentgauge import catalogue
from agentgauge.recording.default import default_recorder
from agentgauge.recording.series import SeriesKind
from measure import Subject
from references import set_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider

__all__ = [
    "OFFICIAL",
    "OPENINFERENCE",
    "Callback",
    "Official",
    "OpenInference",
    "Ours",
    "Reading",
    "Tally",
    "Way",
    "taking_turns",
]

OFFICIAL = "opentelemetry-instrumentation-genai-dspy"
OPENINFERENCE = "openinference-instrumentation-dspy"


class Reading(NamedTuple):
    """One series: its metric, its labels, and what it counts or sums up."""

    metric: str
    labels: Mapping[str, Any]
    value: float


class Outlet(NamedTuple):
    """Where spans go: their provider, and what exports them and tells how many there were, ever since."""

    provider: TracerProvider
    spans: Callable[[], int]


class Way:
    """One way to observe; this one is none at all.

    Attributes:
        outlet: Where its spans go, None where it makes none.
    """

    def __init__(self, outlet: Outlet | None = None) -> None:
        self.outlet = outlet

    @property
    def provider(self) -> TracerProvider | None:
        """The provider of its spans."""
        return None if self.outlet is None else self.outlet.provider

    def enter(self) -> None:
        """Begin to observe."""

    def leave(self) -> None:
        """Leave DSPy as it was."""

    def readings(self) -> Iterator[Reading]:
        """Collect the metrics as a reader of them does."""
        yield from ()

    def collected(self) -> dict[str, float]:
        """Collect all that was recorded; return how much there is of each, ever since."""
        held: dict[str, float] = {}
        for metric, _, value in self.readings():
            held[metric] = held.get(metric, 0) + value
        if self.outlet is not None:
            held["spans"] = self.outlet.spans()
        return held


class Callback(Way):
    """One callback whose methods do nothing."""

    def enter(self) -> None:
        """Hand it to DSPy."""
        dspy.configure(callbacks=[BaseCallback()])

    def leave(self) -> None:
        """Take it back."""
        dspy.configure(callbacks=[])


class Ours(Way):
    """agentgauge as ``start()`` sets it up, without its server and what it reads of the host; spans where there is a provider."""

    def enter(self) -> None:
        """Start."""
        set_provider(self.provider)
        agentgauge.start(instrumentors=("dspy",), is_server_enabled=False, collectors=())

    def leave(self) -> None:
        """Stop."""
        agentgauge.stop()
        set_provider(None)

    def readings(self) -> Iterator[Reading]:
        """Read them from the registry, as a scrape does."""
        for family in REGISTRY.collect():
            for sample in family.samples:
                is_of_calls = sample.name.startswith(("agent_", "gen_ai_")) and not sample.name.endswith("_bucket")
                if is_of_calls and "timestamp" not in sample.name:
                    yield Reading(sample.name, sample.labels, sample.value)

    def collected(self) -> dict[str, float]:
        """Fold everything into series, and sum them up; a scrape of a page with so few calls would cost more than these."""
        recorder = default_recorder()
        recorder.drain()
        held: dict[str, float] = {
            kind.value: sum(sum(child.counts) for series in recorder.series[kind].values() for child in series.children())
            for kind in SeriesKind
        }
        held["tokens used"] = sum(child.sum for child in recorder.cells.children.get(catalogue.CLIENT_TOKEN_USAGE, {}).values())
        for family in (catalogue.COST, catalogue.LM_UNPRICED):
            held[family.name] = sum(recorder.cells.values.get(family, {}).values())
        if self.outlet is not None:
            held["spans"] = self.outlet.spans()
        return held


class _Patching(Way):
    """A library that patches DSPy, and leaves methods behind that were inherited before: those would hide what comes later."""

    instrumentor: Any
    options: dict[str, Any]

    def enter(self) -> None:
        """Instrument."""
        self._own = {owner: set(vars(owner)) for owner in _classes()}
        self.instrumentor.instrument(**self.options)

    def leave(self) -> None:
        """Give DSPy its methods back."""
        self.instrumentor.uninstrument()
        for owner, names in self._own.items():
            for name in set(vars(owner)) - names:
                delattr(owner, name)


class Official(_Patching):
    """OpenTelemetry's own instrumentation, with spans where there is a provider, and with metrics where they are wanted."""

    def __init__(self, outlet: Outlet | None = None, *, has_metrics: bool = True) -> None:
        super().__init__(outlet)
        self._reader = InMemoryMetricReader() if has_metrics else None
        self.options = {
            "tracer_provider": self.provider or NoOpTracerProvider(),
            "meter_provider": MeterProvider([self._reader]) if self._reader is not None else NoOpMeterProvider(),
        }
        self.instrumentor = importlib.import_module("opentelemetry.instrumentation.genai.dspy").DSPyInstrumentor()

    def readings(self) -> Iterator[Reading]:
        """Read the counts and sums of its histograms."""
        data = None if self._reader is None else self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points:
                    if isinstance(point, HistogramDataPoint):
                        yield Reading(f"{metric.name}_count", dict(point.attributes or {}), point.count)
                        if metric.unit != "s":  # times differ from call to call
                            yield Reading(f"{metric.name}_sum", dict(point.attributes or {}), point.sum)


class OpenInference(_Patching):
    """OpenInference, which makes spans alone; with prompts and answers on them, as it is without settings, or with none."""

    def __init__(self, outlet: Outlet | None = None, *, has_content: bool = True) -> None:
        super().__init__(outlet)
        settings: Any = importlib.import_module("openinference.instrumentation").TraceConfig
        config = settings(hide_inputs=not has_content, hide_outputs=not has_content)
        self.options = {"tracer_provider": self.provider, "config": config}
        self.instrumentor = importlib.import_module("openinference.instrumentation.dspy").DSPyInstrumentor()


def _classes() -> set[type]:
    """Return the classes whose methods anybody may patch."""
    found: set[type] = set()
    waiting: list[type] = [dspy.Module, dspy.BaseLM, dspy.Adapter, dspy.Tool, dspy.Retrieve, dspy.Embeddings, dspy.ColBERTv2]
    while waiting:
        owner = waiting.pop()
        found.add(owner)
        waiting += set(type.__subclasses__(owner)) - found
    return found


def ways_of(package: str, outlet: Callable[[], Outlet]) -> dict[str, Way]:
    """Return the callback, agentgauge, and the package's ways; without a package agentgauge is without spans."""
    ways: dict[str, Way] = {"callback": Callback(), "ours: metrics": Ours()}
    if package:
        ways["ours: spans and metrics"] = Ours(outlet())
    if package == OFFICIAL:
        ways["metrics"] = Official()
        ways["spans"] = Official(outlet(), has_metrics=False)
        ways["spans and metrics"] = Official(outlet())
    elif package == OPENINFERENCE:
        ways["spans"] = OpenInference(outlet(), has_content=False)
        ways["spans with content"] = OpenInference(outlet())
    return ways


class Tally:
    """Tells from what a way holds how many calls were observed: each leaves the same as the one that was looked at first."""

    def __init__(self, name: str, way: Way, run: Callable[[int], None]) -> None:
        """Let ``run`` make some calls, and look at what one leaves; the way is entered.

        Raises:
            RuntimeError: It leaves nothing.
        """
        self._name = name
        self._way = way
        run(1)  # the first imports, and makes series that later ones find
        self.skip()
        run(1)
        self.one = self._since()
        if not any(self.one.values()):
            raise RuntimeError(f"{name}: a call was made, and nothing of it was recorded")

    def skip(self) -> None:
        """Pass over all that was recorded so far: two ways may share their books."""
        self._seen = self._way.collected()

    def settle(self) -> int:
        """Collect everything; return how many calls that is.

        Raises:
            RuntimeError: Parts of some call are missing.
        """
        found = self._since()
        of_any = next(key for key, each in self.one.items() if each)
        calls = round(found[of_any] / self.one[of_any])
        for key, value in found.items():
            if not math.isclose(value, calls * self.one.get(key, 0), rel_tol=1e-6, abs_tol=1e-9):
                raise RuntimeError(f"{self._name}: {calls} calls leave {value:g} {key}, one leaves {self.one.get(key, 0):g}")
        return calls

    def _since(self) -> dict[str, float]:
        held = self._way.collected()
        before, self._seen = self._seen, held
        return {key: value - before.get(key, 0) for key, value in held.items()}


def taking_turns(ways: Mapping[str, Way], run: Callable[[int], None]) -> tuple[list[Subject], dict[str, dict[str, float]]]:
    """Return subjects that take turns, and what one call leaves with each; DSPy alone is the first, called ``bare``."""
    current = Way()

    def enter(way: Way) -> None:
        nonlocal current
        current.leave()
        current = way
        way.enter()

    def subject(name: str, way: Way) -> Subject:
        enter(way)
        if type(way) in (Way, Callback):
            return Subject(name, run, prepare=lambda: enter(way))
        tally = Tally(name, way, run)
        left[name] = tally.one

        def prepare() -> None:
            enter(way)
            tally.skip()

        return Subject(name, run, tally.settle, prepare)

    left: dict[str, dict[str, float]] = {}
    subjects = [subject("bare", Way()), *(subject(name, way) for name, way in ways.items())]
    enter(Way())
    return subjects, left
