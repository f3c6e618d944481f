"""Mounts that hang: the scrape goes on without them, in time, and takes them back when they answer."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from host_trees import by_label, names, values_of
from prometheus_client import CollectorRegistry

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.mount_probe import Mount, MountProbe, Space, measure
from agentgauge.collectors.sweep import Sweep
from agentgauge.errors import contained_errors
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60
SPACE = Space(total=10, used=4, free=6, inodes=100, inodes_free=50)


def mounts(*devices):
    return [Mount(device, f"/{device}", "ext4") for device in devices]


def devices(answers):
    return [mount.device for mount, _ in answers]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "agentgauge-mounts"]


def await_no_threads():
    for thread in threads():
        thread.join(PATIENCE_SECONDS)
    assert threads() == []


class DeadServers:
    """Measures mounts, of which those of dead devices hang in a system call until they are revived.

    By its clock time passes only while it has just asked a dead one: what a busy machine adds to all else counts for nothing.
    """

    def __init__(self, folder):
        self.folder = folder
        self.dead = set()
        self.asked = []
        self.most_seconds = 0.3  # with one of them; a bit more than the patience of who asks
        self._passed = (0.0, None)

    def clock(self):
        passed, since = self._passed
        return passed if since is None else passed + min(self.most_seconds, time.monotonic() - since)

    def kill(self, *devices):
        for device in devices:
            os.mkfifo(self.folder / device)
            self.dead.add(device)

    def __call__(self, mount):
        self.asked.append(mount.device)
        self._passed = self.clock(), time.monotonic() if mount.device in self.dead else None
        if mount.device in self.dead:
            os.close(os.open(self.folder / mount.device, os.O_RDONLY))  # hangs until somebody opens the other end
        return SPACE

    def revive(self, *devices):
        for device in devices or tuple(self.dead):
            self.dead.discard(device)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    os.close(os.open(self.folder / device, os.O_WRONLY | os.O_NONBLOCK))
                    break
                except OSError:  # its thread has not come to it yet
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
            (self.folder / device).unlink()
        await_no_threads()


@pytest.fixture
def servers(tmp_path):
    folder = tmp_path / "servers"
    folder.mkdir()
    servers = DeadServers(folder)
    yield servers
    servers.revive()


@pytest.fixture
def probe(servers):
    return MountProbe(servers, patience_seconds=0.25, limit_seconds=PATIENCE_SECONDS, clock=servers.clock)


def test_mounts_that_answer_are_all_there_and_leave_no_thread(probe):
    assert probe.ask(mounts("a", "b", "c")) == [(mount, SPACE) for mount in mounts("a", "b", "c")]
    await_no_threads()


def test_a_mount_that_hangs_is_missing_and_those_after_it_are_there(probe, servers):
    servers.kill("b")
    assert devices(probe.ask(mounts("a", "b", "c"))) == ["a", "c"]
    assert len(threads()) == 1


def test_a_mount_that_hangs_uses_up_its_own_patience_and_not_that_of_the_next(servers):
    servers.most_seconds = 0.45
    probe = MountProbe(servers, patience_seconds=0.4, limit_seconds=PATIENCE_SECONDS, clock=servers.clock)
    for turn in "123":  # a busy machine may add as much, but not each time
        first, second = f"b{turn}", f"d{turn}"
        servers.kill(first, second)
        began = time.monotonic()
        assert devices(probe.ask(mounts("a", first, "c", second, "e"))) == ["a", "c", "e"]
        seconds = time.monotonic() - began
        if seconds < 1.6:
            break
    assert 0.8 <= seconds < 1.6  # what answers before it must not double it


def test_a_mount_that_hangs_is_asked_once_and_later_scrapes_do_not_wait_for_it(servers):
    servers.kill("b")
    probe = MountProbe(servers, patience_seconds=0.25, limit_seconds=PATIENCE_SECONDS, clock=servers.clock)
    probe.ask(mounts("a", "b", "c"))

    began = time.monotonic()
    probe._patience_seconds = PATIENCE_SECONDS  # would show
    for _ in range(5):
        assert devices(probe.ask(mounts("a", "b", "c"))) == ["a", "c"]
    assert time.monotonic() - began < PATIENCE_SECONDS / 2

    assert servers.asked.count("b") == 1
    assert servers.asked.count("a") == servers.asked.count("c") == 6
    assert len(threads()) == 1


def test_a_mount_that_answers_again_is_taken_back(probe, servers):
    servers.kill("b")
    probe.ask(mounts("a", "b"))
    servers.revive("b")
    assert devices(probe.ask(mounts("a", "b"))) == ["a", "b"]


def test_an_answer_that_comes_late_is_not_shown(probe, servers):
    servers.kill("b")
    answers = probe.ask(mounts("a", "b"))
    left = probe._hung["b", "", ""]
    servers.revive("b")
    assert devices(answers) == ["a"]
    assert list(left.answers) == [("a", "", "")]  # nothing is written to what the scrape may be reading


def test_mounts_that_name_no_device_are_each_asked_and_left_alone_for_themselves(servers):
    servers.kill("hanging")
    asked = []

    def ask(mount):
        asked.append(mount.mountpoint)
        return servers(Mount("hanging" if mount.mountpoint == "/b" else "", mount.mountpoint, mount.kind))

    probe = MountProbe(ask, patience_seconds=0.1, clock=servers.clock)
    nameless = [Mount("", place, "9p") for place in ("/a", "/b", "/c", "/a")]
    for _ in range(2):
        assert [mount.mountpoint for mount, _ in probe.ask(nameless)] == ["/a", "/c"]
    assert asked == ["/a", "/b", "/c", "/a", "/c"]


def test_several_that_hang_cost_a_thread_each_and_no_answer_of_the_others(probe, servers):
    servers.kill("b", "c", "e")
    assert devices(probe.ask(mounts("a", "b", "c", "d", "e", "f"))) == ["a", "d", "f"]
    assert len(threads()) == 3


def test_a_device_that_hangs_is_left_alone_wherever_it_is_mounted(probe, servers):
    servers.kill("b")
    twice = [*mounts("a", "b"), Mount("b", "/elsewhere", "ext4"), *mounts("c")]
    assert devices(probe.ask(twice)) == ["a", "c"]
    assert servers.asked == ["a", "b", "c"]


def test_however_many_hang_a_scrape_waits_no_longer_than_the_limit(servers):
    dead = [f"dead{number}" for number in range(8)]
    servers.kill(*dead)
    probe = MountProbe(servers, patience_seconds=0.1, limit_seconds=0.15)
    began = time.monotonic()
    assert devices(probe.ask(mounts("a", *dead))) == ["a"]
    assert time.monotonic() - began < 0.15 + 1
    tried = servers.asked.count
    assert sum(map(tried, dead)) < 8
    while sum(map(tried, dead)) < 8:  # the others are found out by the next ones
        assert devices(probe.ask(mounts("a", *dead))) == ["a"]


def test_a_mount_that_hangs_is_told_of_with_the_time_since_it_was_asked_until_it_answers(servers):
    servers.kill("b")
    ticks = FakeClock()
    probe = MountProbe(servers, patience_seconds=0.25, limit_seconds=PATIENCE_SECONDS, clock=lambda: time.monotonic() + ticks())
    there = mounts("a", "b", "c")
    assert probe.stalls(there) == []  # nobody has asked
    probe.ask(there)
    [(mount, seconds)] = probe.stalls(there)
    assert mount == there[1]
    assert 0.25 <= seconds < PATIENCE_SECONDS
    ticks.advance(3600)
    probe.ask(there)
    assert probe.stalls(there) == [(mount, pytest.approx(3600 + seconds, abs=PATIENCE_SECONDS))]
    servers.revive("b")
    [(mount, seconds)] = probe.stalls(there)
    assert mount == there[1]  # late it was, and nobody has asked again
    assert 0.25 <= seconds < PATIENCE_SECONDS
    probe.ask(there)
    assert probe.stalls(there) == []


def test_a_mount_that_hangs_is_told_of_where_it_was_asked_and_only_while_it_is_mounted(probe, servers):
    servers.kill("b")
    elsewhere = Mount("b", "/elsewhere", "ext4")
    probe.ask([*mounts("a", "b"), elsewhere])

    def stalled(*places):
        return [mount.mountpoint for mount, _ in probe.stalls(places)]

    assert stalled(elsewhere, *mounts("a", "b")) == ["/b"]
    assert stalled(elsewhere, *mounts("a")) == ["/elsewhere"]  # which was not asked, since its device hangs
    assert stalled(*mounts("a")) == []  # umount --lazy: its call never ends


def test_of_a_mount_whose_turn_came_as_the_time_of_all_was_up_nothing_is_told_yet(servers):
    servers.kill("b", "c")
    ticks = FakeClock()
    probe = MountProbe(servers, patience_seconds=0.5, limit_seconds=0.6, clock=lambda: time.monotonic() + ticks())
    there = mounts("b", "c")
    probe.ask(there)
    assert [mount.device for mount, _ in probe.stalls(there)] == ["b"]  # "c" had a tenth of a second
    ticks.advance(0.5)
    assert [mount.device for mount, _ in probe.stalls(there)] == ["b", "c"]


class SlowServers:
    """Measures mounts, some of which take their seconds of a fake clock; each call ends before the next scrape."""

    def __init__(self, **seconds_by_device):
        self.seconds = seconds_by_device
        self.clock = FakeClock()
        self.probe = MountProbe(self, clock=self.clock)
        self._may_end = threading.Event()

    def __call__(self, mount):
        seconds = self.seconds.get(mount.device, 0)
        self.clock.advance(seconds)
        if seconds >= 0.1 or self.clock() - self.began >= 0.25:  # who asks has left it by then
            self._may_end.wait(PATIENCE_SECONDS)
        return SPACE

    def scrape(self, *devices_there):
        """Return the devices that answered, and those that are said to have not."""
        self._may_end.clear()
        self.began = self.clock()
        there = mounts(*devices_there)
        answered, stalled = self.probe.ask(there), self.probe.stalls(there)
        self._may_end.set()
        await_no_threads()
        assert not set(devices(answered)) & set(devices(stalled))
        stalled_later = self.probe.stalls(there)
        assert devices(stalled_later) == devices(stalled)  # the call may have come back by then
        assert all(0.1 <= seconds < 1 for _, seconds in stalled)
        return set(devices(answered)), set(devices(stalled))


def test_a_mount_that_is_late_at_each_scrape_is_told_of_at_each_though_its_call_comes_back():
    servers = SlowServers(slow1=0.125, slow2=0.125)
    for _ in range(4):
        assert servers.scrape("slow1", "slow2") == (set(), {"slow1", "slow2"})


def test_mounts_that_are_late_starve_no_other_and_are_all_told_of():
    servers = SlowServers(slow1=0.125, slow2=0.125, slow3=0.125)
    there = ("slow1", "slow2", "slow3", "well")
    assert servers.scrape(*there) == (set(), {"slow1", "slow2"})  # there was no time for the others
    for _ in range(6):
        assert servers.scrape(*there) == ({"well"}, {"slow1", "slow2", "slow3"})
    servers.seconds.clear()  # all of them are well again
    answers = [servers.scrape(*there) for _ in range(2)]
    assert answers[1] == (set(there), set())


def test_mounts_that_take_all_the_time_though_each_is_in_time_have_their_turn_and_keep_none_that_was_late_from_its_own():
    servers = SlowServers(slow=0.125)
    assert servers.scrape("slow", "a")[1] == {"slow"}
    servers.seconds = dict.fromkeys("abcde", 0.0625)
    for _ in range(3):
        assert set().union(*(servers.scrape("slow", *"abcde")[0] for _ in range(8))) == {"slow", *"abcde"}


def test_a_mount_that_errors_is_told_of_no_more():
    servers = SlowServers(slow=0.125)
    there = mounts("slow")
    servers.scrape("slow")

    def fail(mount):
        raise OSError(116, "Stale file handle")

    servers.probe._measure = fail
    assert servers.probe.ask(there) == []
    assert servers.probe.stalls(there) == []


def test_what_is_mounted_anew_in_the_place_of_one_that_hangs_for_ever_is_asked(fake_host, servers, tmp_path):
    collector = HostCollector(sys_root=fake_host.sys, probe=MountProbe(servers, 0.25, PATIENCE_SECONDS, servers.clock))

    def scrape():
        values = values_of(collector.collect())
        stalls = by_label(values, "system_filesystem_stall_seconds", "system_device")
        return set(stalls) == set(by_label(values, "system_filesystem_utilization_ratio", "system_device")), len(stalls)

    line = f"{{}} 1 {{}} / {tmp_path} rw - nfs4 server rw\n"
    fake_host.write("self/mountinfo", line.format(40, "0:52"))
    servers.kill("server")
    for _ in range(2):
        assert scrape() == (False, 1)
    fake_host.write("self/mountinfo", line.format(41, "0:52"))  # the same file system, by another way
    assert scrape() == (False, 1)
    fake_host.write("self/mountinfo", "")  # umount --lazy
    assert scrape() == (True, 0)
    servers.dead.clear()  # for who asks from now on
    fake_host.write("self/mountinfo", line.format(40, "0:57"))
    assert scrape() == (True, 1)
    assert len(threads()) == 1
    servers.dead.add("server")  # to be let go


def test_mounts_that_are_slow_but_go_on_all_answer():
    ticks = FakeClock()

    def slow(mount):
        ticks.advance(0.15)
        return SPACE

    probe = MountProbe(slow, patience_seconds=0.2, limit_seconds=PATIENCE_SECONDS, clock=ticks)
    assert devices(probe.ask(mounts("a", "b", "c", "d", "e"))) == ["a", "b", "c", "d", "e"]


def test_where_no_thread_can_be_had_nothing_is_asked(probe, servers, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert probe.ask(mounts("a")) == []
    assert servers.asked == []
    assert devices(probe.ask(mounts("a"))) == ["a"]


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), MemoryError()])
def test_a_fault_of_ours_is_counted_and_ends_no_scrape(error):
    def fail(mount):
        raise error

    faults = contained_errors.count_by_hook.get("collector_host", 0)
    assert MountProbe(fail).ask(mounts("a")) == []
    assert contained_errors.count_by_hook["collector_host"] == faults + 1


FORK_SCRIPT = """
    import os, sys, threading
    from agentgauge.collectors.mount_probe import Mount, MountProbe, Space

    hangs = threading.Event()
    asked = []

    def measure(mount):
        asked.append(mount.device)
        if mount.device == "b" and len(asked) == 2:
            hangs.wait()
        return Space(total=10, used=4, free=6, inodes=0, inodes_free=0)

    def ask():
        return [mount.device for mount, _ in probe.ask([Mount(device, "/", "ext4") for device in "abc"])]

    probe = MountProbe(measure, patience_seconds=0.25, limit_seconds=20)
    assert ask() == ["a", "c"]
    child = os.fork()
    if child == 0:
        os._exit(0 if ask() == ["a", "b", "c"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ask() == ["a", "c"]
    print("the child asked anew, the parent did not")
"""


def test_a_forked_child_asks_anew_what_hung_in_its_parent():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(FORK_SCRIPT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # the thread that hangs for ever does not keep the interpreter from its end, either
    assert (result.returncode, result.stdout, result.stderr) == (0, "the child asked anew, the parent did not\n", "")


def test_a_dead_mount_costs_a_scrape_only_its_own_reading_and_keeps_it_in_time(fake_host, servers, tmp_path):
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
    fake_host.mount(("/dev/sda1", tmp_path / "data", "ext4"), ("server", tmp_path / "logs", "nfs4"))
    probe = MountProbe(servers, patience_seconds=0.25, limit_seconds=1, clock=servers.clock)
    collector = HostCollector(sys_root=fake_host.sys, probe=probe)
    complete = names(values_of(collector.collect()))
    servers.kill("server")
    sweep = Sweep({"host": collector}, timeout_seconds=PATIENCE_SECONDS, fresh_seconds=0)
    registry = CollectorRegistry()
    registry.register(sweep)

    try:
        for _ in range(3):
            began = time.monotonic()
            values = values_of(registry.collect())
            assert time.monotonic() - began < PATIENCE_SECONDS / 2
            assert complete <= names(values)
            assert by_label(values, "agentgauge_collector_success", "collector") == {("host",): 1}
            assert set(by_label(values, "system_filesystem_utilization_ratio", "system_device")) == {("/dev/sda1",)}
            stalls = by_label(values, "system_filesystem_stall_seconds", "system_device", "system_filesystem_type")
            assert stalls.pop(("server", "nfs4")) >= 0.25
            assert stalls == {("/dev/sda1", "ext4"): 0}
    finally:
        sweep.close()


def test_what_the_probe_waits_for_at_the_most_is_less_than_a_scrape_waits_for_its_collectors():
    from agentgauge.config import Config

    probe = MountProbe()
    assert probe._patience_seconds <= probe._limit_seconds <= Config().collector_timeout_seconds / 2


def test_a_folder_is_measured_as_statvfs_says_and_a_file_is_not(tmp_path):
    (tmp_path / "hosts").touch()
    assert measure(Mount("/dev/sda1", str(tmp_path / "hosts"), "ext4")) is None
    space, kernel = measure(Mount("/dev/sda1", str(tmp_path), "ext4")), os.statvfs(tmp_path)
    assert (space.total, space.inodes) == (kernel.f_blocks * kernel.f_frsize, kernel.f_files)
    with pytest.raises(FileNotFoundError):
        measure(Mount("/dev/sda1", str(tmp_path / "gone"), "ext4"))
