"""What is shipped beside the code: dashboards, rules, runbooks, the configuration of Alertmanager."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

__all__ = ["ROOTS", "shipped_files"]

_CHECKOUT = Path(__file__).resolve().parents[2]
_SHIPPED = (
    ("dashboards", ".json", False),
    ("dashboards/provisioning", "", True),
    ("alerts", "alertmanager.yml", False),
    ("alerts/rules", ".yml", False),
    ("alerts/templates", "", True),
    ("docs/runbooks", ".md", False),
)
"""Folder, how a name ends, whether folders in it count. The wheel has the same: ``[tool.hatch.build.targets.wheel]``."""

ROOTS = frozenset(folder.split("/")[0] for folder, _, _ in _SHIPPED)
"""The folders that all of it lies in."""


def shipped_files() -> Mapping[str, bytes]:
    """Read what is shipped, from the installed wheel or from the checkout whose code this is.

    Returns:
        The content by path, such as ``alerts/rules/agents.yml``, sorted.

    Raises:
        ConfigurationError: There is nothing, since the installation is not whole.
    """
    in_wheel = files("agentgauge") / "shipped"
    root: Traversable = in_wheel if in_wheel.is_dir() else _CHECKOUT
    found = {path: source.read_bytes() for folder in _SHIPPED for path, source in _found(root, *folder)}
    if not all(any(path.startswith(folder) for path in found) for folder in ("alerts/rules/", "dashboards/")):
        raise ConfigurationError("this installation has no dashboards and rules with it: install agentgauge anew, from its wheel")
    return dict(sorted(found.items()))


def _found(root: Traversable, folder: str, ending: str, is_deep: bool) -> Iterator[tuple[str, Traversable]]:
    place = root.joinpath(*folder.split("/"))
    for entry in place.iterdir() if place.is_dir() else ():
        path = f"{folder}/{entry.name}"
        if entry.name.startswith((".", "__")):  # an editor's, an operating system's
            continue
        if entry.is_file() and entry.name.endswith(ending):
            yield path, entry
        elif is_deep and entry.is_dir():
            yield from _found(root, path, ending, is_deep)
