"""How decorated functions travel by value.

cloudpickle (and so Ray, Dask, Spark, joblib and ``dspy.Module.save``) takes apart a function that no module holds, such as one of
``__main__``, and the function of a class method: it pickles what the wrapper keeps at hand. Each of those things arrives as what
stands in its place over there; calls are recorded where they run.
"""

from __future__ import annotations

import copyreg
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agentgauge.recording.default import default_recorder
from agentgauge.recording.recorder import Buffer, Recorder
from agentgauge.recording.site import Site, Targets, current_agent

if TYPE_CHECKING:
    from collections.abc import Callable

    Reduced = tuple[Callable[..., Any], tuple[Any, ...]]

__all__ = ["make_sites_portable"]

_reduce_others = copyreg.dispatch_table.get(ContextVar)


def make_sites_portable() -> None:
    """Tell pickle how what wrappers keep at hand travels; for once in the life of the process."""
    copyreg.pickle(Recorder, _reduce_recorder)
    copyreg.pickle(Buffer, _reduce_buffer)
    copyreg.pickle(Site, _reduce_site)
    copyreg.pickle(Targets, _reduce_targets)
    copyreg.pickle(ContextVar, _reduce_context_variable)  # anybody else's goes where it went before


def _reduce_recorder(recorder: Recorder) -> Reduced:
    _refuse_unless(recorder is default_recorder(), recorder)
    return default_recorder, ()


def _reduce_buffer(buffer: Buffer) -> Reduced:
    _refuse_unless(buffer is default_recorder().buffer, buffer)
    return getattr, (default_recorder(), "buffer")


def _reduce_site(site: Site) -> tuple[Any, ...]:
    made = Site, (site.kind, site.name, site.agent, site.objective, site.recorder)
    return *made, (None, {"owners": site.owners, "targets": site.targets})  # the very table that the wrapper holds, too


def _reduce_targets(_targets: Targets) -> Reduced:
    return Targets, ()  # found anew over there


def _reduce_context_variable(variable: ContextVar[Any]) -> Any:
    if variable is not current_agent and _reduce_others is not None:
        return _reduce_others(variable)
    _refuse_unless(variable is current_agent, variable)
    return _current_agent, ()


def _current_agent() -> ContextVar[str]:
    return current_agent


def _refuse_unless(is_ours: bool, thing: object) -> None:
    if not is_ours:
        raise TypeError(f"cannot pickle {type(thing).__name__!r} object")
