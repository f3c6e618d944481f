"""Control groups as files in a folder: what the kernel shows of them, with none of its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

V1_UNLIMITED = 9223372036854771712  # with pages of 4 KiB


class FakeKernel:
    """A ``/proc/self`` and the mounts that it tells of.

    Args:
        folder: Where to put them.
        membership: The lines of ``/proc/self/cgroup``.
    """

    def __init__(self, folder: Path, *membership: str) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        self.proc.mkdir(parents=True)
        self._mounts = ["22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda1 rw", "23 22 0:22 / /proc rw - proc proc rw"]
        self._write_mounts()
        self.move(*membership)

    def move(self, *membership: str) -> None:
        (self.proc / "cgroup").write_text("".join(f"{line}\n" for line in membership))

    def mount(self, controllers: str = "", *, root: str = "/", at: str = "cgroup") -> Path:
        """Mount version 1 with these controllers, or version 2, and return where."""
        point = self.folder / at
        self.group(point)
        kind = f"cgroup cgroup rw,{controllers}" if controllers else "cgroup2 cgroup2 rw,nsdelegate"
        place = str(point).replace("\\", r"\134").replace(" ", r"\040")
        self._mounts.append(f"{len(self._mounts) + 22} 22 0:{len(self._mounts) + 22} {root} {place} rw shared:9 - {kind}")
        self._write_mounts()
        return point

    def _write_mounts(self) -> None:
        (self.proc / "mountinfo").write_text("".join(f"{line}\n" for line in self._mounts))

    @staticmethod
    def group(folder: Path, files: dict[str, object] | None = None) -> Path:
        """Make a group, or write more of its files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {"cgroup.procs": "", **(files or {})}.items():
            (folder / name).write_text(f"{content}\n")
        return folder


def v2_group(
    *,
    memory=1000,
    limit="max",
    inactive=100,
    quota="max 100000",
    pids="max",
    kills=0,
    throttled=(0, 0, 0),
    user=3_000_000,
    system=1_000_000,
    cpus=None,
):
    """Give the files of a group of version 2, as a kernel 6.x writes them."""
    files = {
        "memory.max": limit,
        "memory.high": "max",
        "memory.current": memory,
        "memory.stat": f"anon 400\nfile 500\ninactive_anon 300\ninactive_file {inactive}\nactive_file 7",
        "memory.events": f"low 0\nhigh 5\nmax 7\noom 9\noom_kill {kills}\noom_group_kill 0",
        "cpu.max": quota,
        "cpu.stat": (
            f"usage_usec {user + system}\nuser_usec {user}\nsystem_usec {system}\ncore_sched.force_idle_usec 0\n"
            f"nr_periods {throttled[0]}\nnr_throttled {throttled[1]}\nthrottled_usec {throttled[2]}\nnr_bursts 0\nburst_usec 0"
        ),
        "pids.current": 12,
        "pids.max": pids,
    }
    return files if cpus is None else {**files, "cpuset.cpus": "", "cpuset.cpus.effective": cpus}


def v1_group(
    *,
    memory=1000,
    limit="max",
    inactive=100,
    quota="max 100000",
    pids="max",
    kills=0,
    throttled=(0, 0, 0),
    user=3_000_000,
    system=1_000_000,
    cpus=None,
    hierarchical=None,
):
    """Give the files of a group in all hierarchies of version 1, for the same facts as ``v2_group``."""
    allowed, period = quota.split()
    limit = V1_UNLIMITED if limit == "max" else limit
    files = {
        "memory.limit_in_bytes": limit,
        "memory.usage_in_bytes": memory,
        "memory.stat": (
            f"cache 500\nrss 400\ninactive_file 3\nhierarchical_memory_limit {hierarchical or V1_UNLIMITED}\n"
            f"total_cache 500\ntotal_inactive_file {inactive}"
        ),
        "memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}",
        "cpu.cfs_quota_us": -1 if allowed == "max" else allowed,
        "cpu.cfs_period_us": period,
        "cpu.stat": f"nr_periods {throttled[0]}\nnr_throttled {throttled[1]}\nthrottled_time {throttled[2] * 1000}",
        "cpuacct.usage": (user + system) * 1000,
        "cpuacct.stat": f"user {user // 10_000}\nsystem {system // 10_000}",
        "pids.current": 12,
        "pids.max": pids,
    }
    return files if cpus is None else {**files, "cpuset.cpus": cpus, "cpuset.effective_cpus": cpus}


def build_v2(folder: Path, *levels: dict[str, object]) -> tuple[FakeKernel, list[Path]]:
    """Nest groups of version 2 in one another below a root that has no limits, the outermost first.

    Returns:
        The kernel, and the groups, the process's own first.
    """
    names = [f"level{depth}" for depth in range(len(levels))]
    kernel = FakeKernel(folder, f"0::/{'/'.join(names)}")
    point = kernel.mount()
    groups = []
    for depth, facts in enumerate(levels, 1):
        groups.insert(0, kernel.group(point.joinpath(*names[:depth]), v2_group(**facts)))
    return kernel, groups


def build_v1(folder: Path, *levels: dict[str, object]) -> tuple[FakeKernel, list[Path]]:
    """Nest groups of version 1 in one another, as ``build_v2`` does; all hierarchies are mounted together."""
    names = [f"level{depth}" for depth in range(len(levels))]
    controllers = "cpuset,cpu,cpuacct,memory,pids"
    kernel = FakeKernel(folder, f"1:name=systemd:/{'/'.join(names)}", f"2:{controllers}:/{'/'.join(names)}", "0::/")
    point = kernel.mount(controllers)
    groups = []
    for depth, facts in enumerate(levels, 1):
        groups.insert(0, kernel.group(point.joinpath(*names[:depth]), v1_group(**facts)))
    return kernel, groups
