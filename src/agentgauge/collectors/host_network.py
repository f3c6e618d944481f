"""What network interfaces carried."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, read_file, read_proc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Network"]

_MOST_INTERFACES = 64
_PAIR = "veth"  # of a container, by a name that nothing else has
_TAP = 0x2  # IFF_TAP
_HOST_MASK = "FFFFFFFF"


class Network:
    """Reads network interfaces, those of containers and virtual machines on this host excepted.

    These come and go with what they serve, and what they carry passes an interface of the host's, too. Such an interface is one
    end of a pair (or lies on another, as a VLAN's does) or a tap, and no more than a single address is routed to it: a
    container's own ``eth0`` has a network. Of those that remain at most 64 are read.

    Args:
        sys_root: Where the kernel tells of its devices.
    """

    def __init__(self, sys_root: Path) -> None:
        self._sys_root = sys_root
        self._may_be_guests: dict[str, bool] = {}  # there may be hundreds, and what they are is settled when they are made

    def read(self) -> Iterator[Reading]:
        """Read the counters of each interface."""
        # not nowrap: rate() knows resets, and psutil's cache for it has a lock that a fork can freeze
        interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
        guests = self._find_guests(interfaces)
        ours = ((name, counters) for name, counters in interfaces.items() if not name.startswith(_PAIR) and name not in guests)
        for interface, counters in islice(ours, _MOST_INTERFACES):
            for direction, io_bytes, packets, errors, dropped in (
                ("receive", counters.bytes_recv, counters.packets_recv, counters.errin, counters.dropin),
                ("transmit", counters.bytes_sent, counters.packets_sent, counters.errout, counters.dropout),
            ):
                labels = {"network_interface_name": interface, "network_io_direction": direction}
                yield Reading(machine.NETWORK_IO, io_bytes, labels)
                yield Reading(machine.NETWORK_PACKETS, packets, labels)
                yield Reading(machine.NETWORK_ERRORS, errors, labels)
                yield Reading(machine.NETWORK_DROPPED, dropped, labels)

    def _find_guests(self, names: Iterable[str]) -> set[str]:
        known = self._may_be_guests
        self._may_be_guests = {
            name: known[name] if name in known else _is_linked_or_tap(self._sys_root, name)
            for name in names
            if not name.startswith(_PAIR)
        }
        guests = {name for name, may_be in self._may_be_guests.items() if may_be}
        if guests:
            try:
                return guests - _find_routed()
            except OSError:  # whose they are cannot be known
                return set()
        return guests


def _is_linked_or_tap(sys_root: Path, interface: str) -> bool:
    """Tell whether an interface is linked to another one, perhaps in another network namespace, or is a tap."""
    folder = f"{sys_root}/class/net/{interface}"
    try:
        link = int(read_file(f"{folder}/iflink"))
        if link not in {0, int(read_file(f"{folder}/ifindex"))}:  # 0 is a tunnel's that is bound to none
            return True
        return bool(int(read_file(f"{folder}/tun_flags"), 16) & _TAP)
    except (OSError, ValueError):  # it has no such file, or has just gone
        return False


def _find_routed() -> set[str]:
    """Find the interfaces that lead to more than one address: hosts' and containers' own do, those of their guests do not."""
    routed = set()
    for line in read_proc("net/route").split("\n")[1:]:  # of IPv4: interface, destination, ..., the eighth is the mask
        words = line.split()
        if len(words) > 7 and words[7] != _HOST_MASK:  # noqa: PLR2004 - as above
            routed.add(words[0])
    try:
        lines = read_proc("net/ipv6_route").split("\n")
    except OSError:  # a kernel without IPv6
        return routed
    for words in map(str.split, lines):  # destination, length of its prefix in hex, ..., the interface is last
        is_everyones = words and words[0].startswith(("fe80", "ff"))  # each interface that is up has these
        if len(words) > 1 and not is_everyones and int(words[1], 16) < 128:  # noqa: PLR2004 - bits of an address
            routed.add(words[-1])
    return routed
