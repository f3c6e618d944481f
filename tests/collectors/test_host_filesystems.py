from __future__ import annotations

import os

import psutil
import pytest
from host_trees import by_label, names, series, values_of

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.mount_probe import MountProbe, Space, measure

MOUNTED = ("system_device", "system_filesystem_mountpoint", "system_filesystem_type")
GIB = 2**30


def read(measure=measure):
    return values_of(HostCollector(probe=MountProbe(measure)).collect())


def measured(values, name="system_filesystem_utilization_ratio"):
    return set(by_label(values, name, *MOUNTED))


@pytest.fixture
def places(tmp_path):
    """Folders, and one file, to mount on."""
    for name in ("data", "logs", "my data", "remote", "snap"):
        (tmp_path / name).mkdir()
    (tmp_path / "hosts").touch()
    return tmp_path


def test_space_is_told_by_states_that_add_up_and_the_share_is_that_of_df(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "data", "ext4"))
    space = Space(total=100 * GIB, used=60 * GIB, free=20 * GIB, inodes=1000, inodes_free=250)

    values = read(lambda mount: space)

    assert by_label(values, "system_filesystem_usage_bytes", "system_filesystem_state") == {
        ("used",): 60 * GIB,
        ("free",): 20 * GIB,
        ("reserved",): 20 * GIB,
    }
    assert by_label(values, "system_filesystem_utilization_ratio", *MOUNTED) == {
        ("/dev/sda1", str(places / "data"), "ext4"): 0.75,
    }
    assert by_label(values, "system_filesystem_inodes", "system_filesystem_state") == {("used",): 750, ("free",): 250}
    assert by_label(values, "system_filesystem_inodes_utilization_ratio", *MOUNTED) == {
        ("/dev/sda1", str(places / "data"), "ext4"): 0.75,
    }


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\\999"])
def test_a_mount_point_of_any_name_is_read_and_costs_no_other(fake_host, tmp_path, odd):
    place = tmp_path / f"a{odd}b"
    place.mkdir()
    fake_host.mount(("/dev/sda1", "/", "ext4"), ("/dev/sda2", place, "ext4"))
    space = Space(total=10, used=5, free=5, inodes=0, inodes_free=0)
    assert {mountpoint for _, mountpoint, _ in measured(read(lambda mount: space))} == {"/", str(place)}


def test_a_line_that_is_cut_short_costs_no_other_mount(fake_host):
    fake_host.mount(("/dev/sda1", "/", "ext4"), ("/dev/sdb1", "/data", "ext4"))
    mounts = fake_host.proc / "self" / "mountinfo"
    first, second = mounts.read_text().splitlines()
    space = Space(total=10, used=5, free=5, inodes=0, inodes_free=0)
    for end in ("ext4", "/data", " 1 "):
        mounts.write_text(first + "\n" + second[: second.index(end)])
        assert measured(read(lambda mount: space)) == {("/dev/sda1", "/", "ext4")}


def test_optional_fields_of_the_kernels_table_may_be_missing_or_many(fake_host):
    lines = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw shared:1 master:2 - ext4 /dev/sda2 rw\n"
    fake_host.write("self/mountinfo", lines)
    space = Space(total=10, used=5, free=5, inodes=0, inodes_free=0)
    assert measured(read(lambda mount: space)) == {("/dev/sda1", "/", "ext4"), ("/dev/sda2", "/data", "ext4")}


def test_what_is_mounted_from_none_is_read_at_each_mount_point(fake_host, places):
    fake_host.mount(("none", "/", "9p"), ("none", places / "data", "9p"))
    space = Space(total=10, used=5, free=5, inodes=0, inodes_free=0)
    assert measured(read(lambda mount: space)) == {("", "/", "9p"), ("", str(places / "data"), "9p")}


def test_a_file_system_that_counts_no_inodes_has_none_rather_than_zero(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "data", "xfs"))
    values = read(lambda mount: Space(total=10, used=5, free=5, inodes=0, inodes_free=0))
    assert {name for name in names(values) if name.startswith("system_filesystem_")} == {
        "system_filesystem_stall_seconds",
        "system_filesystem_usage_bytes",
        "system_filesystem_utilization_ratio",
    }


def test_on_the_real_machine_the_root_has_the_space_and_inodes_that_statvfs_says():
    values = values_of(HostCollector().collect())
    space = os.statvfs("/")

    def root(name):
        states = by_label(values, name, "system_filesystem_mountpoint", "system_filesystem_state")
        return {state: value for (mountpoint, state), value in states.items() if mountpoint == "/"}

    usage, inodes = root("system_filesystem_usage_bytes"), root("system_filesystem_inodes")
    assert sum(usage.values()) == space.f_blocks * space.f_frsize
    assert usage["free"] == pytest.approx(space.f_bavail * space.f_frsize, rel=0.05)
    shares = by_label(values, "system_filesystem_utilization_ratio", "system_filesystem_mountpoint")
    assert shares["/",] == pytest.approx(usage["used"] / (usage["used"] + usage["free"]))
    assert sum(inodes.values()) == space.f_files
    if space.f_files:
        assert inodes["free"] == pytest.approx(space.f_ffree, rel=0.05)


