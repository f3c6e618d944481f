"""Every act is in the log before it happens and after, whatever happens to the file or the process."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime

import pytest
from recovery_world import PATIENCE_SECONDS, World

from agentgauge import ConfigurationError
from agentgauge.errors import contained_errors
from agentgauge.recovery import AuditLog, Backoff, Call, audit, read_audit

FACTS = {"case": "c", "source": "health", "component": "db"}


def test_an_act_is_logged_before_and_after_with_who_what_why_and_outcome(tmp_path):
    path = tmp_path / "audit.jsonl"
    world = World("reconnect", "restart")
    with world.recoveries(audit=path) as recoveries:
        world.recover(recoveries, "restart", source="health")
    trail = read_audit(path)
    assert [(each.event, each.action, each.outcome) for each in trail.entries] == [
        ("intent", "reconnect", ""),
        ("outcome", "reconnect", "not_recovered"),
        ("intent", "restart", ""),
        ("outcome", "restart", "recovered"),
    ]
    first, after = trail.entries[:2]
    assert (first.component, first.condition, first.error_type, first.source) == (
        "db",
        "refused",
        "ConnectionRefusedError",
        "health",
    )
    assert first.reason.startswith("nothing is recorded of db/refused")
    assert f"[{os.getpid()}]@" in first.who
    assert first.time == datetime.fromtimestamp(1000, UTC)
    assert first.attempt == after.attempt
    assert after.seconds == 1.0
    assert len({each.case for each in trail.entries}) == 1
    assert (trail.unfinished, trail.unreadable) == ((), 0)


def test_every_line_is_one_json_object_and_the_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "audit.jsonl"
    AuditLog(path, fsync=True).write("intent", 0.0, **FACTS, reason='one\nline, "quoted"')
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["reason"] == 'one\nline, "quoted"'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_of_an_action_reaches_the_log(tmp_path, caplog):
    caplog.set_level("DEBUG")

    def connect():
        raise ConnectionError("postgresql://user:hunter2@db/app refused")

    world = World(actions=[Call("reconnect", connect), Call("tell", lambda: "hunter2")], backoff=Backoff(first_seconds=0))
    with world.recoveries(audit=tmp_path / "audit.jsonl") as recoveries:
        result = recoveries.recover(world.failure(summary="password hunter2", labels={"dsn": "hunter2"}))
    assert result.attempts[0].error_type == "ConnectionError"
    written = (tmp_path / "audit.jsonl").read_text()
    assert '"error":"ConnectionError"' in written
    assert "hunter2" not in written + caplog.text


def test_what_is_done_is_also_in_the_programs_log(caplog):
    caplog.set_level("INFO", "agentgauge.recovery")
    world = World("restart")
    with world.recoveries() as recoveries:
        world.recover(recoveries, "restart")
    assert "intent of db/refused/ConnectionRefusedError: action restart" in caplog.text
    assert "outcome recovered" in caplog.text


def test_a_log_that_was_rotated_away_goes_on_in_a_new_file(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write("intent", 0.0, **FACTS, action="first")
    path.rename(tmp_path / "audit.jsonl.1")
    log.write("intent", 0.0, **FACTS, action="second")
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(path)
    log.write("intent", 0.0, **FACTS, action="third")
    assert [each.action for each in read_audit(tmp_path / "audit.jsonl.1").entries] == ["first"]
    assert [each.action for each in read_audit(path).entries] == ["third"]
    log.close()
    log.write("intent", 0.0, **FACTS, action="fourth")
    assert [each.action for each in read_audit(path).entries] == ["third", "fourth"]


def test_what_a_crash_left_of_a_line_spoils_no_other(tmp_path):
    path = tmp_path / "audit.jsonl"
    AuditLog(path).write("intent", 0.0, **FACTS, action="first")
    with path.open("a") as file:
        file.write('{"version":1,"time":"2026-')
    AuditLog(path).write("intent", 0.0, **FACTS, action="second")
    with path.open("a") as file:
        file.write('{"version":7,"time":"2026-01-01T00:00:00+00:00","event":"intent","component":"db","who":""}\n[1]\n\n')
    trail = read_audit(path)
    assert [each.action for each in trail.entries] == ["first", "second"]
    assert trail.unreadable == 3


def test_a_crash_in_the_middle_of_an_act_shows_as_an_intent_without_an_outcome(tmp_path):
    path = tmp_path / "audit.jsonl"
    program = f"""
        import os, signal, time
        from agentgauge.recovery import Call, Failure, Recoveries, Recovery

        def crash():
            os.kill(os.getpid(), signal.SIGKILL)

        recovery = Recovery(component="db", actions=[Call("crash", crash)])
        Recoveries([recovery], audit={str(path)!r}).recover(Failure(component="db", started_at=time.time()))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == -signal.SIGKILL
    (unfinished,) = read_audit(path).unfinished
    assert (unfinished.component, unfinished.action) == ("db", "crash")


def test_lines_of_many_threads_and_of_a_forked_child_are_all_whole(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)

    def write(who):
        for number in range(50):
            log.write("intent", 0.0, **FACTS, action=f"{who}-{number}", reason="x" * 5_000)

    child = os.fork()
    if child == 0:
        write("child")
        os._exit(0)
    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    trail = read_audit(path)
    assert trail.unreadable == 0
    assert {each.action for each in trail.entries} == {f"{who}-{n}" for who in ("a", "b", "c", "child") for n in range(50)}
    assert f"[{child}]@" in next(each for each in trail.entries if each.action == "child-0").who


def test_a_process_that_was_stopped_while_it_held_the_lock_holds_up_nobody_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_LOCK_SECONDS", 0.0001)
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    with path.open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        log.write("intent", 0.0, **FACTS, action="act")
    assert [each.action for each in read_audit(path).entries] == ["act"]


def test_a_log_that_cannot_be_written_any_more_does_not_keep_a_component_from_its_recovery(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    world = World("restart")
    before = contained_errors.count_by_hook.get("recovery_audit", 0)
    with world.recoveries(audit=folder / "audit.jsonl") as recoveries:
        (folder / "audit.jsonl").unlink()
        folder.rmdir()
        assert world.recover(recoveries, "restart").kind == "recovered"
    assert contained_errors.count_by_hook["recovery_audit"] > before


def test_a_log_in_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigurationError, match="audit="):
        AuditLog(tmp_path / "nowhere" / "audit.jsonl")
