"""How full the host's file systems are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.mount_probe import Mount
from agentgauge.collectors.readings import Reading, read_proc, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.collectors.mount_probe import MountProbe

__all__ = ["read_filesystems"]

_IMAGE_TYPES = frozenset({"cramfs", "erofs", "iso9660", "squashfs"})  # full by design
_NETWORK_TYPES = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre"),
        *("nfs", "nfs4", "smb3", "smbfs", "virtiofs"),
    }
)


def read_filesystems(probe: MountProbe) -> Iterator[Reading]:
    """Read space and inodes of each device once: disks, network file systems, and ``/`` whatever it is.

    What is mounted from ``none``, as all is in gVisor, is read at each mount point.

    Args:
        probe: What asks them; of those that hang that alone is told.
    """
    mounts = _find_mounts()
    for mount, space in probe.ask(mounts):
        labels = _labels_of(mount)
        yield Reading(machine.FILESYSTEM_STALL, 0.0, labels)
        usable = space.used + space.free  # less than the total by what is reserved for root; df divides by this too
        states = {"used": space.used, "free": space.free, "reserved": space.total - usable}
        for state, value in states.items():
            yield Reading(machine.FILESYSTEM_USAGE, value, {**labels, "system_filesystem_state": state})
        yield Reading(machine.FILESYSTEM_UTILIZATION, space.used / usable, labels)
        if space.inodes <= 0:  # made as they are needed, as Btrfs does
            continue
        inodes = {"used": space.inodes - space.inodes_free, "free": space.inodes_free}
        for state, value in inodes.items():
            yield Reading(machine.FILESYSTEM_INODES, value, {**labels, "system_filesystem_state": state})
        yield Reading(machine.FILESYSTEM_INODES_UTILIZATION, inodes["used"] / space.inodes, labels)
    for mount, seconds in probe.stalls(mounts):
        yield Reading(machine.FILESYSTEM_STALL, seconds, _labels_of(mount))


def _labels_of(mount: Mount) -> dict[str, str]:
    return {
        "system_device": mount.device,
        "system_filesystem_mountpoint": mount.mountpoint,
        "system_filesystem_type": mount.kind,
    }


def _find_mounts() -> list[Mount]:
    """Find what to ask, those on a network last: they hang most, and must not keep the others waiting."""
    disk_types = _read_disk_types()
    visible = {mount.mountpoint: mount for mount in _list_mounts()}  # of several on one mount point the last hides the others
    mounts = [
        mount
        for mount in visible.values()
        if mount.mountpoint == "/"
        or mount.kind in _NETWORK_TYPES
        or (mount.device and mount.kind in disk_types and mount.kind not in _IMAGE_TYPES)
    ]
    return sorted(mounts, key=lambda mount: (mount.kind in _NETWORK_TYPES, mount.mountpoint))


def _list_mounts() -> Iterator[Mount]:
    if not psutil.LINUX:
        for part in psutil.disk_partitions(all=True):
            yield Mount(part.device, part.mountpoint, part.fstype)
        return
    # psutil resolves links that are the same at every reading, which takes longer than all the rest
    for line in read_proc("self/mountinfo").split("\n"):  # a name may hold what else str.splitlines() splits at
        where, _, what = line.partition(" - ")  # between them are any number of optional fields
        place, system = where.split(" ", 5), what.split(" ", 2)
        if len(place) == 6 and len(system) == 3:  # noqa: PLR2004 - the last line is empty
            (_, _, number, _, mountpoint, _), (kind, device, _) = place, system
            yield Mount("" if device == "none" else unescape(device), unescape(mountpoint), kind, number)


def _read_disk_types() -> frozenset[str]:
    if not psutil.LINUX:
        return frozenset(part.fstype for part in psutil.disk_partitions(all=False))
    words = (line.split() for line in read_proc("filesystems").split("\n"))
    return frozenset(word[-1] for word in words if word and (word[0] != "nodev" or word[-1] == "zfs"))