def test_each_device_is_read_once_and_mounted_files_and_images_and_made_up_file_systems_never(fake_host, places):
    fake_host.mount(
        ("overlay", "/", "overlay"),
        ("proc", places / "proc", "proc"),
        ("tmpfs", places / "logs", "tmpfs"),
        ("/dev/sda1", places / "data", "ext4"),
        ("/dev/sda1", places / "my data", "ext4"),
        ("/dev/sda2", places / "hosts", "ext4"),  # a file, as containers mount it
        ("/dev/sda3", places / "gone", "ext4"),
        ("/dev/loop1", places / "snap", "squashfs"),
        ("none", places / "remote", "ext4"),
    )
    assert measured(read()) == {("overlay", "/", "overlay"), ("/dev/sda1", str(places / "data"), "ext4")}


def test_a_mount_point_with_a_space_is_found(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "my data", "ext4"))
    assert r"my\040data" in (fake_host.proc / "self" / "mountinfo").read_text()
    assert measured(read()) == {("/dev/sda1", str(places / "my data"), "ext4")}


def test_of_two_file_systems_on_one_mount_point_only_the_one_that_can_be_seen_is_read(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "data", "ext4"), ("/dev/sdb1", places / "data", "xfs"))
    assert measured(read()) == {("/dev/sdb1", str(places / "data"), "xfs")}
    fake_host.mount(("/dev/sda1", places / "data", "ext4"), ("tmpfs", places / "data", "tmpfs"))
    assert measured(read()) == set()


def test_network_file_systems_and_zfs_are_read_the_former_last(fake_host, places):
    fake_host.mount(
        ("server:/export", places / "data", "nfs4"),
        ("pool/logs", places / "logs", "zfs"),
        ("/dev/sda1", places / "remote", "ext4"),
    )
    asked = []

    def note(mount):
        asked.append(mount.device)
        return measure(mount)

    assert {device for device, *_ in measured(read(note))} == {"server:/export", "pool/logs", "/dev/sda1"}
    assert asked == ["pool/logs", "/dev/sda1", "server:/export"]


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "Input/output error"), FileNotFoundError(2, "gone")])
def test_a_file_system_that_errors_costs_only_itself(fake_host, places, error):
    def unless_dying(mount):
        if mount.device == "/dev/dying":
            raise error
        return measure(mount)

    fake_host.mount(("/dev/dying", places / "data", "ext4"), ("/dev/sda1", places / "logs", "ext4"))

    assert {device for device, *_ in measured(read(unless_dying))} == {"/dev/sda1"}


def test_a_device_that_errors_in_one_place_is_read_in_the_next(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "hosts", "ext4"), ("/dev/sda1", places / "logs", "ext4"))
    assert measured(read()) == {("/dev/sda1", str(places / "logs"), "ext4")}


def test_a_device_that_is_pulled_out_between_two_readings_is_missing(fake_host, places):
    fake_host.mount(("/dev/sda1", places / "data", "ext4"), ("/dev/sdb1", places / "logs", "ext4"))
    collector = HostCollector()
    assert len(measured(values_of(collector.collect()))) == 2
    (places / "logs").rmdir()  # the kernel's table may name it for a while
    assert {device for device, *_ in measured(values_of(collector.collect()))} == {"/dev/sda1"}


def test_a_name_that_is_not_utf8_cannot_break_the_page(fake_host, places):
    folder = os.fsencode(places / "bad") + b"\xff"
    os.mkdir(folder)  # noqa: PTH102 - bytes
    mounts = fake_host.proc / "self" / "mountinfo"
    mounts.write_bytes(b"1 0 8:1 / " + folder + b" rw - ext4 /dev/sda1 rw\n")
    ((_, mountpoint, _),) = measured(read())
    assert mountpoint == str(places / "bad?")


def test_where_there_is_no_proc_the_mounts_are_those_of_psutil(monkeypatch, places):
    part = psutil.disk_partitions(all=True)[0]._replace
    disk = part(device="/dev/disk1", mountpoint=str(places / "data"), fstype="apfs")
    made_up = part(device="map", mountpoint=str(places / "logs"), fstype="autofs")
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "disk_partitions", lambda **options: [disk, made_up] if options["all"] else [disk])
    assert measured(read()) == {("/dev/disk1", str(places / "data"), "apfs")}
    assert series("system_memory_limit_bytes") in read()
