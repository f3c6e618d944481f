"""Environments of other libraries: each gets one of its own, with its newest release, beside what agentgauge needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from peers_table import plain_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["install", "python_of", "run"]

_ROOT = Path(__file__).parents[1]
_ENVIRONMENTS = _ROOT / ".bench-venvs"
_OURS = ("opentelemetry-sdk", "prometheus-client", "psutil", "wrapt")
_INSTALL_SECONDS = 120
_SETTINGS = {
    "PYTHONPATH": str(_ROOT / "src"),
    "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",  # no span is dropped, and all are exported in the window that made them
    "OTEL_BSP_SCHEDULE_DELAY": "3600000",
}


def python_of(package: str) -> Path:
    """Return the interpreter of a package's environment."""
    return _ENVIRONMENTS / package / "bin" / "python"


def install(package: str, also: Sequence[str] = ()) -> str:
    """Make a package's environment anew, with others beside it; return what went wrong, or nothing."""
    print(f"installing {package}", flush=True)
    uv = _ENVIRONMENTS / "uv" / "bin" / "uv"
    commands = (
        []
        if uv.exists()
        else [
            [sys.executable, "-m", "venv", "--clear", str(uv.parents[1])],
            [str(uv.parent / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        ]
    )
    python = str(python_of(package))
    commands += [
        [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(_ENVIRONMENTS / package)],
        # The package comes first and decides; what agentgauge needs besides follows at whatever version fits.
        [str(uv), "pip", "install", "--quiet", "--python", python, package],
        [str(uv), "pip", "install", "--quiet", "--python", python, *_OURS, *also],
    ]
    for command in commands:
        problem = run(command, _INSTALL_SECONDS)
        if problem:
            return f"it does not install ({problem})"
    return ""


def run(command: list[str], seconds: float, folder: str | None = None) -> str:
    """Run a command, in a home of its own where there is a folder; return why it failed, or nothing."""
    settings = {} if folder is None else {**_SETTINGS, "HOME": folder}
    try:
        done = subprocess.run(  # noqa: S603 - our script, and the packages that this is about
            command,
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {seconds:.0f} s"
    except OSError as error:
        return plain_reason(str(error))
    return plain_reason(done.stdout) if done.returncode else ""
