from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from cgroup_trees import FakeKernel, build_v1, build_v2, v1_group, v2_group
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agentgauge import catalogue
from agentgauge.collectors import container
from agentgauge.collectors.container import ContainerCollector
from agentgauge.errors import contained_errors

FAMILIES = {family.name for family in catalogue.FAMILIES if family.name.startswith("container_")}
HOST_MEMORY, HOST_AVAILABLE, HOST_CPUS = 100_000, 60_000, 8
BOTH = pytest.mark.parametrize("build", [build_v2, build_v1], ids=["cgroup_v2", "cgroup_v1"])


@pytest.fixture(autouse=True)
def no_fault_of_ours():
    before = dict(contained_errors.count_by_hook)
    yield
    assert contained_errors.count_by_hook == before


@pytest.fixture
def host(monkeypatch):
    """A host whose memory and CPUs are known."""
    monkeypatch.setattr(container, "read_capacity", lambda: (HOST_MEMORY, HOST_AVAILABLE))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: HOST_CPUS)


def read(collector):
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    values = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(values) == len(samples)
    return values


def read_once(kernel):
    return read(ContainerCollector(proc=kernel.proc))


def limits(values, name):
    return {key[1]: value for key, value in values.items() if key[0] == name}


def memory_limit(values):
    return limits(values, "container_memory_limit_bytes")


def cpu_limit(values):
    return limits(values, "container_cpu_limit_cores")


FACTS = {
    "memory": 5000,
    "limit": 8000,
    "inactive": 1500,
    "quota": "150000 100000",
    "pids": 64,
    "kills": 3,
    "throttled": (200, 20, 4_000_000),
}


@BOTH
def test_every_container_family_of_the_catalogue_is_read(tmp_path, host, build):
    kernel, _ = build(tmp_path, {}, FACTS)
    now = [0.0]
    collector = ContainerCollector(lambda: now[0], kernel.proc)
    now[0] = 2.0
    assert {name for name, *_ in read(collector)} == FAMILIES


@BOTH
def test_both_versions_say_the_same_of_the_same_facts(tmp_path, host, build, request):
    kernel, _ = build(tmp_path, FACTS)
    source = request.node.callspec.id
    assert read_once(kernel) == {
        ("container_cpu_limit_cores", source): 1.5,
        ("container_cpu_time_seconds_total", "user"): 3.0,
        ("container_cpu_time_seconds_total", "system"): 1.0,
        ("container_cpu_periods_total",): 200,
        ("container_cpu_throttled_periods_total",): 20,
        ("container_cpu_throttled_time_seconds_total",): 4.0,
        ("container_memory_limit_bytes", source): 8000,
        ("container_memory_usage_bytes",): 5000,
        ("container_memory_working_set_bytes",): 3500,
        ("container_memory_available_bytes",): 4500,
        ("container_memory_utilization_ratio",): 3500 / 8000,
        ("container_oom_kills_total",): 3,
        ("container_pids",): 12,
        ("container_pids_limit",): 64,
    }


@BOTH
def test_without_a_limit_the_host_is_the_limit(tmp_path, host, build):
    kernel, _ = build(tmp_path, {}, {"memory": 2100})
    values = read_once(kernel)
    assert memory_limit(values) == {"host": HOST_MEMORY}
    assert cpu_limit(values) == {"host": HOST_CPUS}
    assert values["container_memory_utilization_ratio",] == 2000 / HOST_MEMORY
    assert values["container_memory_available_bytes",] == HOST_AVAILABLE
    assert ("container_pids_limit",) not in values


@BOTH
def test_a_limit_beyond_what_the_host_has_is_the_hosts(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"limit": 2 * HOST_MEMORY, "quota": "1600000 100000"})
    values = read_once(kernel)
    assert memory_limit(values) == {"host": HOST_MEMORY}
    assert cpu_limit(values) == {"host": HOST_CPUS}


@BOTH
@pytest.mark.parametrize("tightest", [0, 1, 2])
def test_the_smallest_limit_of_all_groups_above_counts(tmp_path, host, build, tightest, request):
    levels = [{"limit": 9000 + depth, "quota": f"{300 + depth}000 100000", "pids": 90 + depth} for depth in range(3)]
    levels[tightest] = {"limit": 7000, "quota": "50000 100000", "pids": 30}
    kernel, _ = build(tmp_path, *levels)
    values = read_once(kernel)
    source = request.node.callspec.id.split("-")[-1]
    assert memory_limit(values) == {source: 7000}
    assert cpu_limit(values) == {source: 0.5}
    assert values["container_pids_limit",] == 30


