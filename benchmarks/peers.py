"""``make bench-peers``: what the decorators of other libraries cost, beside ours and the same yardsticks, for the README.

Each peer gets an environment of its own with its newest release; agentgauge comes from this source tree, and its calls, the
yardsticks and the peer take turns in one process. A peer that fails costs its row, not the table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from peers_setup import PEERS
from peers_table import Peer, Result, plain_reason, render
from readme import between_markers, measured_by

_ROOT = Path(__file__).parents[1]
_ENVIRONMENTS = _ROOT / ".bench-venvs"
_OURS = ("opentelemetry-sdk", "prometheus-client", "psutil", "wrapt")
_INSTALL_SECONDS = 120
_MEASURE_SECONDS = 180
_SETTINGS = {
    "PYTHONPATH": str(_ROOT / "src"),
    "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",  # no span is dropped, and all are exported in the window that made them
    "OTEL_BSP_SCHEDULE_DELAY": "3600000",
}


def main() -> int:
    """Install, measure, print the table, and put it into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="calls in a window (default 2000)")
    parser.add_argument("--rounds", type=int, default=11, help="timed windows for each subject (default 11)")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="only packages that match")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put a whole table between this page's markers")
    options = parser.parse_args()
    chosen = [(number, peer) for number, peer in enumerate(PEERS) if options.only.search(peer.package)]
    problems = {peer.package: _install(peer) for peer in {peer.package: peer for _, peer in chosen}.values()}
    results = []
    for number, peer in chosen:
        print(f"{peer.package} {peer.decorator}, content {peer.content}", flush=True)
        problem = problems[peer.package]
        results.append(Result(peer, failure=problem) if problem else _measure(number, peer, options.calls, options.rounds))
    table = render(results, f"{measured_by('make bench-peers')}, {options.rounds} interleaved windows of {options.calls} calls")
    print(f"\n{table}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    if options.readme is not None and len(chosen) == len(PEERS):
        page = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(between_markers(page, "peers", table), encoding="utf-8")
    return 0


def _install(peer: Peer) -> str:
    """Make a peer's environment anew; return what went wrong, or nothing."""
    print(f"installing {peer.package}", flush=True)
    environment = _ENVIRONMENTS / peer.package
    uv = _ENVIRONMENTS / "uv" / "bin" / "uv"
    commands = (
        []
        if uv.exists()
        else [
            [sys.executable, "-m", "venv", "--clear", str(uv.parents[1])],
            [str(uv.parent / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        ]
    )
    commands += [
        [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
        # The peer comes first and decides; what agentgauge needs besides follows at whatever version fits.
        [str(uv), "pip", "install", "--quiet", "--python", str(_python(peer)), peer.package],
        [str(uv), "pip", "install", "--quiet", "--python", str(_python(peer)), *_OURS, *peer.also],
    ]
    for command in commands:
        problem = _run(command, _INSTALL_SECONDS)
        if problem:
            return f"it does not install ({problem})"
    return ""


def _measure(number: int, peer: Peer, calls: int, rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:  # peers write logs and caches where they run
        figures = Path(folder) / "figures.json"
        script = Path(__file__).with_name("peers_measure.py")
        command = [str(_python(peer)), str(script), str(number), str(calls), str(rounds), str(figures)]
        problem = _run(command, _MEASURE_SECONDS, folder)
        if not figures.exists():
            return Result(peer, failure=problem or "it wrote no figures")
        found = json.loads(figures.read_text(encoding="utf-8"))
    failures = {kind: plain_reason(reason) for kind, reason in found["failures"].items()}
    if not found["nanoseconds"]:
        return Result(peer, versions=found["versions"], failure="; ".join(failures.values()))
    return Result(peer, found["nanoseconds"], found["versions"], failures=failures)


def _python(peer: Peer) -> Path:
    return _ENVIRONMENTS / peer.package / "bin" / "python"


def _run(command: list[str], seconds: float, folder: str | None = None) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
