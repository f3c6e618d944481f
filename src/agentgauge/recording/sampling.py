"""What a tracer provider lets us skip: spans that its sampler would drop, and all of them where nobody hears of any."""

from __future__ import annotations

import copy
import os
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import propagation

from agentgauge.chance import CHANCE
from agentgauge.config import is_tracing_disabled
from agentgauge.errors import report_internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry import context as context_api
    from opentelemetry.trace import SpanContext, TracerProvider

__all__ = ["DEAF", "SPAN_KEY", "Tracing"]

SPAN_KEY: Any = getattr(propagation, "_SPAN_KEY", None)
"""The key of the span in a context."""

DEAF = "is_deaf_to_agentgauge"
"""The attribute of a span processor that hears nothing of our own spans."""

_draw = CHANCE.random
_TRACE_IDS = 2**64  # of that half which TraceIdRatioBased looks at


class UnheardRoot(trace_api.NonRecordingSpan):
    """A root that the sampler drops, or that nobody would hear of; its context is made when somebody asks, to hand it on.

    Attributes:
        roots: What drew it; its own, since the provider may be another when somebody asks.
        is_sampled: What the sampler decided.
        trace_id: What it decided about, None where that is drawn when somebody asks.
    """

    __init__ = object.__init__  # one that is written here would cost three times as much

    roots: Roots
    is_sampled: bool
    trace_id: int | None = None

    def get_span_context(self) -> SpanContext:
        """Return the same context to whoever asks."""
        made: SpanContext | None = self.__dict__.get("_context")
        return made or self.__dict__.setdefault("_context", self._make_context())  # another thread may ask meanwhile

    def _make_context(self) -> SpanContext:
        ids = self.roots.ids
        is_random = getattr(ids, "is_trace_id_random", bool)()
        flags = getattr(trace_api.TraceFlags, "RANDOM_TRACE_ID", 0) if is_random else 0
        flags |= trace_api.TraceFlags.SAMPLED if self.is_sampled else 0
        trace_id, span_id = self.roots.trace_id_of(self), ids.generate_span_id()
        return trace_api.SpanContext(trace_id, span_id, is_remote=False, trace_flags=trace_api.TraceFlags(flags))

    def traced_by(self, tracer: Any) -> Any:
        """Return a tracer that starts this root, for one that is heard."""
        tracer = copy.copy(tracer)
        tracer.id_generator = _GivenTraceId(self.roots.ids, self.roots.trace_id_of(self))
        return tracer

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


class Roots:
    """Roots under a sampler that takes the trace ids whose lower half is below a bound (``TraceIdRatioBased``).

    Where the SDK's own generator makes the ids, the decision alone is drawn, at a fifth of the price, and an id that agrees with
    it when somebody asks.
    """

    def __init__(self, ids: Any, bound: int) -> None:
        self.ids = ids
        self.bound = bound
        self.ratio = bound / _TRACE_IDS
        generators = sys.modules.get("opentelemetry.sdk.trace.id_generator")
        self._is_plain = generators is not None and type(ids) is generators.RandomIdGenerator and not vars(ids)

    def draw(self) -> UnheardRoot:
        """Return a root about which the sampler has decided."""
        root: UnheardRoot = UnheardRoot()
        root.roots = self
        if self._is_plain:
            root.is_sampled = _draw() < self.ratio
        else:
            root.trace_id = trace_id = self.ids.generate_trace_id()
            root.is_sampled = trace_id % _TRACE_IDS < self.bound
        return root

    def trace_id_of(self, root: UnheardRoot) -> int:
        """Return the trace id of a root of these."""
        if root.trace_id is not None:
            return root.trace_id
        lower = CHANCE.randrange(self.bound) if root.is_sampled else CHANCE.randrange(self.bound, _TRACE_IDS)
        return CHANCE.getrandbits(64) * _TRACE_IDS + lower


class _GivenTraceId:
    """An id generator whose next trace id is drawn already, since a sampler was to see it."""

    def __init__(self, ids: Any, trace_id: int) -> None:
        self._trace_id = trace_id
        self.generate_span_id = ids.generate_span_id
        self.is_trace_id_random = getattr(ids, "is_trace_id_random", bool)

    def generate_trace_id(self) -> int:
        """Return the trace id that was drawn."""
        return self._trace_id