@BOTH
def test_headroom_is_that_of_the_group_above_which_has_the_least(tmp_path, host, build):
    pod = {"memory": 9500, "inactive": 700, "limit": 10_000}  # a neighbour uses most of it
    kernel, _ = build(tmp_path, {}, pod, {"memory": 1000, "inactive": 100, "limit": 8000})
    values = read_once(kernel)
    assert values["container_memory_available_bytes",] == 10_000 - (9500 - 700)
    assert values["container_memory_utilization_ratio",] == 900 / 8000


@BOTH
def test_headroom_is_the_hosts_where_that_has_less(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"limit": HOST_MEMORY - 1, "memory": 10, "inactive": 0})
    assert read_once(kernel)["container_memory_available_bytes",] == HOST_AVAILABLE


@BOTH
def test_headroom_is_never_below_nothing(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"limit": 500, "memory": 1000, "inactive": 100})
    assert read_once(kernel)["container_memory_available_bytes",] == 0


@BOTH
def test_caches_that_exceed_the_use_leave_an_empty_working_set(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"memory": 100, "inactive": 300})
    assert read_once(kernel)["container_memory_working_set_bytes",] == 0


@BOTH
def test_throttling_is_that_of_the_group_with_the_smallest_quota(tmp_path, host, build):
    pod = {"quota": "100000 100000", "throttled": (50, 40, 3_000_000)}
    kernel, _ = build(tmp_path, pod, {"quota": "200000 100000", "throttled": (7, 0, 0)})
    values = read_once(kernel)
    assert values["container_cpu_periods_total",] == 50
    assert values["container_cpu_throttled_periods_total",] == 40
    assert values["container_cpu_throttled_time_seconds_total",] == 3.0


@BOTH
def test_a_set_of_cpus_is_a_limit_too(tmp_path, host, build, request):
    kernel, _ = build(tmp_path, {"quota": "300000 100000", "cpus": "0-1"})
    assert cpu_limit(read_once(kernel)) == {request.node.callspec.id: 2}


@BOTH
def test_the_set_of_all_cpus_limits_nothing(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"cpus": "0-7"})
    assert cpu_limit(read_once(kernel)) == {"host": HOST_CPUS}


def test_a_limit_above_what_a_container_of_version_1_can_see_counts_and_makes_the_headroom_unknown(tmp_path, host):
    kernel = FakeKernel(tmp_path, "4:memory:/docker/abc")
    point = kernel.mount("memory", root="/docker/abc")
    kernel.group(point, v1_group(limit=9000, hierarchical=6000))
    values = read_once(kernel)
    assert memory_limit(values) == {"cgroup_v1": 6000}
    assert values["container_memory_utilization_ratio",] == 900 / 6000
    assert ("container_memory_available_bytes",) not in values  # its neighbours' use is out of sight
    kernel.group(point, v1_group(limit=6000, hierarchical=6000))
    assert read_once(kernel)["container_memory_available_bytes",] == 6000 - 900


def test_a_group_without_controllers_counts_in_the_one_above_it(tmp_path, host):
    kernel = FakeKernel(tmp_path, "0::/init")  # what a container does that runs containers
    point = kernel.mount()
    kernel.group(point, v2_group(**FACTS))
    kernel.group(point / "init", {"cpu.stat": "usage_usec 6\nuser_usec 4000000\nsystem_usec 2000000"})
    values = read_once(kernel)
    assert memory_limit(values) == {"cgroup_v2": 8000}
    assert values["container_memory_usage_bytes",] == 5000
    assert values["container_pids",] == 12
    assert values["container_oom_kills_total",] == 3
    assert values["container_cpu_throttled_periods_total",] == 20
    assert values["container_cpu_time_seconds_total", "user"] == 4.0


