"""``TcpCheck`` and ``DnsCheck``."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from check_servers import free_port, listening, silent

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import DnsCheck, TcpCheck, wire
from agentgauge.health.checks.aside import ask_aside
from agentgauge.health.status import ComponentType, Schedule, Status

PATIENT = Schedule(timeout_seconds=20)
QUICK = Schedule(timeout_seconds=0.5)


def test_a_port_that_takes_connections_is_healthy():
    with listening(silent) as port:
        found = TcpCheck(name="t", host="127.0.0.1", port=port, schedule=PATIENT).check()
    assert (found.status, found.message) == (Status.HEALTHY, f"127.0.0.1:{port}: connected")
    assert found.details["seconds"] >= 0


def test_each_address_of_a_host_is_tried(monkeypatch):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free_port()))]
    with listening(silent) as port:
        addresses.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert TcpCheck(name="t", host="two.example", port=1, schedule=PATIENT).check().status is Status.HEALTHY


def test_a_port_at_which_nobody_listens_is_refused_with_the_likeliest_cause_first():
    found = TcpCheck(name="t", host="127.0.0.1", port=free_port(), schedule=PATIENT).check()
    assert (found.status, found.condition) == (Status.DOWN, "refused")
    assert found.suggestions[0].startswith("The server is not running")
    assert "another port or address" in found.suggestions[1]


@pytest.fixture
def full():
    """Give the address of a port that answers no connection: of those that nobody accepts the kernel takes a few."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()


def test_a_port_that_takes_nothing_any_more_is_left_at_the_deadline(full):
    found = TcpCheck(name="t", host="127.0.0.1", port=full[1], schedule=QUICK).check()
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_an_address_that_does_not_answer_leaves_time_for_the_next(full, monkeypatch):
    with listening(silent) as port:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (full, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        found = TcpCheck(name="t", host="two.example", port=1, schedule=Schedule(timeout_seconds=2)).check()
    assert found.status is Status.HEALTHY


def test_that_nothing_listens_counts_more_than_that_another_address_does_not_answer(full, monkeypatch):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (full, ("127.0.0.1", free_port()))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    assert TcpCheck(name="t", host="two.example", port=1, schedule=Schedule(timeout_seconds=1)).check().condition == "refused"


def test_an_address_of_ipv6_is_shown_in_brackets():
    assert TcpCheck(name="t", host="::1", port=free_port(), schedule=PATIENT).check().message.startswith("[::1]:")


def test_a_slow_connection_is_a_warning():
    with listening(silent) as port:
        found = TcpCheck(name="t", host="127.0.0.1", port=port, slow_seconds=1e-9, schedule=PATIENT).check()
    assert (found.status, found.condition) == (Status.WARNING, "slow")


def test_a_name_that_is_reserved_for_having_no_address_is_dns():
    for check in (TcpCheck(name="t", host="nowhere.invalid", port=1), DnsCheck(name="d", host="nowhere.invalid")):
        found = check.check()
        assert (found.status, found.condition, found.error_type) == (Status.DOWN, "dns", "gaierror")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"])
def test_what_can_be_no_name_is_dns(host):
    assert DnsCheck(name="d", host=host, schedule=PATIENT).check().condition == "dns"


def test_a_name_with_addresses_is_healthy_and_tells_them():
    found = DnsCheck(name="d", host="localhost", schedule=PATIENT).check()
    assert found.status is Status.HEALTHY
    assert set(found.details["addresses"]) & {"127.0.0.1", "::1"}


def test_expected_addresses_must_be_among_those_found():
    assert DnsCheck(name="d", host="127.0.0.1", expected_addresses=["127.0.0.1"]).check().status is Status.HEALTHY
    assert DnsCheck(name="d", host="::1", expected_addresses=["0:0:0:0:0:0:0:1"]).check().status is Status.HEALTHY
    found = DnsCheck(name="d", host="127.0.0.1", expected_addresses=["192.0.2.1", "127.0.0.1"]).check()
    assert (found.status, found.condition) == (Status.CRITICAL, "address")
    assert found.message == "127.0.0.1: it leads to 127.0.0.1, not to 192.0.2.1"


def test_a_resolver_that_hangs_costs_one_thread_however_often_it_is_asked(monkeypatch):
    is_over = threading.Event()
    asked = []

    def hang(host, *_arguments, **_settings):
        asked.append(host)
        is_over.wait(20)
        return []

    monkeypatch.setattr(wire.socket, "getaddrinfo", hang)
    check = DnsCheck(name="d", host="hangs.example", schedule=Schedule(timeout_seconds=0.1))
    try:
        for _ in range(5):
            found = check.check()
            assert (found.status, found.condition) == (Status.DOWN, "dns")
            assert "did not answer in time" in found.message
        assert asked == ["hangs.example"]
        assert DnsCheck(name="d", host="other.example", schedule=Schedule(timeout_seconds=0.1)).check().condition == "dns"
        assert asked == ["hangs.example", "other.example"]
    finally:
        is_over.set()


def test_what_was_left_behind_is_asked_again_once_it_has_come_back():
    is_over = threading.Event()
    answers = iter((1, 2))

    def answer():
        is_over.wait(20)
        return next(answers)

    with pytest.raises(TimeoutError):
        ask_aside("key", answer, 0.01)
    is_over.set()
    for thread in threading.enumerate():
        if thread.name == "agentgauge-check-aside":
            thread.join(20)
    assert ask_aside("key", answer, 20) == 2


def test_it_is_a_network_component_by_default():
    assert TcpCheck(name="t", host="h", port=1).component_type is ComponentType.NETWORK


@pytest.mark.parametrize(
    ("kind", "settings", "match"),
    [
        (TcpCheck, {"host": "", "port": 1}, "host"),
        (TcpCheck, {"host": "http://h/", "port": 1}, "host"),
        (TcpCheck, {"host": "h", "port": 0}, "port"),
        (TcpCheck, {"host": "h", "port": 65536}, "port"),
        (TcpCheck, {"host": "h", "port": "80"}, "port"),
        (TcpCheck, {"host": "h", "port": 1, "slow_seconds": "1"}, "slow_seconds"),
        (DnsCheck, {"host": None}, "host"),
        (DnsCheck, {"host": "h", "expected_addresses": "127.0.0.1"}, "expected_addresses"),
        (DnsCheck, {"host": "h", "expected_addresses": ["localhost"]}, "expected_addresses"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(kind, settings, match):
    with pytest.raises(ConfigurationError, match=match):
        kind(name="n", **settings)


def test_a_host_with_credentials_is_refused_without_showing_them():
    with pytest.raises(ConfigurationError, match="host") as refused:
        TcpCheck(name="t", host="user:hunter2@h", port=1)
    assert "hunter2" not in str(refused.value)
