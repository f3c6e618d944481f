"""A real Prometheus whose data a test makes up: samples with times of their own."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

PATIENCE_SECONDS = 120.0  # far longer than anything takes, on a busy machine too
BEGIN = int(time.time()) // 3600 * 3600 - 86400  # yesterday, so that nothing falls between a block and the head


def sample(name: str, labels: Mapping[str, str], value: float, timestamp: float) -> str:
    """Write one sample as a line of OpenMetrics."""
    return f"{name}{{{','.join(f'{label}={json.dumps(text)}' for label, text in labels.items())}}} {value} {timestamp}"


@contextmanager
def backfilled(folder: Path, lines: Iterable[str]) -> Iterator[str]:
    """Run a Prometheus that holds these samples and scrapes nothing, and give its URL.

    Args:
        folder: Where its data go.
        lines: Lines of OpenMetrics, with the samples of one series one after another.
    """
    (folder / "page.om").write_text("\n".join(lines) + "\n# EOF\n", encoding="utf-8")
    (folder / "prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    # by default it reads the page once for every two hours of it
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h", "-q", "page.om", "data"]
    subprocess.run(backfill, cwd=folder, check=True, timeout=PATIENCE_SECONDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    options.append("--storage.tsdb.retention.time=99d")  # or what is older than 15 d is dropped when it starts
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(["prometheus", *options], cwd=folder, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            _await_ready(f"http://{address}", process, folder / "log")
            yield f"http://{address}"
        finally:
            process.terminate()


def ask(url: str, path: str, **parameters: Any) -> list[dict[str, Any]]:
    """Ask the HTTP API, ``query`` or ``query_range``, and return the result."""
    with urllib.request.urlopen(
        f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=PATIENCE_SECONDS
    ) as response:
        return json.load(response)["data"]["result"]


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=PATIENCE_SECONDS).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"Prometheus did not become ready:\n{log.read_text()}")
