"""A script of this folder in a process of its own: what it imports, holds and has ready is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["run_fresh"]

_FOLDER = Path(__file__).parent
_TIMEOUT_SECONDS = 300


def run_fresh(script: str, *arguments: object, python: str = sys.executable, environment: Mapping[str, str] | None = None) -> Any:
    """Run a script and return what it printed as JSON.

    Args:
        script: Its file's name in this folder.
        arguments: What it is given.
        python: The interpreter.
        environment: What is added to this process's environment.

    Raises:
        RuntimeError: It failed; the message is what it wrote to its standard error.
    """
    # S603: a script of ours, and numbers
    done = subprocess.run(  # noqa: S603 - see above
        [python, str(_FOLDER / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise RuntimeError(f"{script} ended with status {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)
