"""What is read of this process is of this process, whoever has its number in the /proc that psutil reads."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from agentgauge.collectors import own_process
from agentgauge.collectors.children import Children
from agentgauge.collectors.own_process import OwnProcess, read_unique_memory
from agentgauge.collectors.process import ProcessCollector


@pytest.fixture
def host_proc(tmp_path, monkeypatch):
    """The /proc of a host, in which our number is another process's."""
    for name in ("stat", "meminfo"):
        (tmp_path / name).symlink_to(f"/proc/{name}")
    (tmp_path / str(os.getpid())).symlink_to("/proc/1")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))


def values(readings):
    return [reading.value for reading in readings]


def agree(look):
    """Look twice at once, until both are the same: threads of other tests may end, or open a file, in between."""
    for _ in range(50):
        one, other = look()
        if one == other:
            break
        time.sleep(0.02)
    assert one == other


def test_with_psutil_at_the_hosts_proc_every_reading_is_still_of_this_process(host_proc):
    own, theirs = OwnProcess(), psutil.Process()
    other = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
    mine = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert theirs.create_time() != values(own.read_start())[0], "else this test shows nothing"
    agree(lambda: [*values(own.read_threads()), int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[17])])
    ticks = os.sysconf("SC_CLK_TCK")
    assert values(own.read_start())[0] - theirs.create_time() == pytest.approx((int(mine[19]) - int(other[19])) / ticks, abs=1)
    pages = [int(size) * os.sysconf("SC_PAGE_SIZE") for size in Path("/proc/self/statm").read_text().split()[:2]]
    virtual, resident = pages
    assert values(own.read_memory()) == pytest.approx([resident, virtual], rel=0.02)
    agree(lambda: [*values(own.read_open_descriptors()), len(list(Path("/proc/self/fd").iterdir())) - 1])
    assert values(read_unique_memory())[0] <= virtual


def test_where_our_number_is_nobodys_in_the_hosts_proc_the_process_is_read_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "stat").symlink_to("/proc/stat")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    collector = ProcessCollector(frozenset())
    names = {metric.name for metric in collector.collect()}
    collector.close()
    assert {"process_start_time_seconds", "process_resident_memory_bytes", "process_threads", "process_open_fds"} <= names


def test_the_readings_are_those_of_psutil_where_that_reads_the_same_proc():
    own, theirs = OwnProcess(), psutil.Process()
    assert values(own.read_start())[0] == pytest.approx(theirs.create_time(), abs=0.02)
    agree(lambda: [*values(own.read_threads()), theirs.num_threads()])
    assert values(own.read_open_descriptors())[0] == pytest.approx(theirs.num_fds(), abs=1)
    memory = theirs.memory_info()
    assert values(own.read_memory()) == pytest.approx([memory.rss, memory.vms], rel=0.02)
    assert values(read_unique_memory())[0] == pytest.approx(theirs.memory_full_info().uss, rel=0.05)


def test_without_linux_the_readings_are_psutils(monkeypatch):
    monkeypatch.setattr(psutil, "LINUX", False)
    own, theirs = OwnProcess(), psutil.Process()
    assert values(own.read_start()) == [theirs.create_time()]
    agree(lambda: [*values(own.read_threads()), theirs.num_threads()])
    assert values(own.read_disk_io()) == []
    assert values(own.read_memory())[0] == pytest.approx(theirs.memory_info().rss, rel=0.02)
    agree(lambda: [own_process._count_descriptors(), theirs.num_fds()])
    assert values(read_unique_memory())[0] == pytest.approx(theirs.memory_full_info().uss, rel=0.05)


def test_a_process_is_found_by_the_number_that_proc_knows_it_by(tmp_path):
    (tmp_path / "self").symlink_to("4711")
    assert Children(proc=str(tmp_path))._process_id == 4711
    assert Children()._process_id == os.getpid()
    assert Children(proc=str(tmp_path / "none"))._process_id == os.getpid()


def test_unique_memory_is_added_up_where_the_kernel_does_not(tmp_path, monkeypatch):
    (tmp_path / "smaps").write_text("Private_Clean:  1 kB\nPrivate_Dirty: 20 kB\nShared_Dirty: 9 kB\nPrivate_Dirty: 300 kB\n")
    monkeypatch.setattr(own_process, "_SELF", str(tmp_path))
    assert values(read_unique_memory()) == [321 * 1024]
