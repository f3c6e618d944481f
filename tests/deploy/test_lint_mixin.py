"""``make lint-mixin`` says what it could not check."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "lint_mixin.sh"


@pytest.fixture
def lint(tmp_path):
    """Run the script where there is no Go, nor anything else that it does not need."""
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))

    def lint(*names):
        environment = {**os.environ, "PATH": str(tmp_path), "GOROOT": str(tmp_path / "none")}
        return subprocess.run(
            [tmp_path / "sh", SCRIPT, *names], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return lint


def test_without_go_nothing_is_checked_and_the_reader_is_told(lint):
    ended = lint()
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith("lint-mixin: there is no Go toolchain, so nothing was checked;")


def test_a_linter_that_there_is_not_is_refused(lint):
    ended = lint("pint", "helm-lint")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "lint-mixin: there is no helm-lint; give any of pint, promtool, dashboard-linter\n"


def test_each_linter_has_a_version_of_its_own():
    built = re.findall(r"^    build (\S+) \S+ (\S+)", SCRIPT.read_text(), re.MULTILINE)
    assert [name for name, _ in built] == ["pint", "promtool", "dashboard-linter"]
    assert [version for _, version in built if not re.fullmatch(r"v\d+\.\d+\.\d+", version)] == []


@pytest.mark.parametrize(("status", "out"), [(0, "pint: nothing to report\npromtool: nothing to report\n"), (1, "")])
def test_each_linter_that_ran_is_named_as_it_was_asked_for(status, out, tmp_path):
    """Run the script on a rule file and a test of it, with programs that are built already and end as they are told."""
    script = tmp_path / "tests" / "lint_mixin.sh"
    programs = [tmp_path / "bin" / "go"]
    programs += [
        tmp_path / ".venv/go-bin" / f"{name}-{version}"
        for name, version in re.findall(r"^    build (\S+) \S+ (\S+)", SCRIPT.read_text(), re.MULTILINE)
    ]
    for file in (script, *programs, tmp_path / "alerts/rules/a.yml", tmp_path / "alerts/tests/a_test.yml"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\necho found\nexit {status}\n")
        file.chmod(0o755)
    shutil.copy(SCRIPT, script)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["sh", script, "pint", "promtool"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (status, out)
    failed = "found\nfound\nfound\nlint-mixin: failed: pint promtool-check-rules promtool:a_test.yml\n"
    assert ended.stderr == (failed if status else "")
