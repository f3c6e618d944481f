"""Records the pages of a Prometheus and an Alertmanager with faults: python tests/mixin/record_servers.py, which takes minutes.

They have no virtual time, so that a page stands for a minute of a case. It is asked for whenever the server has done once more
what it does over and over, which makes two recordings the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from expressions import ROOT, RULES, load_rules
from mixin_checks import SERVER_SERIES
from recorded_pages import FOLDER, write_pages

sys.path.append(str(ROOT / "examples"))
from stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BEFORE, DURING, AFTER = 20, 30, 31
"""How many pages there are before the fault, with it, and when it is over."""
_POLL_SECONDS, _SETTLE_SECONDS = 0.02, 0.1
FAULT = {"record": "job:up:sum", "expr": "up + on () up"}  # of several targets: many-to-many
TARGETS = ["127.0.0.1:1", "127.0.0.1:2"]


def record(
    url: str,
    turn: str,
    begin: Callable[[], object],
    end: Callable[[], object],
    renamed: Mapping[str, str],
    kept: tuple[str, ...] = ("",),
) -> list[str]:
    """Return a server's pages before a fault, with it and after it.

    Args:
        url: Where its metrics are.
        turn: The series that grows with each turn of its work.
        begin: Makes the fault.
        end: Ends it.
        renamed: What is only true of this recording, such as ports, and what stands for it.
        kept: Only lines with any of these texts.
    """
    pages: list[str] = []

    def page() -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()

    def turns() -> float:
        lines = [line for line in page().splitlines() if line.startswith(turn)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def take(count: int) -> None:
        for _ in range(count):
            before = turns()
            while turns() <= before:
                time.sleep(_POLL_SECONDS)
            time.sleep(_SETTLE_SECONDS)  # what comes of a turn is counted when it is over
            text = page()
            for old, new in renamed.items():
                text = text.replace(old, new)
            pages.append("".join(line for line in text.splitlines(keepends=True) if any(part in line for part in kept)))

    for count, change in ((BEFORE, begin), (DURING, end), (AFTER, None)):
        take(count)
        if change is not None:
            change()
    return pages


def failing_rules(folder: Path) -> list[str]:
    """Record a Prometheus that cannot evaluate a rule of ours for a while, nor one of others' all the time."""
    files = {name: _group(name, group) for name, group in (("agents", "agentgauge-tasks"), ("self", "agentgauge-library"))}
    files["node"] = {"groups": [{"name": "node", "rules": [FAULT]}]}
    for name, content in files.items():
        _write(folder, name, content)
    broken = {"groups": [{**files["agents"]["groups"][0], "rules": [*files["agents"]["groups"][0]["rules"], FAULT]}]}
    with Stack(TARGETS, folder, rules=sorted(folder.glob("*.yml")), scrape_interval="500ms") as stack:

        def change(content: object) -> None:
            _write(folder, "agents", content)
            request = urllib.request.Request(f"{stack.prometheus_url}/-/reload", method="POST")
            urllib.request.urlopen(request, timeout=10).close()

        turn = f'prometheus_rule_evaluation_failures_total{{rule_group="{folder}/node.yml;node"}}'
        stack.wait_until(lambda: stack.query("up"), what="scrapes")
        return record(
            f"{stack.prometheus_url}/metrics",
            turn,
            partial(change, broken),
            partial(change, files["agents"]),
            {str(folder): "/etc/rules"},
            ("prometheus_rule_evaluation_failures_total",),
        )


def lost_alertmanager(folder: Path) -> list[str]:
    """Record a Prometheus whose Alertmanager ends, and comes back."""
    _write(folder, "self", _group("self", "agentgauge-targets"))
    with Stack(TARGETS, folder, rules=[folder / "self.yml"]) as stack:

        def end() -> None:
            process = stack._processes["alertmanager"]
            process.kill()
            process.wait()

        turn = "prometheus_notifications_sent_total{"
        stack.wait_until(lambda: stack.query("ALERTS"), what="an alert")
        return record(
            f"{stack.prometheus_url}/metrics",
            turn,
            end,
            lambda: stack._launch_alertmanager(folder),
            {stack.alertmanager_address: "m:9093"},
            ("prometheus_notifications_errors_total",),
        )


def refusing_webhook(folder: Path) -> list[str]:
    """Record an Alertmanager whose webhook refuses what it sends for a while; of its e-mail nothing is sent."""
    _write(folder, "self", _group("self", "agentgauge-targets"))
    with (
        _webhook() as (url, refuse),
        Stack([], folder, rules=[folder / "self.yml"], alertmanager_config=_config(folder, url)) as am,
    ):
        return record(
            f"{am.alertmanager_url}/metrics",
            'alertmanager_notifications_total{integration="webhook"',
            partial(refuse, True),
            partial(refuse, False),
            {},
            ('integration="webhook"', 'integration="email"'),
        )


def _config(folder: Path, url: str) -> Path:
    path = folder / "alertmanager.json"
    often = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "500ms"}
    receivers = [{"name": "webhook", "webhook_configs": [{"url": url}]}]
    path.write_text(json.dumps({"route": {"receiver": "webhook", **often}, "receivers": receivers}), encoding="utf-8")
    return path


@contextmanager
def _webhook() -> Iterator[tuple[str, Callable[[bool], None]]]:
    """Run a webhook, and yield its address and what makes it refuse."""
    status = [200]

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    def refuse(is_refusing: bool) -> None:
        status[0] = 400 if is_refusing else 200

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", refuse
        finally:
            server.shutdown()
            thread.join()


def _group(name: str, group: str) -> dict[str, list[dict[str, list[object]]]]:
    return {"groups": [each for each in load_rules(RULES / f"{name}.yml")["groups"] if each["name"] == group]}


def _write(folder: Path, name: str, content: object) -> None:
    (folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


def main() -> None:
    """Write the pages anew, all or those of these names."""
    recordings = {each.__name__: each for each in (failing_rules, lost_alertmanager, refusing_webhook)}
    for name in sys.argv[1:] or recordings:
        with tempfile.TemporaryDirectory() as folder:
            write_pages(FOLDER / f"{name}.txt", recordings[name](Path(folder)), frozenset(SERVER_SERIES))


if __name__ == "__main__":
    main()
