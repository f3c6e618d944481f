"""The command ``agentgauge``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from agentgauge import __version__, cli
from agentgauge.launcher import ProgramNotFoundError, find_program

USES_UP = ["--port", "1", "--host", "h", "--no-server", "--service-name", "s", "--instrumentors", "a,b", "--collectors", "none"]
NOTHING = types.SimpleNamespace


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks of the launcher, which does nothing."""
    asked = NOTHING(settings=None, program=None, arguments=None)

    def run(program, arguments):
        asked.program, asked.arguments = program, list(arguments)

    monkeypatch.setattr(cli, "start_for_program", lambda **settings: setattr(asked, "settings", settings))
    monkeypatch.setattr(cli, "run", run)
    return asked


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([__file__], []),
        ([__file__, "-m", "x", "--port", "2", "--", "-h"], ["-m", "x", "--port", "2", "--", "-h"]),
        (["--", __file__, "--", "a"], ["--", "a"]),
        ([__file__, "--version"], ["--version"]),
    ],
)
def test_what_follows_the_program_is_its_own(words, arguments, asked):
    assert cli.main(["run", *words]) == 0
    assert (asked.program.file, asked.arguments, asked.settings) == (__file__, arguments, {})


@pytest.mark.parametrize("arguments", [[], ["-m", "x", "--port", "2"], ["--help"], ["--", "a"]])
def test_what_follows_a_module_is_its_own(arguments, asked):
    assert cli.main(["run", "--port", "3", "-m", "package.module", *arguments]) == 0
    assert (asked.program.module, asked.arguments, asked.settings) == ("package.module", arguments, {"port": 3})


def test_every_option_is_a_setting(asked):
    assert cli.main(["run", *USES_UP, __file__]) == 0
    assert asked.settings == {
        "port": 1,
        "host": "h",
        "is_server_enabled": False,
        "service_name": "s",
        "instrumentors": ("a", "b"),
        "collectors": (),
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "agentgauge run: give a program to run"),
        (["run", "--"], "agentgauge run: give a program to run"),
        (["run", "-m"], "agentgauge run: -m needs the name of a module"),
        (["run", "no-such-program"], "agentgauge run: there is no program 'no-such-program'"),
        (["run", "./no/such.py"], "agentgauge run: there is no program './no/such.py'"),
        (["run", "--port", "x", "a.py"], "agentgauge run: argument --port: invalid int value: 'x'"),
        (["run", "--prot", "1", "a.py"], "agentgauge run: unrecognized arguments: --prot (see agentgauge run --help)"),
        (["run", "--bogus"], "agentgauge run: unrecognized arguments: --bogus (see agentgauge run --help)"),
        (["doctor", "--bogus"], "agentgauge doctor: unrecognized arguments: --bogus (see agentgauge doctor --help)"),
        (["doctor", "--json", "x"], "agentgauge doctor: unrecognized arguments: x (see agentgauge doctor --help)"),
        (["--bogus"], "agentgauge: unrecognized arguments: --bogus (see agentgauge --help)"),
        (["--bogus", "doctor"], "agentgauge: unrecognized arguments: --bogus (see agentgauge --help)"),
        (["run", "--instrumentors", ",", "a.py"], "agentgauge run: argument --instrumentors: give names"),
        (["probe"], "agentgauge probe: give one heartbeat file"),
        (["probe", "--bogus", "f"], "agentgauge probe: unrecognized arguments: --bogus (see agentgauge probe --help)"),
        (["walk"], "agentgauge: argument COMMAND: invalid choice: 'walk'"),
    ],
)
def test_a_wrong_command_line_is_said_in_one_line(words, complaint, asked, capsys):
    try:
        status = cli.main(words)
    except SystemExit as exit_:
        status = exit_.code
    printed = capsys.readouterr()
    assert (status, printed.out, asked.settings) == (2, "", None)
    assert printed.err.startswith(complaint)
    assert printed.err.count("\n") == 1


def test_a_program_that_is_not_python_is_refused_by_name():
    with pytest.raises(ProgramNotFoundError, match=r"/sh is no Python program: give a script"):
        find_program("sh")


def test_a_console_script_behind_a_long_path_to_its_interpreter_is_python(tmp_path, monkeypatch):
    script = tmp_path / "long-way"
    script.write_text("#!/bin/sh\n'''exec' \"/a very/long/way/to/python\" \"$0\" \"$@\"\n' '''\nprint()\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("long-way").file == str(script)


def test_a_folder_of_the_same_name_does_not_hide_a_console_script(tmp_path, monkeypatch):
    (tmp_path / "pytest").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_program("pytest").file == str(Path(sys.executable).with_name("pytest"))


def test_the_doctor_gets_its_options_and_its_status_is_that_of_the_command(monkeypatch):
    seen = []
    doctor = types.ModuleType("agentgauge.doctor")
    doctor.add_arguments = lambda parser: parser.add_argument("--json", action="store_true")
    doctor.main = lambda options: seen.append(options) or 3
    monkeypatch.setitem(sys.modules, "agentgauge.doctor", doctor)
    assert cli.main(["doctor", "--json"]) == 3
    assert seen == [argparse.Namespace(command="doctor", json=True)]


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "-m", "agentgauge"], [str(Path(sys.executable).with_name("agentgauge"))]],
    ids=["module", "script"],
)
def test_the_command_runs_a_program_and_says_its_version(command, tmp_path):
    (tmp_path / "program.py").write_text("import sys\nprint(__name__, sys.argv, sys.path[0])\nsys.exit(4)\n")
    run = [*command, "run", "--no-server", "program.py", "-x"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTGAUGE_")}
    ended = subprocess.run(run, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == (f"__main__ ['program.py', '-x'] {tmp_path}\n", "", 4)
    said = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == f"agentgauge {__version__}\n"


def test_help_names_the_commands_and_the_options(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert {"run", "doctor", "export"} <= set(capsys.readouterr().out.split())
    with pytest.raises(SystemExit, match="0"):
        cli.main(["run", "--help"])
    printed = capsys.readouterr().out
    assert {"--port", "--host", "--no-server", "--service-name", "--instrumentors", "--collectors", "-m"} <= set(printed.split())
    assert cli.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: agentgauge")
