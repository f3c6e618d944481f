"""How agentgauge is installed for a test: in an environment of its own, beside the dependencies of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command, cwd=ROOT):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it might lead to the checkout
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=240, cwd=cwd, env=environment
    )


def pip(*arguments):
    ended = run(sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-deps", "--quiet")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def installed(place, *what):
    """Make an environment, install what is named, and return its command ``agentgauge``."""
    ended = run(sys.executable, "-m", "venv", "--without-pip", place)
    assert ended.returncode == 0, ended.stderr
    [packages] = place.glob("lib/python*/site-packages")
    # An editable agentgauge of this environment does not come along: of a folder that is named here no .pth file is read.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip("--python", place / "bin" / "python", "install", "--no-index", "--no-build-isolation", *what)
    return place / "bin" / "agentgauge"