def test_the_outermost_group_of_version_2_has_cpu_time_and_no_more(tmp_path, host):
    kernel = FakeKernel(tmp_path, "0::/")
    kernel.group(kernel.mount(), {"cpu.stat": "usage_usec 6000000\nuser_usec 4000000\nsystem_usec 2000000"})
    assert read_once(kernel) == {
        ("container_cpu_limit_cores", "host"): HOST_CPUS,
        ("container_cpu_time_seconds_total", "user"): 4.0,
        ("container_cpu_time_seconds_total", "system"): 2.0,
        ("container_memory_limit_bytes", "host"): HOST_MEMORY,
        ("container_memory_available_bytes",): HOST_AVAILABLE,
    }


def test_a_system_without_control_groups_shows_the_hosts_limits_alone(tmp_path, host):
    values = read(ContainerCollector(proc=tmp_path / "missing"))
    assert values == {
        ("container_cpu_limit_cores", "host"): HOST_CPUS,
        ("container_memory_limit_bytes", "host"): HOST_MEMORY,
        ("container_memory_available_bytes",): HOST_AVAILABLE,
    }


def test_groups_that_are_out_of_sight_are_unknown(tmp_path, host):
    assert read_once(FakeKernel(tmp_path, "0::/docker/abc")) == {}


def test_a_set_of_cpus_that_is_out_of_sight_makes_the_cpu_limit_unknown(tmp_path, host):
    kernel = FakeKernel(tmp_path, "3:cpuset:/docker/abc", "2:cpu,cpuacct:/docker/abc")
    kernel.group(kernel.mount("cpu,cpuacct", root="/docker/abc"), v1_group(**FACTS))
    values = read_once(kernel)
    assert cpu_limit(values) == {}
    assert values["container_cpu_throttled_periods_total",] == 20


def test_in_a_hybrid_each_limit_names_its_own_version(tmp_path, host):
    kernel = FakeKernel(tmp_path, "2:memory:/job", "0::/job")
    kernel.group(kernel.mount("memory", at="memory") / "job", v1_group(**FACTS))
    kernel.group(kernel.mount(at="unified") / "job", {"cpu.max": "50000 100000", "pids.current": 4, "cpu.stat": "user_usec 1"})
    values = read_once(kernel)
    assert memory_limit(values) == {"cgroup_v1": 8000}
    assert cpu_limit(values) == {"cgroup_v2": 0.5}
    assert values["container_pids",] == 4


@BOTH
def test_a_container_that_is_moved_is_read_where_it_is_now(tmp_path, host, build):
    kernel, groups = build(tmp_path, {}, FACTS)
    now = [0.0]
    collector = ContainerCollector(lambda: now[0], kernel.proc)
    facts = {"limit": 4000, "user": 900_000_000}
    kernel.group(groups[1] / "other", (v2_group if build is build_v2 else v1_group)(**facts))
    kernel.move(*(line.replace("level1", "other") for line in (kernel.proc / "cgroup").read_text().splitlines()))
    now[0] = 2.0
    values = read(collector)
    assert list(memory_limit(values).values()) == [4000]
    assert ("container_cpu_utilization_ratio",) not in values  # the other group's past is not our doing
    now[0] = 4.0
    assert read(collector)["container_cpu_utilization_ratio",] == 0


@BOTH
def test_cpu_utilization_is_the_share_of_the_limit_as_it_was_meanwhile(tmp_path, host, build):
    facts_of = v2_group if build is build_v2 else v1_group
    kernel, (own,) = build(tmp_path, {"quota": "200000 100000", "user": 1_000_000, "system": 0})
    now = [50.0]
    collector = ContainerCollector(lambda: now[0], kernel.proc)
    assert ("container_cpu_utilization_ratio",) not in read(collector)
    now[0] += 10
    kernel.group(own, facts_of(quota="200000 100000", user=9_000_000, system=2_000_000))
    assert read(collector)["container_cpu_utilization_ratio",] == pytest.approx(10 / 20)
    now[0] += 10
    kernel.group(own, facts_of(quota="50000 100000", user=12_000_000, system=3_000_000))
    assert read(collector)["container_cpu_utilization_ratio",] == pytest.approx(4 / 5)


@BOTH
def test_a_limit_of_nothing_has_no_utilization(tmp_path, host, build):
    kernel, _ = build(tmp_path, {"limit": 0})
    values = read_once(kernel)
    assert list(memory_limit(values).values()) == [0]
    assert ("container_memory_utilization_ratio",) not in values


