"""Where the control groups of a process are, and what their files say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from cgroup_trees import FakeKernel, build_v2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgauge.collectors.cgroup import (
    Cgroups,
    Hierarchy,
    Source,
    read_cpu_set,
    read_fields,
    read_limit,
    read_number,
    read_quota,
    smallest,
)

HOST = Hierarchy(Source.HOST)


def find(kernel, controller="memory"):
    return Cgroups(kernel.proc).find(controller)


def test_on_a_host_every_group_from_the_own_one_to_the_root_counts(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/system.slice/agents.service")
    point = kernel.mount()
    own = kernel.group(point / "system.slice" / "agents.service")
    assert find(kernel) == Hierarchy(Source.CGROUP_V2, (own, own.parent, point))


def test_in_a_container_with_its_own_view_the_mount_is_the_container(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/")
    point = kernel.mount()
    assert find(kernel) == Hierarchy(Source.CGROUP_V2, (point,))


def test_in_a_container_with_the_hosts_view_the_path_is_relative_to_what_is_mounted(tmp_path):
    kernel = FakeKernel(tmp_path, "5:memory:/docker/abc/nested", "3:cpu,cpuacct:/docker/abc")
    memory = kernel.mount("memory", root="/docker/abc", at="memory")
    cpu = kernel.mount("cpu,cpuacct", root="/docker/abc", at="cpu,cpuacct")
    nested = kernel.group(memory / "nested")
    assert find(kernel) == Hierarchy(Source.CGROUP_V1, (nested, memory))
    assert find(kernel, "cpu") == find(kernel, "cpuacct") == Hierarchy(Source.CGROUP_V1, (cpu,))


def test_in_a_hybrid_each_controller_belongs_to_the_version_that_has_it(tmp_path):
    kernel = FakeKernel(tmp_path, "2:memory:/job", "1:name=systemd:/job", "0::/job")
    v1, v2 = kernel.mount("memory", at="memory"), kernel.mount(at="unified")
    kernel.mount("name=systemd", at="systemd")
    kernel.group(v1 / "job")
    kernel.group(v2 / "job")
    assert find(kernel) == Hierarchy(Source.CGROUP_V1, (v1 / "job", v1))
    assert find(kernel, "pids") == Hierarchy(Source.CGROUP_V2, (v2 / "job", v2))


def test_the_mount_that_shows_most_groups_is_taken(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/pod/container")
    kernel.mount(root="/pod/container", at="narrow")
    wide = kernel.mount(at="wide")
    kernel.mount(root="/pod", at="other")
    own = kernel.group(wide / "pod" / "container")
    assert find(kernel).folders == (own, wide / "pod", wide)


def test_a_mount_that_something_else_hides_is_passed_over(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/pod/container")
    narrow = kernel.mount(root="/pod/container", at="narrow")
    (kernel.mount(at="hidden") / "pod" / "container").mkdir(parents=True)
    assert find(kernel).folders == (narrow,)


def test_names_may_hold_spaces_colons_and_bytes_of_any_kind(tmp_path):
    kernel = FakeKernel(tmp_path / r"a b\c", "0::/a:b/ünï")
    point = kernel.mount(at="c group")
    own = kernel.group(point / "a:b" / "ünï")
    with (kernel.proc / "mountinfo").open("ab") as mountinfo:
        mountinfo.write(b"99 1 0:99 / /\xff\xfe rw - cgroup2 cgroup2 rw\n")
    assert find(kernel).folders == (own, own.parent, point)


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_names_may_hold_what_only_python_takes_for_a_line_break(tmp_path, odd):
    kernel = FakeKernel(tmp_path / f"c{odd}d", f"0::/a{odd}b")
    point = kernel.mount(at=f"group{odd}s")
    own = kernel.group(point / f"a{odd}b")
    assert find(kernel).folders == (own, point)


@pytest.mark.parametrize(
    ("membership", "root"),
    [
        ("0::/elsewhere", "/container"),
        ("0::/../neighbour", "/"),
        ("0::/", "/../.."),
        ("0::/gone (deleted)", "/"),
        ("0::/containers", "/container"),
        ("0::/a\0b", "/"),
    ],
)
def test_a_group_that_no_mount_shows_is_unknown(tmp_path, membership, root):
    kernel = FakeKernel(tmp_path, membership)
    kernel.group(kernel.mount(root=root).parent / "neighbour")  # what a path that leads out of the mount would meet
    assert find(kernel) is None


def test_a_group_whose_tree_is_not_mounted_is_unknown(tmp_path):
    kernel = FakeKernel(tmp_path, "4:memory:/docker/abc", "0::/")
    kernel.mount(at="unified")
    assert find(kernel) is None
    (kernel.proc / "mountinfo").unlink()
    assert find(kernel, "pids") is None


@pytest.mark.parametrize("membership", ["memory", "x:memory:/", "1:memory", "0::relative", "0::", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_membership_that_makes_no_sense_is_unknown(tmp_path, membership):
    kernel = FakeKernel(tmp_path, "0::/", membership)
    kernel.mount()
    assert find(kernel) is None


def test_a_membership_that_is_refused_is_unknown(tmp_path):
    kernel = FakeKernel(tmp_path)
    (kernel.proc / "cgroup").unlink()
    (kernel.proc / "cgroup").mkdir()
    assert find(kernel) is None


def test_a_system_without_control_groups_is_the_host(tmp_path):
    assert Cgroups(tmp_path / "missing").find("memory") == HOST
    assert find(FakeKernel(tmp_path / "empty")) == HOST
    assert find(FakeKernel(tmp_path / "others", "3:freezer:/")) == HOST


def test_a_process_that_is_moved_is_found_again(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/first")
    point = kernel.mount()
    first, second = kernel.group(point / "first"), kernel.group(point / "second")
    cgroups = Cgroups(kernel.proc)
    cgroups.refresh()
    assert cgroups.find("memory").folders[0] == first
    kernel.move("0::/second")
    cgroups.refresh()
    assert cgroups.find("memory").folders[0] == second


def test_a_group_that_goes_and_comes_is_unknown_and_known_again(tmp_path):
    kernel = FakeKernel(tmp_path, "0::/")
    cgroups = Cgroups(kernel.proc)
    cgroups.refresh()
    assert cgroups.find("memory") is None
    point = kernel.mount()
    cgroups.refresh()
    assert cgroups.find("memory") == Hierarchy(Source.CGROUP_V2, (point,))
    point.rename(tmp_path / "gone")
    cgroups.refresh()
    assert cgroups.find("memory") is None


def test_the_mounts_are_read_once_for_as_long_as_nothing_changes(tmp_path):
    kernel, _ = build_v2(tmp_path, {})
    cgroups = Cgroups(kernel.proc)
    cgroups.refresh()
    found = cgroups.find("memory")
    (kernel.proc / "mountinfo").unlink()
    cgroups.refresh()
    assert cgroups.find("memory") is found is not None


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        ("4096\n", 4096),
        ("0", 0),
        ("max\n", math.inf),
        ("9223372036854771712", math.inf),
        ("9223372036854710272", math.inf),  # with pages of 64 KiB
        ("18446744073709551615", math.inf),
        ("", None),
        ("-1", None),
        ("4096 bytes", None),
        ("1_000", None),
        ("1e3", None),
        ("nan", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
        ("9" * 400, None),
    ],
)
def test_a_limit_is_a_count_or_none_at_all_or_unknown(tmp_path, content, limit):
    (tmp_path / "memory.max").write_text(content)
    assert read_limit(tmp_path / "memory.max") == limit


def test_a_limit_that_a_group_does_not_have_is_none_and_that_of_a_missing_group_is_unknown(tmp_path):
    assert read_limit(tmp_path / "memory.max") == math.inf
    assert read_limit(tmp_path / "gone" / "memory.max") is None
    (tmp_path / "memory.max").mkdir()
    assert read_limit(tmp_path / "memory.max") is None


@pytest.mark.parametrize(
    ("content", "cpus"),
    [
        ("150000 100000", 1.5),
        ("max 100000", math.inf),
        ("max", math.inf),
        ("0 100000", None),
        ("100000 0", None),
        ("100000", None),
        ("-1 100000", math.inf),
        ("", None),
        ("one two", None),
    ],
)
def test_a_quota_is_cpus(tmp_path, content, cpus):
    (tmp_path / "cpu.max").write_text(content)
    quota, _, period = content.partition(" ")
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text(period)
    assert read_quota(tmp_path, Source.CGROUP_V2) == cpus
    assert read_quota(tmp_path, Source.CGROUP_V1) == cpus


def test_a_group_without_the_cpu_controller_has_no_quota(tmp_path):
    assert read_quota(tmp_path, Source.CGROUP_V2) == read_quota(tmp_path, Source.CGROUP_V1) == math.inf
    assert read_quota(tmp_path / "gone", Source.CGROUP_V2) is read_quota(tmp_path / "gone", Source.CGROUP_V1) is None


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("0\n", 1),
        ("0-3,8", 5),
        ("1,3", 2),
        ("", math.inf),
        ("3-1", None),
        ("0-", None),
        ("-", None),
        ("a-b", None),
        ("0,,1", None),
    ],
)
def test_a_cpu_set_is_counted(tmp_path, content, count):
    (tmp_path / "cpuset").write_text(content)
    assert read_cpu_set(tmp_path / "cpuset") == count


def test_fields_that_make_no_sense_are_left_out(tmp_path):
    (tmp_path / "stat").write_bytes(b"good 7\nthree words 1\nword\nbad -3\nbroken \xff\n\nlast 1")
    names = ("good", "three", "word", "bad", "broken", "last")
    assert read_fields(tmp_path / "stat", *names) == {"good": 7, "last": 1}
    assert read_fields(tmp_path / "missing") == {}


def test_the_smallest_limit_is_unknown_if_any_is():
    assert smallest([3.0, math.inf, 2.0]) == 2.0
    assert smallest([]) == smallest([math.inf]) == math.inf
    assert smallest([1.0, None]) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(content=st.one_of(st.binary(max_size=60), st.from_regex(rb"[0-9,:/. max\n-]{0,40}", fullmatch=True)))
def test_no_content_of_any_file_raises(tmp_path, content):
    kernel_files = [tmp_path / name for name in ("cgroup", "mountinfo", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for file in kernel_files:
        file.write_bytes(content)
    cgroups = Cgroups(tmp_path)
    cgroups.refresh()
    assert cgroups.find("memory") in {None, HOST}
    (tmp_path / "cgroup").write_text("0::/")
    (tmp_path / "mountinfo").write_bytes(b"1 1 0:1 / " + content + b" rw - cgroup2 cgroup2 rw")
    cgroups.refresh()
    cgroups.find("memory")
    for value in (read_limit(kernel_files[2]), read_number(kernel_files[2]), read_cpu_set(kernel_files[2])):
        assert value is None or value >= 0
    for version in (Source.CGROUP_V1, Source.CGROUP_V2):
        assert (read_quota(tmp_path, version) or 0) >= 0
    names = [line.partition(" ")[0] for line in content.decode(errors="surrogateescape").splitlines()]
    assert all(value >= 0 for value in read_fields(kernel_files[2], *names).values())


def test_what_this_machine_says_of_this_process_is_found():
    cgroups = Cgroups()
    cgroups.refresh()
    has_any = Path("/proc/self/cgroup").exists() and Path("/proc/self/cgroup").read_text() != ""
    hierarchy = cgroups.find("memory")
    if not has_any:
        assert hierarchy == HOST
    elif hierarchy is not None and hierarchy != HOST:
        # the kernel lists us, by our number, in the group that we take for ours
        assert str(Path("/proc/self").resolve().name) in (hierarchy.folders[0] / "cgroup.procs").read_text().split()
