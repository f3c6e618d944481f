"""Libraries that only some installations have, and what to type where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_extra"]


def load_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        module: Such as ``scipy.stats``.
        extra: That which installs it.
        what: What needs it, as the message begins.

    Raises:
        ConfigurationError: It is not installed; the message says what to type.
    """
    try:
        return load(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{what} needs {module.partition('.')[0]}: pip install 'agentgauge[{extra}]' ({error})"
        ) from None