@BOTH
def test_every_file_may_be_missing_or_nonsense_without_a_zero_in_its_place(tmp_path, host, build):
    """What one file says is gone with it; no other reading changes, but for those that derive from it."""
    kernel, (own, *_) = build(tmp_path, FACTS)
    whole = read_once(kernel)
    for file in sorted(own.iterdir()):
        if file.name == "cgroup.procs":
            continue
        content = file.read_bytes()
        for nonsense in (b"", b"\xff\xfe\n", b"-7\n", b"nan nan\n", None):
            file.unlink()
            if nonsense is not None:
                file.write_bytes(nonsense)
            values = read_once(kernel)
            lost = whole.keys() - values.keys()
            gained = {key: value for key, value in values.items() if whole.get(key) != value}
            if nonsense is not None and "hierarchical" not in content.decode():
                assert gained == {} or set(gained) <= {("container_memory_available_bytes",)}, (file.name, nonsense)
            assert 0 not in gained.values(), (file.name, nonsense)
            if file.name not in {"memory.high", "cpuacct.usage"}:
                assert lost or gained, (file.name, nonsense)
        file.write_bytes(content)
    assert read_once(kernel) == whole


@contextlib.contextmanager
def unprivileged():
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder():
    """A folder that any user may look into, as ``tmp_path`` is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@BOTH
def test_a_limit_that_is_not_for_us_to_read_is_unknown_and_the_rest_is_read(public_folder, host, build):
    kernel, (_, parent) = build(public_folder, {"limit": 3000, "quota": "100000 100000"}, FACTS)
    files = [parent / name for name in ("memory.max", "cpu.max", "memory.limit_in_bytes", "cpu.cfs_quota_us")]
    for file in files:
        if file.exists():
            file.chmod(0)
    with unprivileged():
        values = read_once(kernel)
    assert memory_limit(values) == cpu_limit(values) == {}
    assert ("container_memory_available_bytes",) not in values
    assert ("container_memory_utilization_ratio",) not in values
    assert values["container_memory_usage_bytes",] == 5000
    assert values["container_cpu_time_seconds_total", "user"] == 3.0


@BOTH
def test_groups_that_are_not_for_us_to_enter_are_unknown(public_folder, host, build):
    kernel, (own, _) = build(public_folder, {}, FACTS)
    collector = ContainerCollector(proc=kernel.proc)
    assert read(collector) != {}
    own.chmod(0)
    try:
        with unprivileged():
            values, values_since = read_once(kernel), read(collector)
    finally:
        own.chmod(0o755)
    assert values == values_since == {}


def test_a_host_that_does_not_tell_its_memory_leaves_the_containers_limit(tmp_path, monkeypatch, host):
    def refuse():
        raise psutil.AccessDenied

    monkeypatch.setattr(container, "read_capacity", refuse)
    values = read_once(build_v2(tmp_path / "limited", FACTS)[0])
    assert memory_limit(values) == {"cgroup_v2": 8000}
    assert ("container_memory_available_bytes",) not in values
    values = read_once(build_v2(tmp_path / "unlimited", {})[0])
    assert memory_limit(values) == {}
    assert values["container_memory_usage_bytes",] == 1000


def test_what_a_host_tells_of_its_memory_costs_the_program_no_warning(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 500 kB\n")  # as some sandboxes tell; psutil warns of it
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    values = read_once(FakeKernel(tmp_path / "none"))
    assert memory_limit(values) == {"host": 1000 * 1024}
    assert ("container_memory_available_bytes",) not in values


MEMORY_LIMITS = st.one_of(st.integers(0, 3 * HOST_MEMORY), st.just("max"), st.sampled_from(["", "bogus", None]))
QUOTAS = st.one_of(
    st.builds("{} {}".format, st.integers(1000, 2_000_000), st.integers(1000, 1_000_000)),
    st.just("max 100000"),
    st.sampled_from(["bogus 100000", "max-ish x", None]),
)


def meaning(content):
    """What a limit is worth: nothing where there is none, ``None`` where nobody can tell."""
    if content in {None, "max", "max 100000"}:  # a missing file is a controller that is off
        return math.inf
    if isinstance(content, int):
        return content
    quota, _, period = content.partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def set_limit(folder, build, memory, quota):
    facts = {"limit": memory if memory is not None else "max", "quota": quota or "max 100000"}
    files = (v2_group if build is build_v2 else v1_group)(**facts)
    if memory is None:
        files.pop("memory.max", None)
        files.pop("memory.limit_in_bytes", None)
    if quota is None:
        for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"):
            files.pop(name, None)
    FakeKernel.group(folder, files)
    for name in {"memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"} - files.keys():
        (folder / name).unlink(missing_ok=True)


@BOTH
@settings(max_examples=40, deadline=None)
@given(levels=st.lists(st.tuples(MEMORY_LIMITS, QUOTAS), min_size=1, max_size=5))
def test_no_limit_is_ever_larger_than_that_of_any_group_above_or_the_host(build, levels):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "read_capacity", lambda: (HOST_MEMORY, HOST_AVAILABLE))
        patch.setattr(psutil, "cpu_count", lambda logical=True: HOST_CPUS)
        kernel, groups = build(Path(folder), *({} for _ in levels))
        for group, (memory, quota) in zip(groups, levels, strict=True):
            set_limit(group, build, memory, quota)
        values = read_once(kernel)
        own = "cgroup_v2" if build is build_v2 else "cgroup_v1"
        for shown, column, host_has in ((memory_limit(values), 0, HOST_MEMORY), (cpu_limit(values), 1, HOST_CPUS)):
            above = [meaning(level[column]) for level in levels]
            if None in above:
                assert shown == {}
            else:
                ((source, limit),) = shown.items()
                assert all(limit <= other for other in (*above, host_has))
                assert limit == min(*above, host_has)
                assert source == (own if min(above) < host_has else "host")


@BOTH
@settings(max_examples=40, deadline=None)
@given(levels=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000), st.integers(0, 12_000)), min_size=1, max_size=4))
def test_headroom_is_never_more_than_any_limit_leaves(build, levels):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "read_capacity", lambda: (HOST_MEMORY, HOST_AVAILABLE))
        facts = [{"memory": memory, "inactive": inactive, "limit": limit} for memory, inactive, limit in levels]
        kernel, _ = build(Path(folder), *facts)
        rooms = [max(0, limit - max(0, memory - inactive)) for memory, inactive, limit in levels]
        assert read_once(kernel)["container_memory_available_bytes",] == min(*rooms, HOST_AVAILABLE)


def test_the_page_is_text_that_prometheus_client_reads_back(tmp_path, host):
    registry = CollectorRegistry()
    collector = ContainerCollector(proc=build_v2(tmp_path, FACTS)[0].proc)
    registry.register(collector)
    page = generate_latest(registry).decode()
    samples = {(s.name, *s.labels.values()): s.value for m in text_string_to_metric_families(page) for s in m.samples}
    assert samples == read(collector)


def test_counters_of_this_machine_go_up_and_its_limits_are_within_the_hosts():
    collector = ContainerCollector()
    sweeps = [read(collector)]
    started = time.process_time()
    while time.process_time() - started < 0.3:
        pass
    sweeps.append(read(collector))
    for before, after in pairwise(sweeps):
        for key in before.keys() & after.keys():
            if key[0].endswith("_total"):
                assert after[key] >= before[key], key
    modes = [[value for key, value in sweep.items() if key[0] == "container_cpu_time_seconds_total"] for sweep in sweeps]
    assert modes[0] == modes[1] == [] or sum(modes[1]) - sum(modes[0]) >= 0.25
    for limit in memory_limit(sweeps[1]).values():
        assert 0 < limit <= psutil.virtual_memory().total
    for limit in cpu_limit(sweeps[1]).values():
        assert 0 < limit <= psutil.cpu_count()


def test_memory_that_this_process_takes_is_used_by_its_container():
    collector = ContainerCollector()
    size = 128 * 2**20
    names = {("container_memory_usage_bytes",), ("container_memory_working_set_bytes",)}
    for _ in range(5):  # neighbours may free as much meanwhile, but not each time
        before = read(collector)
        ballast = bytearray(os.urandom(4096)) * (size // 4096)
        after = read(collector)
        assert len(ballast) == size
        del ballast
        grown = {name: after[name] - before[name] for name in names & before.keys()}
        if all(growth > size / 4 for growth in grown.values()):
            break
    assert all(growth > size / 4 for growth in grown.values()), grown


def test_one_sweep_of_this_machine_costs_less_than_two_milliseconds():
    collector = ContainerCollector()
    read(collector)

    def cost():
        started = time.thread_time()
        collector.collect()
        return time.thread_time() - started

    assert min(cost() for _ in range(30)) < 0.002
