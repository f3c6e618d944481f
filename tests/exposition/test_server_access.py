"""Who may read what: addresses that others reach need protection, and what protects them is shown nowhere."""

from __future__ import annotations

import contextlib
import http.client
import logging
import subprocess
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry
from server_clients import connection_threads

import agentgauge
from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError, contained_errors
from agentgauge.exposition import server as server_module

TOKEN = "s3cr3t-t0ken-that-nobody-sees"


@pytest.fixture(autouse=True)
def stopped():
    yield
    agentgauge.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_start_refuses_an_open_address_without_protection_and_says_how(host):
    with pytest.raises(ConfigurationError, match=r"can be reached from other machines: set bearer_token.*tls_certificate_file"):
        agentgauge.start(host=host, port=0)
    assert connection_threads() == []


def scrape(url, token):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.read().decode()


class Broken:
    """A collector of the host's that raises while the settings are in sight."""

    def __init__(self, config):
        self.config = config

    def describe(self):
        return []

    def collect(self):
        raise LookupError(repr(self.config))


def test_a_token_shows_in_no_page_log_error_or_text_of_an_object(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    registry = CollectorRegistry()
    monitor = agentgauge.start(port=0, bearer_token=TOKEN, registry=registry)
    seen = [repr(monitor), str(monitor), repr(monitor.config), str(monitor.config), repr(vars(monitor))]
    answers = [scrape(monitor.url, token) for token in ("wrong", TOKEN, TOKEN[:-1])]
    registry.register(Broken(monitor.config))
    monkeypatch.setattr(contained_errors, "_next_log_by_hook", {})
    answers.append(scrape(monitor.url, TOKEN))
    monkeypatch.setattr(server_module, "answer", None)  # a fault of ours, with the request in sight
    with contextlib.suppress(http.client.HTTPException, OSError):
        scrape(monitor.url, TOKEN)
    with pytest.raises(ConfigurationError, match="another bearer_token") as refused:
        agentgauge.start(bearer_token=TOKEN + "x")
    agentgauge.stop()
    assert [status for status, _ in answers] == [401, 200, 401, 500]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    assert TOKEN[:-1] not in "\n".join([*seen, *(page for _, page in answers), str(refused.value), caplog.text])


@pytest.mark.parametrize(
    "settings",
    [
        {"bearer_token": TOKEN + "\n"},
        {"bearer_token": TOKEN.encode()},
        {"bearer_token": (TOKEN,)},
        {"bearer_token": TOKEN, "port": "no"},
        {"bearer_token": TOKEN, "host": 5},
        {"bearer_token": TOKEN, "tls_certificate_file": "/nowhere"},
        {"bearer_token": TOKEN, "tls_client_ca_file": "/nowhere"},
        {"bearer_tokn": TOKEN},
    ],
)
def test_a_refusal_does_not_show_the_token(settings):
    for load in (Config.load, agentgauge.start):
        with pytest.raises(ConfigurationError) as refused:
            load(**settings)
        assert TOKEN not in "".join(map(str, (refused.value, refused.value.__cause__, refused.value.__context__)))


def test_a_refusal_of_an_environment_does_not_show_its_token():
    for environ in ({"AGENTGAUGE_BEARER_TOKEN": f"{TOKEN} "}, {"AGENTGAUGE_BEARER_TOKN": TOKEN}):
        with pytest.raises(ConfigurationError, match="BEARER_TOK") as refused:
            Config.load(environ)
        assert TOKEN not in str(refused.value)


@pytest.fixture(scope="module")
def key():
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", ["tls_certificate_file", "tls_key_file", "tls_client_ca_file"])
def test_a_key_that_is_given_instead_of_its_file_is_refused_and_not_shown(name, key, tmp_path):
    (tmp_path / "some.pem").write_text(key)
    files = dict.fromkeys(("tls_certificate_file", "tls_key_file", "tls_client_ca_file"), str(tmp_path / "some.pem"))
    for text in (key, key.encode(), "".join(key.splitlines())):
        with pytest.raises(AgentgaugeError, match=rf"^{name}.*give the path of a PEM file") as refused:
            Config(**{**files, name: text})
        assert key.splitlines()[1] not in str(refused.value)


def test_a_file_that_holds_no_usable_key_is_refused_without_what_it_holds(key, tmp_path):
    pem = tmp_path / "some.pem"
    pem.write_text(key)
    with pytest.raises(ConfigurationError, match=r"tls_certificate_file=.*give a PEM certificate") as refused:
        agentgauge.start(port=0, tls_certificate_file=str(pem), tls_key_file=str(pem))
    assert key.splitlines()[1] not in str(refused.value)
