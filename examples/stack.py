"""A real Prometheus and a real Alertmanager on free loopback ports, with the shipped rules, while a ``with`` block runs."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["ServersMissingError", "Stack"]

ROOT = Path(__file__).resolve().parent.parent

_POLL_SECONDS = 0.1
_LOG_TAIL = 2000

_Value = TypeVar("_Value")


class ServersMissingError(RuntimeError):
    """A server is not installed; the message says what to install."""


class Stack:
    """Prometheus, scraping ``targets`` and evaluating rules, and the Alertmanager that it alerts.

    Works with Prometheus 2.42 and 3.x. Everything that the servers write lies in a folder of its own and goes with ``stop()``.

    Args:
        targets: What to scrape, as ``host:port``.
        directory: Where to make that folder; the system's place for temporary files unless given.
        scrape_interval: How often to scrape and to evaluate the rules, as Prometheus spells it.
        rules: The rule files; the shipped ones unless given.
        alertmanager_config: Alertmanager's configuration; the shipped one unless given.
        webhook_url: Send every alert only to this URL instead of to the receivers that the configuration names.
        job: The label ``job`` of what is scraped.
        labels: Further labels of what is scraped.

    Raises:
        ServersMissingError: Prometheus or Alertmanager is not on PATH.
    """

    def __init__(
        self,
        targets: Sequence[str],
        directory: Path | None = None,
        *,
        scrape_interval: str = "1s",
        rules: Sequence[Path] | None = None,
        alertmanager_config: Path | None = None,
        webhook_url: str | None = None,
        job: str = "agentgauge",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._prometheus = _find("prometheus")
        self._alertmanager = _find("prometheus-alertmanager", "alertmanager")  # Debian's name, and the project's own
        self._parent = directory
        rules = sorted((ROOT / "alerts" / "rules").glob("*.yml")) if rules is None else rules
        self._alertmanager_config = alertmanager_config or ROOT / "alerts" / "alertmanager.yml"
        self._webhook_url = webhook_url
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._directory: Path | None = None
        self.prometheus_address, self.alertmanager_address = _free_addresses(2)
        self._config = {
            "global": {
                "scrape_interval": scrape_interval,
                "scrape_timeout": scrape_interval,
                "evaluation_interval": scrape_interval,
            },
            "rule_files": [str(path.resolve()) for path in rules],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self.alertmanager_address]}]}]},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets), "labels": dict(labels or {})}]}],
        }

    @property
    def prometheus_url(self) -> str:
        """Where Prometheus answers."""
        return f"http://{self.prometheus_address}"

    @property
    def alertmanager_url(self) -> str:
        """Where Alertmanager answers."""
        return f"http://{self.alertmanager_address}"

    @property
    def pids(self) -> list[int]:
        """The process ids of the servers that were started and not stopped."""
        return [process.pid for process in self._processes.values()]

    def __enter__(self) -> Self:
        """Start the servers."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the servers."""
        self.stop()

    def start(self) -> Self:
        """Start both servers and wait until they are ready.

        Raises:
            RuntimeError: A server ended at once; the message ends with what it said.
            TimeoutError: A server was not ready in time.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="agentgauge-stack-", dir=self._parent))
        try:
            self._launch_alertmanager(self._directory)
            self._launch_prometheus(self._directory)
            for name, address in (("alertmanager", self.alertmanager_address), ("prometheus", self.prometheus_address)):
                self.wait_until(partial(self._is_ready, name, address), what=f"a ready {name}")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop both servers by process id and remove what they wrote; a second call does nothing."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Evaluate an expression now: one dictionary with ``metric`` and ``value`` a series."""
        return list(self._api("query", query=promql)["result"])

    def query_range(self, promql: str, start: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """Evaluate an expression over a range of Unix times: one dictionary with ``metric`` and ``values`` a series."""
        return list(self._api("query_range", query=promql, start=start, end=end, step=step)["result"])

    def exemplars(self, promql: str, start: float, end: float) -> list[dict[str, Any]]:
        """Fetch the exemplars of an expression's series: one dictionary with ``seriesLabels`` and ``exemplars`` a series."""
        return list(self._api("query_exemplars", query=promql, start=start, end=end))

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that Prometheus holds, pending and firing."""
        return list(self._api("alerts")["alerts"])

    def wait_until(
        self, condition: Callable[[], _Value], *, timeout_seconds: float = 60.0, what: str = "the condition"
    ) -> _Value:
        """Call ``condition`` until it returns something true, and return that.

        Raises:
            TimeoutError: It did not in ``timeout_seconds``; the message names ``what`` and what it returned last.
        """
        deadline = time.monotonic() + timeout_seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come true in {timeout_seconds} s; the last value was {value!r}")
            time.sleep(_POLL_SECONDS)
        return value

    def _launch_alertmanager(self, directory: Path) -> None:
        config = self._alertmanager_config
        if self._webhook_url is not None:
            config = _with_webhook(config, self._webhook_url, directory / "alertmanager.json")
        self._launch(
            "alertmanager",
            directory,
            self._alertmanager,
            f"--config.file={config}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager_address}",
            "--cluster.listen-address=",  # one server alone needs no gossip port
        )

    def _launch_prometheus(self, directory: Path) -> None:
        config = directory / "prometheus.json"
        config.write_text(json.dumps(self._config))  # JSON is YAML, and needs no library
        self._launch(
            "prometheus",
            directory,
            self._prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={self.prometheus_address}",
            "--web.enable-lifecycle",
            "--enable-feature=exemplar-storage",
            "--rules.alert.resend-delay=1s",  # the first alert is lost where Alertmanager is discovered a moment later
        )

    def _launch(self, name: str, directory: Path, *command: str) -> None:
        with (directory / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - a server found on PATH, with arguments of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is not for the servers: stop() ends them
            )

    def _is_ready(self, name: str, address: str) -> bool:
        status = self._processes[name].poll()
        if status is not None and self._directory is not None:
            said = (self._directory / f"{name}.log").read_text(errors="replace")[-_LOG_TAIL:]
            raise RuntimeError(f"{name} ended at once with status {status}: {said}")
        try:
            return _get(address, "/-/ready")[0] == http.client.OK
        except OSError:
            return False

    def _api(self, endpoint: str, **parameters: str | float) -> Any:
        status, body = _get(self.prometheus_address, f"/api/v1/{endpoint}?{urlencode(parameters)}")
        answer = json.loads(body)
        if answer["status"] != "success":
            raise ValueError(f"Prometheus answered {status} to {parameters}: {answer['error']}")
        return answer["data"]


def _find(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise ServersMissingError(
        f"{' or '.join(names)} is not on PATH; on Debian and Ubuntu: apt-get install prometheus prometheus-alertmanager"
    )


def _free_addresses(count: int) -> list[str]:
    with ExitStack() as held:  # all at once, or the same one could come twice
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]


def _get(address: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _with_webhook(config: Path, url: str, target: Path) -> Path:
    """Write a copy of an Alertmanager configuration whose receivers all post to ``url``; routes and inhibitions stay."""
    import yaml  # noqa: PLC0415 - only tests replace receivers, so that the demo needs no YAML library

    settings = yaml.safe_load(config.read_text())
    webhook = {"url": url, "send_resolved": True}
    settings["receivers"] = [{"name": one["name"], "webhook_configs": [webhook]} for one in settings["receivers"]]
    settings.pop("templates", None)  # they shape messages that are not sent, and are looked up beside the file
    target.write_text(json.dumps(settings))
    return target
