"""Every place inside agentgauge where a test can make something fail: one table, and the switches."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter, deque
from dataclasses import dataclass

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import RandomIdGenerator, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from agentgauge.errors import contained_errors
from agentgauge.recording import recorder as recorder_module
from agentgauge.recording import tracing
from agentgauge.recording.admission import Admission
from agentgauge.recording.outcome import failure_of
from agentgauge.recording.points import clean_label, label_text
from agentgauge.recording.recorder import Recorder
from agentgauge.recording.series import CallSeries
from agentgauge.recording.site import Site, current_agent
from agentgauge.testing import FakeClock, isolated


class InjectedError(Exception):
    """Stands for any fault of ours."""


# --- the table ------------------------------------------------------------------------------------------------------------

METHODS = {
    "target lookup": (Site, "enter"),
    "admission": (Admission, "admit"),
    "tracked target": (Admission, "tracked_target"),
    "observation": (Recorder, "observe"),
    "relief": (Recorder, "relieve"),
    "lock": (Recorder, "_hold_and"),
    "fold": (Recorder, "_take"),
    "count": (CallSeries, "settle"),
    "span attribute": (Span, "set_attribute"),
    "span status": (Span, "set_status"),
    "span recording": (Span, "is_recording"),
}
"""Methods that fail instead of being called."""

FUNCTIONS = {
    "label": clean_label,
    "label text": label_text,
    "classification": failure_of,
    "span context": tracing.sampled_context,
}
"""Functions that fail in whatever module of ours has imported them."""

VARIABLE = {"agent get": "get", "agent set": "set", "agent reset": "reset"}
"""The methods of the context variable that bears the agent's name."""

TRACING = {"span attach": "_set_context", "span detach": "_reset_context", "current span": "_get_context"}
"""Functions of the module ``tracing``, by which it reaches OpenTelemetry's context."""

OTHERS = {
    "clock",
    "buffer append",
    "buffer length",
    "tracer",
    "sampler",
    "id generator",
    "processor start",
    "processor end",
    "exporter",
    "log handler",
}
"""What is built to fail below."""

POINTS = sorted({*METHODS, *FUNCTIONS, *VARIABLE, *TRACING, *OTHERS})

NEEDS_SDK = {
    *(name for name in POINTS if name.startswith("span ")),
    *("current span", "tracer", "sampler", "id generator", "processor start", "processor end", "exporter"),
}

NEEDS_A_LONG_BUFFER = {"relief", "lock", "fold"}

CONTAINED_BY_THE_SDK = {"exporter"}


# --- the switches ---------------------------------------------------------------------------------------------------------


class Switches:
    """Which points fail now, how often each has failed, and the span counts."""

    def __init__(self) -> None:
        self.armed: frozenset[str] = frozenset()
        self.error: type[Exception] = InjectedError
        self.fired: Counter[str] = Counter()
        self.epoch = 0
        self.drain = self.lengthen = lambda: None

    def arm(self, *names: str, error: type[Exception] = InjectedError) -> None:
        if not self.armed:
            self.drain()  # what ended before the faults must not be theirs
        self.armed = frozenset((*names, *(("clock",) if "log handler" in names else ())))
        self.error = error
        self.epoch += 1
        if not self.armed.isdisjoint(NEEDS_A_LONG_BUFFER):
            self.lengthen()
        contained_errors._next_log_by_hook.clear()  # so that the next fault is logged

    def disarm(self) -> None:
        if self.armed:
            self.arm()

    @contextlib.contextmanager
    def paused(self):
        armed, self.armed = self.armed, frozenset()
        yield
        self.armed = armed

    def trip(self, name: str) -> None:
        if name in self.armed:
            self.fired[name] += 1
            raise self.error(name)

    def before(self, name: str, function):
        def fallible(*args, **kwargs):
            self.trip(name)
            return function(*args, **kwargs)

        return fallible


class _Proxy:
    """Another object, some of whose methods may fail."""

    def __init__(self, switches: Switches, real, methods: dict[str, str]) -> None:
        self._real = real
        for name, method in methods.items():
            setattr(self, method, switches.before(name, getattr(real, method)))

    def __getattr__(self, attribute: str):
        return getattr(self._real, attribute)


def _fallible_deque(switches: Switches) -> type:
    class FallibleDeque(deque):
        def append(self, item) -> None:
            switches.trip("buffer append")
            super().append(item)

        def __len__(self) -> int:
            switches.trip("buffer length")
            return super().__len__()

    return FallibleDeque


