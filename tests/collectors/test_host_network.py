"""Which network interfaces are shown: those of this host or this container, not those of its guests."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
from host_trees import by_label, values_of

from agentgauge.collectors.host import HostCollector

COUNTERS = ("bytes_recv", "packets_recv", "errin", "dropin", "bytes_sent", "packets_sent", "errout", "dropout")
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


class Machine:
    """A host with interfaces and routes; the first two are there always."""

    def __init__(self, host, monkeypatch):
        self.host = host
        self.names = []
        monkeypatch.setattr(psutil, "net_io_counters", lambda **options: dict.fromkeys(self.names, self._counters))
        self.route()
        self.add("lo", index=1)
        self.add("eth0", index=2)

    _counters = SimpleNamespace(**dict.fromkeys(COUNTERS, 1))

    def add(self, name, index, link=None, tun_flags=None):
        folder = self.host.sys / "class" / "net" / name
        folder.mkdir()
        (folder / "ifindex").write_text(f"{index}\n")
        (folder / "iflink").write_text(f"{index if link is None else link}\n")
        if tun_flags is not None:
            (folder / "tun_flags").write_text(f"{tun_flags:#x}\n")
        self.names.append(name)

    def route(self, *routes, ipv6=()):
        lines = (f"{name}\t{destination}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n" for name, destination, mask in routes)
        self.host.write("net/route", ROUTES + "".join(lines))
        lines = (f"{where} {length} {'0' * 32} 00 {'0' * 32} 00000400 1 0 00000001 {name}\n" for name, where, length in ipv6)
        self.host.write("net/ipv6_route", "".join(lines))

    def collector(self):
        return HostCollector(sys_root=self.host.sys)

    def shown(self, collector=None):
        values = values_of((collector or self.collector()).collect())
        return {name for (name,) in by_label(values, "system_network_io_bytes_total", "network_interface_name")} - {"lo", "eth0"}


@pytest.fixture
def machine(fake_host, monkeypatch):
    return Machine(fake_host, monkeypatch)


@pytest.mark.parametrize("name", ["veth12ab", "cali0123456789a", "lxc1234abcd", "eni0a1b2c", "azv12345"])
def test_the_hosts_ends_of_containers_are_left_out(machine, name):
    machine.add(name, index=7, link=3)
    machine.route(("eth0", "00000000", "00000000"), (name, "0A010A0A", "FFFFFFFF"), ipv6=[(name, "fe80" + "0" * 28, "40")])
    assert machine.shown() == set()


@pytest.mark.parametrize("name", ["tap1234", "vnet7"])
def test_the_taps_of_virtual_machines_are_left_out_and_tunnels_are_not(machine, name):
    machine.add(name, index=7, tun_flags=0x1002)
    machine.add("tun0", index=8, tun_flags=0x1001)
    machine.add("tunl0", index=9, link=0)
    machine.add("docker0", index=10)
    assert machine.shown() == {"tun0", "tunl0", "docker0"}


@pytest.mark.parametrize(
    "routes",
    [
        {"routes": [("eth1", "00000000", "00000000")]},
        {"routes": [("eth1", "000200C0", "00FFFFFF")]},
        {"ipv6": [("eth1", "0" * 32, "00")]},
        {"ipv6": [("eth1", "20010db8" + "0" * 24, "40")]},
    ],
)
def test_a_containers_own_end_is_shown_since_a_network_is_behind_it(machine, routes):
    machine.add("eth1", index=7, link=33)
    assert machine.shown() == set()
    machine.route(*routes.get("routes", ()), ipv6=routes.get("ipv6", ()))
    assert machine.shown() == {"eth1"}


def test_where_routes_are_not_told_nothing_but_veth_is_left_out(machine):
    machine.add("cali1", index=7, link=3)
    machine.add("veth1", index=8, link=4)
    (machine.host.proc / "net" / "route").unlink()
    assert machine.shown() == {"cali1"}


def test_a_machine_without_ipv6_is_judged_by_its_other_routes(machine):
    machine.add("cali1", index=7, link=3)
    (machine.host.proc / "net" / "ipv6_route").unlink()
    assert machine.shown() == set()


def test_interfaces_that_come_and_go_between_two_readings_are_judged_anew(machine):
    collector = machine.collector()
    machine.add("br0", index=7)
    assert machine.shown(collector) == {"br0"}
    machine.add("cali1", index=8, link=3)
    machine.names.remove("br0")
    assert machine.shown(collector) == set()
    assert "br0" not in collector._network._may_be_guests


def test_however_many_interfaces_there_are_64_are_shown(machine):
    for index in range(10, 110):
        machine.add(f"br{index}", index)
    assert len(machine.shown()) == 64 - 2
