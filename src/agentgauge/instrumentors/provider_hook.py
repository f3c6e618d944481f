"""How a span processor of ours comes to the spans of a program, whenever that sets its tracer provider, and goes again."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api

from agentgauge.errors import contain_internal_errors
from agentgauge.recording.patching import patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import SpanProcessor

    from agentgauge.recording.patching import Patch

__all__ = ["ProviderHook", "sampled_share", "unsampled_reason"]

_SETTERS = ("_set_tracer_provider", "set_tracer_provider")  # the inner one is called by whoever holds the outer one since before


class ProviderHook:
    """Adds a span processor to the global tracer provider: the one that is set, or the one that will be."""

    def __init__(self, processor: SpanProcessor, on_provider: Callable[[Any], None]) -> None:
        """Do nothing yet; ``on_provider`` is told of each provider that the processor is added to."""
        self._processor = processor
        self._on_provider = on_provider
        self._providers: dict[int, tuple[weakref.ref[Any]]] = {}
        self._patch: Patch | None = None
        self._is_watching = False

    def install(self) -> None:
        """Add the processor now where a provider is set, and watch for one."""
        self._is_watching = True
        setter = next(name for name in _SETTERS if hasattr(trace_api, name))
        self._patch = patch(trace_api, setter, self._watch)
        with contain_internal_errors("provider_hook"):
            self._attach()

    def uninstall(self) -> None:
        """Watch no more; the processor stays until ``detach``."""
        self._is_watching = False  # somebody may have wrapped what we installed
        if self._patch is not None:
            self._patch.undo()

    def detach(self) -> None:
        """Take the processor out of every provider."""
        providers, self._providers = self._providers, {}
        for (provider,) in providers.values():
            # The API has no way to do that. Both kinds of list that the SDK has keep a tuple, and exchange it under their lock.
            listeners: Any = getattr(provider(), "_active_span_processor", None)
            lock = getattr(listeners, "_lock", None)
            processors = getattr(listeners, "_span_processors", None)
            if lock is not None and isinstance(processors, tuple):
                with lock:
                    kept = tuple(each for each in listeners._span_processors if each is not self._processor)  # noqa: SLF001
                    listeners._span_processors = kept  # noqa: SLF001 - see above

    def _watch(self, set_provider: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(set_provider)
        def set_and_attach(*args: Any, **kwargs: Any) -> Any:
            result = set_provider(*args, **kwargs)
            with contain_internal_errors("provider_hook"):
                self._attach()
            return result

        return set_and_attach

    def _attach(self) -> None:
        # Not asked of the API where none is set: it would load the one that an environment variable names, now.
        provider = getattr(trace_api, "_TRACER_PROVIDER", None)
        if provider is None and not hasattr(trace_api, "_TRACER_PROVIDER"):
            provider = trace_api.get_tracer_provider()
        add = getattr(provider, "add_span_processor", None)
        if add is None or not self._is_watching:
            return
        entry = (weakref.ref(provider),)
        known = self._providers.setdefault(id(provider), entry)  # in one step: two threads may be here
        if known is not entry and known[0]() is provider:
            return
        self._providers[id(provider)] = entry
        add(self._processor)
        self._on_provider(provider)


def unsampled_reason(provider: Any) -> str | None:
    """Say why some spans of a tracer provider never come to metrics that are made of spans; None where all come.

    Args:
        provider: A tracer provider, such as ``opentelemetry.trace.get_tracer_provider()``.

    Returns:
        One sentence without a full stop, or None.
    """
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None or not hasattr(provider, "add_span_processor"):
        return "no tracer provider of the OpenTelemetry SDK is set, so that nobody can listen to spans"
    if getattr(provider, "_disabled", False):
        return "OTEL_SDK_DISABLED switches all spans off"
    sampler = getattr(provider, "sampler", None)
    share = sampled_share(provider)
    if sampler is None or share == 1:
        return None
    if share is None:
        return f"the sampler {sampler.get_description()} decides by rules of its own"
    if share == 0:
        return f"the sampler {sampler.get_description()} drops every trace that begins here"
    return f"the sampler {sampler.get_description()} keeps {share:.2%} of the traces that begin here"


def sampled_share(provider: Any) -> float | None:
    """Return the share of the traces beginning here that a provider's sampler keeps, None where that cannot be known."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    sampler = getattr(provider, "sampler", None)
    if sdk is None or sampler is None:
        return None
    sampling = sdk.sampling
    root = getattr(sampler, "_root", None) if isinstance(sampler, sampling.ParentBased) else sampler
    if isinstance(root, sampling.StaticSampler):
        return float(root.should_sample(None, 0, "").decision.is_recording())
    return min(1.0, root.rate) if isinstance(root, sampling.TraceIdRatioBased) else None