def _yes() -> bool:
    return True


class Tracing:
    """The tracer of the provider that is set now, and what its sampler lets us skip."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Any = None
        self.is_enabled: Callable[[], bool] = _yes
        self.is_unsampled_parent_final = False
        self.unsampled_context: context_api.Context | None = None
        self.roots: Roots | None = None
        self._active: Any = None
        self._processors: tuple[Any, ...] | None = None
        self._is_heard = True
        self.opened = 0
        self.seconds = 0.0

    def adopt(self, provider: TracerProvider) -> None:
        """Look at a provider that was set since."""
        tracer = None if is_tracing_disabled() else provider.get_tracer("agentgauge")
        self.tracer = None if isinstance(tracer, trace_api.NoOpTracer) else tracer
        self.is_enabled = getattr(tracer, "_is_enabled", _yes)
        self.is_unsampled_parent_final, bound = _known_decisions(tracer)
        self.roots = None if bound is None else Roots(getattr(tracer, "id_generator", None), bound)
        self._active = _processors_of(provider)
        self._processors = None
        self.unsampled_context = None
        self.provider = provider

    def is_wanted_inside(self, parent: object, context: context_api.Context) -> bool:
        """Tell whether a span in ``context`` would be sampled, as far as its parent decides that, and heard of.

        Where nobody hears of it, the parent stays the one whose context is handed on.
        """
        if type(parent) is UnheardRoot:  # whose own context nobody need have made
            is_dropped = not parent.is_sampled  # type: ignore[attr-defined]  # it is one here
        elif isinstance(parent, trace_api.Span) and (told := parent.get_span_context()).is_valid:
            is_dropped = not told.is_remote and not told.trace_flags.sampled
        else:
            return True
        if is_dropped and self.is_unsampled_parent_final:
            self.unsampled_context = context  # the next call in it is not asked again
            return False
        return self.is_heard()

    def is_heard(self) -> bool:
        """Tell whether a span processor would hear of our spans."""
        if self._active is None:
            return True
        processors = self._active._span_processors  # noqa: SLF001 - a tuple, a new one with each processor that is added
        if processors is not self._processors:
            self._is_heard = any(not getattr(processor, DEAF, False) for processor in processors)
            self._processors = processors
        return self._is_heard


def _processors_of(provider: TracerProvider) -> Any:
    """Return what holds the span processors of a provider of the SDK; None where that cannot be looked into."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    active = getattr(provider, "_active_span_processor", None)
    is_known = sdk is not None and type(active) is sdk.SynchronousMultiSpanProcessor
    return active if is_known and isinstance(getattr(active, "_span_processors", None), tuple) else None


def _known_decisions(tracer: Any) -> tuple[bool, int | None]:
    """Return what is known of a tracer's sampler: that it drops what has an unsampled local parent, and the bound for roots.

    Only samplers of the SDK are known, and only those whose decision depends on nothing else. Trace ids below the bound are
    sampled; it is None where the sampler has to be asked.
    """
    sampling = sys.modules.get("opentelemetry.sdk.trace.sampling")  # not loaded means: not the SDK's sampler
    sampler = getattr(tracer, "sampler", None)
    if sampling is None or getattr(type(sampler), "should_sample", None) is not sampling.ParentBased.should_sample:
        return False, None
    is_final = getattr(sampler, "_local_parent_not_sampled", None) is sampling.ALWAYS_OFF
    root: Any = getattr(sampler, "_root", None)
    bound = None
    if root is sampling.ALWAYS_OFF:
        bound = 0
    elif root is sampling.ALWAYS_ON:
        bound = _TRACE_IDS
    elif type(root) is sampling.TraceIdRatioBased:
        bound = root.bound
    return is_final, bound if SPAN_KEY and hasattr(tracer, "id_generator") else None


def _settle_current_root() -> None:
    """Give the current root its ids before a fork: parent and child go on in one trace."""
    try:
        span = trace_api.get_current_span()
        if type(span) is UnheardRoot:
            span.get_span_context()
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
        report_internal_error("span_fork", fault)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle_current_root)
