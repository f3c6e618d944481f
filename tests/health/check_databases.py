"""A real PostgreSQL and a real Redis on loopback, each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from check_servers import PATIENCE_SECONDS, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "hunter2-s3cr3t"
_PACKAGES = {"postgres": "postgresql", "initdb": "postgresql", "redis-server": "redis-server"}


@dataclass(frozen=True)
class Postgres:
    """Where it listens; user ``postgres`` with ``PASSWORD``."""

    port: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"


def find(program: str) -> str:
    """Return where a program lies: on PATH, or where Debian puts those of PostgreSQL."""
    places = [os.environ.get("PATH", ""), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    if found := shutil.which(program, path=os.pathsep.join(places)):
        return found
    message = f"{program} is not here; on Debian: apt-get install {_PACKAGES[program]}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    return pytest.skip(message)


@contextlib.contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """Run a PostgreSQL with few connections; as ``nobody`` for root, whom it refuses."""
    initdb, server = find("initdb"), find("postgres")
    nobody = pwd.getpwnam("nobody")
    account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="agentgauge-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if account:
            shutil.chown(folder, "nobody")
            shutil.chown(folder / "password", "nobody")
        common = {"cwd": folder, "stdin": subprocess.DEVNULL, **account}
        made = "-D data -U postgres --pwfile=password -A scram-sha-256 --no-sync --locale=C -E UTF8"
        subprocess.run([initdb, *made.split()], check=True, capture_output=True, **common)
        port = free_port()
        few = ("fsync=off", "max_connections=8", "superuser_reserved_connections=1", "shared_buffers=1MB", "autovacuum=off")
        options = [part for setting in (*few, *settings) for part in ("-c", setting)]
        command = [server, "-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), *options]
        with (folder.parent / f"{folder.name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **common)
        try:
            _wait(process, folder / "data" / "postmaster.pid", "ready")
            yield Postgres(port)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE_SECONDS)
            Path(log.name).unlink()


def _wait(process: subprocess.Popen[bytes], file: Path, word: str) -> None:
    ends = time.monotonic() + 3 * PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError):
            if word in file.read_text():
                return
        time.sleep(0.02)
    raise AssertionError(f"{process.args} did not start")


@contextlib.contextmanager
def redis_server(*settings: str) -> Iterator[int]:
    """Run a Redis that keeps nothing; yields its port."""
    server, port = find("redis-server"), free_port()
    with tempfile.TemporaryDirectory(prefix="agentgauge-redis-") as folder:
        log = Path(folder) / "log"
        fixed = f"--bind 127.0.0.1 --port {port} --save --appendonly no --dir {folder} --logfile {log}"
        arguments = [part or '""' for part in fixed.replace("--save ", '--save "" ').split(" ")]
        process = subprocess.Popen([server, *(part.strip('"') for part in arguments), *settings], stdin=subprocess.DEVNULL)
        try:
            _wait(process, log, "eady to accept connections")
            yield port
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)