class _FallibleClock(FakeClock):
    def __init__(self, switches: Switches) -> None:
        super().__init__()
        self._switches = switches

    def __call__(self) -> float:
        self._switches.trip("clock")
        return super().__call__()


class _FallibleSampler(Sampler):
    def __init__(self, switches: Switches) -> None:
        self.should_sample = switches.before("sampler", ALWAYS_ON.should_sample)

    def should_sample(self, *args, **kwargs):
        raise NotImplementedError

    def get_description(self) -> str:
        return "fails when told to"


class Ends(SpanProcessor):
    """Counts how often each span was ended; fails before or after it has counted."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self.by_span: Counter[int] = Counter()
        self.ended: list[trace.Span] = []

    def on_start(self, span, parent_context=None) -> None:
        self._switches.trip("processor start")
        self.by_span[span.get_span_context().span_id] = 0

    def on_end(self, span) -> None:
        self.by_span[span.context.span_id] += 1
        self.ended.append(span)
        self._switches.trip("processor end")


class _FallibleExporter(SpanExporter):
    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def export(self, spans) -> SpanExportResult:
        self._switches.trip("exporter")
        return SpanExportResult.SUCCESS


class _FallibleHandler(logging.Handler):
    def __init__(self, switches: Switches) -> None:
        super().__init__()
        self._switches = switches

    def handle(self, record: logging.LogRecord) -> bool:
        self._switches.trip("log handler")
        return True


@dataclass(frozen=True)
class Bench:
    """What ``fallible`` gives: the switches, the isolation, and how often each span ended."""

    switches: Switches
    isolation: object
    ends: Ends

    def internal_errors(self) -> int:
        return sum(contained_errors.count_by_hook.values())


def _filler(recorder: Recorder):
    """Return what makes the buffer so long that every call tries to drain it."""
    target = recorder.admission.tracked_target("", "filler", is_entry=False, objective=None)
    return lambda: recorder.buffer.extend([[target, 0.0, 0.0, None]] * 2_000)


def _only_of_ours(switches: Switches, name: str, method):
    def fallible(span, *args, **kwargs):
        if span.instrumentation_scope.name == "agentgauge":  # the host's own spans work
            switches.trip(name)
        return method(span, *args, **kwargs)

    return fallible


def _provider(switches: Switches, ends: Ends) -> TracerProvider:
    generator = _Proxy(switches, RandomIdGenerator(), {"id generator": "generate_span_id"})
    provider = TracerProvider(sampler=_FallibleSampler(switches), id_generator=generator, shutdown_on_exit=False)
    provider.add_span_processor(ends)
    provider.add_span_processor(SimpleSpanProcessor(_FallibleExporter(switches)))
    provider.get_tracer = switches.before("tracer", provider.get_tracer)
    return provider


def _patch_everywhere(patch: pytest.MonkeyPatch, original, replacement) -> None:
    for name, module in list(sys.modules.items()):
        if name == "agentgauge" or name.startswith("agentgauge."):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    patch.setattr(module, attribute, replacement)


@contextlib.contextmanager
def fallible(*, has_sdk: bool):
    """Record what is decorated in the block on a recorder all of whose points can be made to fail; none does at first."""
    switches = Switches()
    ends = Ends(switches)
    log = logging.getLogger("agentgauge")
    handler = _FallibleHandler(switches)
    with contextlib.ExitStack() as stack:
        provider = _provider(switches, ends)
        stack.callback(provider.shutdown)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(trace, "_TRACER_PROVIDER", provider if has_sdk else None)
        patch.setattr(recorder_module, "deque", _fallible_deque(switches))
        isolation = stack.enter_context(isolated(_FallibleClock(switches)))
        stack.callback(patch.undo)  # before the isolation ends: what comes after it is real again
        isolation.recorder.open = deque()  # no caller appends to it
        switches.lengthen = _filler(isolation.recorder)
        switches.drain = isolation.recorder.drain
        _patch_everywhere(patch, current_agent, _Proxy(switches, current_agent, VARIABLE))
        for name, function in TRACING.items():
            patch.setattr(tracing, function, switches.before(name, getattr(tracing, function)))
        for name, (owner, method) in METHODS.items():
            wrap = _only_of_ours if owner is Span else Switches.before
            patch.setattr(owner, method, wrap(switches, name, getattr(owner, method)))
        for name, function in FUNCTIONS.items():
            _patch_everywhere(patch, function, switches.before(name, function))
        patch.setattr(log, "propagate", False)
        log.addHandler(handler)
        stack.callback(log.removeHandler, handler)
        stack.callback(switches.disarm)
        yield Bench(switches, isolation, ends)
